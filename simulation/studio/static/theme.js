// Before the first paint: the colours that somebody chose here before, or those of the system.
{
  const chosen = localStorage.getItem("studio-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
}

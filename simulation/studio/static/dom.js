// Small helpers around the DOM. Data goes in as text nodes and attributes, never as markup.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

/** An element: h("li", { class: "day" }, "text", child). A key of null or false is left out. */
export function h(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** The same in SVG. */
export function s(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === false || value === undefined) continue;
    element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Set a text if it is another one: screen readers and selections are left in peace. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Set an attribute if it is another one. */
export function mark(element, name, value) {
  if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/** A button that cannot be used now, and stays where the keyboard can find it. */
export function allow(button, isAllowed, why = "") {
  mark(button, "aria-disabled", isAllowed ? "false" : "true");
  if (why && !isAllowed) mark(button, "title", why);
  else button.removeAttribute("title");
}

export const isAllowed = (button) => button.getAttribute("aria-disabled") !== "true";

// A look into a phone: a list of devices, and for one of them what it shows, spent and sent.
//
//   mountPhone(document.querySelector("#phone"))
//
// Titles and private texts come from a data set and are not trusted: they only ever become text nodes.

const PAGE_SIZE = 12;
const SVG = "http://www.w3.org/2000/svg";

/** Fill the section of the page that looks into phones. */
export function mountPhone(section) {
  const state = { tier: "", offset: 0, page: null, id: null };
  const parts = layOut(section);
  const asking = { list: null, look: null };

  /** Ask for JSON; a newer question of the same kind takes the place of an older one. */
  async function ask(kind, path) {
    asking[kind]?.abort();
    const mine = (asking[kind] = new AbortController());
    const answer = await fetch(path, { signal: mine.signal, headers: { Accept: "application/json" } });
    const content = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(content.error ?? `the studio answered ${answer.status}`);
    return content;
  }

  async function list() {
    const query = new URLSearchParams({ offset: state.offset, limit: PAGE_SIZE });
    if (state.tier) query.set("tier", state.tier);
    const page = await attempt(() => ask("list", `/api/phones?${query}`), list);
    if (!page) return;
    if (page.run === null) {
      showMissing(section, page.missing);
      return;
    }
    state.page = page;
    showList(parts, state, { look, turn });
    if (state.id === null && page.phones.length) look(page.phones[0].id);
  }

  async function look(id) {
    parts.view.setAttribute("aria-busy", "true");
    const seen = await attempt(() => ask("look", `/api/phones/${id}`), () => look(id));
    parts.view.removeAttribute("aria-busy");
    if (!seen) return;
    state.id = seen.id;
    if (state.page) markCurrent(parts, state.id);
    showPhone(parts, seen);
  }

  /** Do something that may fail: an error is said where people look, with a way to try again. */
  async function attempt(work, again) {
    try {
      const found = await work();
      parts.trouble.replaceChildren();
      return found;
    } catch (error) {
      if (error.name === "AbortError") return null;
      const retry = make("button", { type: "button", class: "phone-button" }, "Try again");
      retry.addEventListener("click", again);
      parts.trouble.replaceChildren(make("p", {}, capital(error.message)), retry);
      return null;
    }
  }

  /** Look into a phone by its number, and turn the list to where it stands. */
  async function jump(id) {
    await look(id);
    if (state.id !== id || state.page?.phones.some((row) => row.id === id)) return;
    Object.assign(state, { tier: "", offset: id - (id % PAGE_SIZE) });
    list();
  }

  function turn(by) {
    state.offset = Math.max(0, state.offset + by * PAGE_SIZE);
    list();
  }

  parts.tier.addEventListener("change", () => {
    Object.assign(state, { tier: parts.tier.value, offset: 0, id: null });
    list();
  });
  parts.jump.addEventListener("submit", (event) => {
    event.preventDefault();
    if (parts.number.value !== "") jump(Math.trunc(Number(parts.number.value)));
  });
  parts.list.addEventListener("keydown", walk);
  list();
}

// --- the section ----------------------------------------------------------------------------------

function layOut(section) {
  const tier = make("select", { id: "phone-tier" });
  const number = make("input", {
    id: "phone-number", type: "number", min: "0", step: "1", inputmode: "numeric", required: "",
  });
  const go = make("button", { type: "submit", class: "phone-button" }, "Look");
  const jump = make("form", { class: "phone-jump" },
    make("label", { for: "phone-number" }, "Number"), make("span", {}, number, go));
  const list = make("ul", { class: "phone-list", "aria-label": "phones" });
  const pager = make("div", { class: "phone-pager" });
  const trouble = make("div", { class: "phone-trouble", role: "alert" });
  const view = make("div", { class: "phone-view" });
  const status = make("p", { class: "phone-status phone-hidden", role: "status" });
  const lead = make("p", { class: "phone-lead" }, "One device of a finished run.");
  const filters = make("div", { class: "phone-filters" },
    make("p", {}, make("label", { for: "phone-tier" }, "Tier"), tier), jump);
  section.replaceChildren(
    make("h2", {}, "A look into a phone"), lead, trouble,
    make("div", { class: "phone-layout" },
      make("div", { class: "phone-picker" }, filters, list, pager),
      make("div", {}, status, view)));
  return { lead, tier, number, jump, list, pager, trouble, status, view };
}

function showMissing(section, how) {
  section.replaceChildren(
    make("h2", {}, "A look into a phone"),
    make("div", { class: "phone-none" },
      make("div", { class: "phone-frame phone-empty", "aria-hidden": "true" }, make("i", { class: "phone-notch" })),
      make("p", {}, ...codeIn(how))));
}

/** Text whose `words in backticks` are code. */
function codeIn(text) {
  return text.split("`").map((part, at) => (at % 2 ? make("code", {}, part) : part));
}

// --- the list of phones -----------------------------------------------------------------------------

function showList(parts, state, { look, turn }) {
  const { page } = state;
  parts.lead.textContent =
    `A device of the run “${page.run}”: what its owner chose, what the server teacher and the phone ` +
    "itself recommend, what the phone spent on it, and what left it.";
  const all = page.tiers.reduce((sum, tier) => sum + tier.num_phones, 0);
  const choices = [["", `all ${many(all)}`], ...page.tiers.map((one) => [one.name, `${one.name} (${many(one.num_phones)})`])];
  parts.tier.replaceChildren(...choices.map(([value, text]) => make("option", { value }, text)));
  parts.tier.value = state.tier;
  parts.number.max = String(Math.max(0, all - 1));
  parts.list.replaceChildren(...page.phones.map((row) => phoneRow(row, look)));
  markCurrent(parts, state.id);
  const last = page.offset + page.phones.length;
  const place = page.total ? `${many(page.offset + 1)}–${many(last)} of ${many(page.total)}` : "none";
  const [back, on] = [["←", "earlier phones", -1, page.offset === 0], ["→", "later phones", 1, last >= page.total]]
    .map(([sign, name, by, off]) => {
      const button = make("button", { type: "button", class: "phone-button", "aria-label": name }, sign);
      button.disabled = off;
      button.addEventListener("click", () => turn(by));
      return button;
    });
  const held = parts.pager.contains(document.activeElement) ? document.activeElement.ariaLabel : null;
  parts.pager.replaceChildren(back, make("span", {}, place), on);
  if (held) [back, on].find((one) => one.ariaLabel === held && !one.disabled)?.focus();
}

function phoneRow(row, look) {
  const button = make("button", { type: "button", "data-phone": row.id },
    make("b", {}, `Phone ${row.id}`),
    make("span", {}, `${row.tier} · ${counted(row.num_events, "event")} · ${counted(row.num_reports, "report")}`));
  button.addEventListener("click", () => look(row.id));
  return make("li", {}, button);
}

function markCurrent(parts, id) {
  for (const button of parts.list.querySelectorAll("button")) {
    if (button.dataset.phone === String(id)) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
}

/** Arrow keys walk through the list. */
function walk(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  const buttons = [...event.currentTarget.querySelectorAll("button")];
  const next = buttons[buttons.indexOf(document.activeElement) + step];
  if (next) next.focus();
  event.preventDefault();
}

// --- one phone --------------------------------------------------------------------------------------

function showPhone(parts, seen) {
  const top = Math.max(seen.server.items.length, seen.phone.items.length);
  parts.status.textContent =
    `Phone ${seen.id}, tier ${seen.tier.name}: ${seen.num_shared} of ${top} recommendations in both lists.`;
  parts.view.replaceChildren(
    make("div", { class: "phone-pair" }, serverCard(seen), phoneFrame(seen), verdict(seen)),
    make("div", { class: "phone-facts" }, spentCard(seen), leftCard(seen)));
}

function serverCard(seen) {
  return make("article", { class: "phone-server" },
    make("h3", {}, "Server teacher"),
    make("p", { class: "phone-note" }, "trained on everybody’s history"),
    listing(seen.server));
}

function phoneFrame(seen) {
  const history = seen.history.map((event) => make("li", {}, event.title,
    ...(event.private_text ? [make("q", {}, event.private_text)] : [])));
  const more = seen.num_events - seen.history.length;
  return make("article", { class: "phone-frame" },
    make("i", { class: "phone-notch", "aria-hidden": "true" }),
    make("p", { class: "phone-bar" }, make("span", {}, `Phone ${seen.id}`),
      make("span", {}, `${seen.tier.name} · ${seen.tier.memory}`)),
    make("h3", {}, "For you"),
    make("p", { class: "phone-note" }, seen.tier.can_serve
      ? "made on the phone, by its own package"
      : "this tier lacks the memory to serve: what it would show"),
    listing(seen.phone),
    make("details", { class: "phone-history", open: "" },
      make("summary", {}, `You chose ${counted(seen.num_events, "title")}`),
      make("ol", { reversed: "", start: String(seen.num_events) }, ...history),
      ...(more > 0 ? [make("p", { class: "phone-note" }, `and ${many(more)} before`)] : [])));
}

function listing(one) {
  return make("ol", { class: "phone-items" }, ...one.items.map((item) => {
    const marks = [item.is_shared ? "phone-shared" : "", item.is_held_out ? "phone-hit" : ""];
    const notes = [item.is_shared ? "in both lists" : "", item.is_held_out ? "really chosen next" : ""];
    const told = notes.filter(Boolean).join(", ");
    return make("li", { class: marks.join(" ").trim() }, make("span", {}, item.title),
      ...(item.is_held_out ? [make("b", { class: "phone-badge", "aria-hidden": "true" }, "chosen next")] : []),
      ...(told ? [make("span", { class: "phone-hidden" }, ` (${told})`)] : []));
  }));
}

function verdict(seen) {
  const top = Math.max(seen.server.items.length, seen.phone.items.length);
  const shared = make("p", { class: "phone-overlap" },
    make("b", {}, `${seen.num_shared} of ${top}`), " in both lists",
    meter(seen.num_shared, top));
  if (seen.held_out === null) return make("div", { class: "phone-verdict" }, shared);
  return make("div", { class: "phone-verdict" }, shared,
    make("p", {}, "Really chosen next, and hidden from both: ", make("b", {}, seen.held_out), ". It stands at ",
      make("span", { class: "phone-at-server" }, `${place(seen.server.place)} on the server`), " and ",
      make("span", { class: "phone-at-phone" }, `${place(seen.phone.place)} on the phone`), "."));
}

function meter(part, whole) {
  const drawn = draw("svg", { class: "phone-meter", viewBox: `0 0 ${whole || 1} 1`, preserveAspectRatio: "none", "aria-hidden": "true" });
  for (let at = 0; at < whole; at += 1) {
    drawn.append(draw("rect", { x: at + 0.06, y: 0, width: 0.88, height: 1, class: at < part ? "phone-full" : "phone-rest" }));
  }
  return drawn;
}

function spentCard(seen) {
  const rows = seen.spent.map((figure) => make("div", {},
    make("dt", {}, figure.what, make("span", { class: `phone-origin phone-${figure.origin}` }, figure.origin)),
    make("dd", {}, make("b", {}, figure.amount), make("small", {}, figure.note))));
  return make("article", {},
    make("h3", {}, "What it spent"),
    make("dl", { class: "phone-figures" }, ...rows),
    make("p", { class: "phone-note" }, `Battery ${seen.tier.battery}. ${capital(seen.tier.note)}`));
}

function leftCard(seen) {
  const rows = seen.sent.map((one) => make("div", { class: one.left ? "phone-left" : "phone-stayed" },
    make("dt", {}, one.what, make("span", { class: "phone-origin" }, one.left ? "left" : "stayed")),
    make("dd", {}, make("b", {}, one.amount), make("small", {}, one.note))));
  const { update } = seen;
  const guards = [["clipped", update.is_clipped, update.clipped], ["noised", update.is_noised, update.noised], ["masked", update.is_masked, update.masked]]
    .map(([name, is, note]) => make("li", { class: is ? "phone-yes" : "phone-no" },
      make("b", {}, `${is ? "✓" : "✗"} ${is ? "" : "not "}${name}`), make("small", {}, note)));
  return make("article", {},
    make("h3", {}, "What left it"),
    make("dl", { class: "phone-figures" }, ...rows),
    make("h4", {}, "Its updates"),
    make("ul", { class: "phone-guards" }, ...guards),
    make("h4", {}, `Rounds that drew it, of ${many(seen.num_rounds)}`),
    roundStrip(seen));
}

function roundStrip(seen) {
  const told = outcomes(seen.rounds);
  const strip = draw("svg", { class: "phone-rounds", viewBox: `0 0 ${seen.num_rounds || 1} 1`, preserveAspectRatio: "none", role: "img", "aria-label": told });
  strip.append(draw("rect", { x: 0, y: 0, width: seen.num_rounds || 1, height: 1, class: "phone-rest" }));
  for (const mark of seen.rounds) {
    strip.append(draw("rect", { x: mark.round_number - 1, y: 0, width: 1, height: 1, class: `phone-${mark.outcome}` }));
  }
  return make("div", {}, strip, make("p", { class: "phone-note", "aria-hidden": "true" }, capital(told)));
}

/** "reported in 3, 8; dropped in 9" */
function outcomes(rounds) {
  const found = new Map();
  for (const mark of rounds) {
    found.set(mark.outcome, [...(found.get(mark.outcome) ?? []), mark.round_number]);
  }
  const told = [...found].map(([outcome, numbers]) => `${outcome} in ${numbers.join(", ")}`);
  return told.length ? told.join("; ") : "none drew it";
}

// --- words and nodes ---------------------------------------------------------------------------------

/** An element with attributes and children; strings become text nodes, never markup. */
function make(name, attributes = {}, ...children) {
  return dress(document.createElement(name), attributes, children);
}

function draw(name, attributes = {}) {
  return dress(document.createElementNS(SVG, name), attributes, []);
}

function dress(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function many(number) {
  return number.toLocaleString("en");
}

function counted(number, thing) {
  return `${many(number)} ${thing}${number === 1 ? "" : "s"}`;
}

function place(value) {
  return value === null ? "no place" : `place ${many(value)}`;
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

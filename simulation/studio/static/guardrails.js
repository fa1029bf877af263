// The guardrails: a chart of the evidence of all of them, and a card for each.

import { evidence, spark } from "./charts.js";
import { byId, h, mark, say } from "./dom.js";
import { reading, unit } from "./formats.js";

const STOPS = ["halt", "roll back", "kill"];

export class Guardrails {
  constructor() {
    this.key = "";
    this.cards = [];
  }

  /** Show the days, as they were on the evening of day `shown`. */
  show(state, shown) {
    const rails = state.setup.guardrails;
    const key = rails.map((rail) => rail.name).join("\n");
    if (key !== this.key) {
      this.cards = rails.map((rail, n) => new Card(rail, n));
      byId("cards").replaceChildren(...this.cards.map((card) => card.element));
    }
    this.key = key;
    this.cards.forEach((card, n) => card.update(state.days, n, shown));
    this.draw(state, shown);
  }

  draw(state, shown) {
    const lines = state.setup.guardrails.map((rail, n) => ({
      name: rail.name,
      tone: Math.min(n + 1, 7),
      values: state.days.map((day) => day.guards[n].strength),
    }));
    const isBack = shown < state.days.length - 1;
    const wide = window.innerWidth < 700 ? 380 : 720;
    const chart = evidence(lines, bands(state), moments(state), isBack ? shown + 1 : null, wide);
    byId("evidence").replaceChildren(chart);
    const day = state.days[shown];
    const note = day?.mismatch.length
      ? `Sample-ratio mismatch (${day.mismatch.join(", ")}): while there is one, no metric is read.`
      : "Evidence of harm, day by day. A guardrail that reaches the line stops the release; the line stays honest however often one looks.";
    say(byId("guard-note"), note);
    byId("guard-note").classList.toggle("alarm", Boolean(day?.mismatch.length));
  }
}

/** Stages with the days that were lived in them. */
function bands(state) {
  const found = [];
  for (const day of state.days) {
    const last = found.at(-1);
    if (last?.name === day.row.stage) last.end = day.row.day + 1;
    else found.push({ name: day.row.stage, first: day.row.day, end: day.row.day + 1 });
  }
  return found;
}

/** Faults and stops, on their days. */
function moments(state) {
  const faults = state.faults.map((fault) => ({
    day: fault.day,
    kind: "fault",
    sign: "fault",
    text: `${fault.title}, from day ${fault.day}`,
  }));
  const stops = state.decisions
    .filter((each) => STOPS.includes(each.action))
    .map((each) => ({ day: each.day, kind: "stop", sign: each.action, text: each.reason }));
  return [...faults, ...stops];
}

class Card {
  constructor(rail, n) {
    this.rail = rail;
    this.treated = h("b");
    this.control = h("span");
    this.plot = h("div", { class: "card-plot" });
    this.fill = h("i");
    this.meter = h("div", { class: "meter", role: "meter", "aria-valuemin": 0, "aria-valuemax": 100, "aria-label": `evidence of harm, ${rail.name}` }, this.fill);
    this.told = h("p", { class: "card-told" });
    const swatch = h("i", { class: `swatch part-${Math.min(n + 1, 7)}`, "aria-hidden": "true" });
    const stop = h("small", {}, rail.on_breach === "halt" ? "halts" : "rolls back");
    const numbers = h("p", { class: "card-numbers" }, this.treated, this.control);
    const head = h("h3", {}, swatch, rail.name, stop);
    this.element = h("li", { class: "card" }, head, numbers, this.plot, this.meter, this.told);
  }

  update(days, n, shown) {
    const now = days[shown]?.guards[n];
    const strength = now?.strength ?? 0;
    const filled = Math.min(100, Math.round(100 * strength));
    say(this.treated, reading(this.rail, now?.treated ?? null));
    say(this.control, now?.treated == null ? "" : `${unit(this.rail)}; control ${reading(this.rail, now.control)}`);
    mark(this.meter, "aria-valuenow", filled);
    this.fill.style.width = `${filled}%`;
    mark(this.element, "data-level", strength >= 1 ? "breach" : strength >= 0.5 ? "watch" : "calm");
    say(this.told, told(now, this.rail));
    const values = (pick) => days.map((day) => day.guards[n][pick]);
    const lines = [
      { tone: "control", values: values("control") },
      { tone: "treated", values: values("treated") },
    ];
    this.plot.replaceChildren(spark(lines, shown < days.length - 1 ? shown : null));
  }
}

function told(now, rail) {
  if (!now?.tier) return "Too few phones to read it.";
  const where = now.tier === "all" ? "" : ` on tier ${now.tier}`;
  if (now.strength >= 1) {
    const numbers = `${reading(rail, now.tier_treated)} where the control has ${reading(rail, now.tier_control)}`;
    return `Breached${where}: ${numbers}.`;
  }
  if (now.strength < 0.05) return "No sign of harm.";
  return `Evidence of harm ${Math.round(100 * now.strength)} %${where}.`;
}

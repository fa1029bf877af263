// The log: decisions and faults, the newest first; what is new is read out.

import { byId, h, say } from "./dom.js";

export class Log {
  constructor() {
    this.told = null;
    this.key = "";
    byId("holds").addEventListener("change", () => this.draw());
  }

  show(state) {
    this.state = state;
    this.draw();
    this.announce(state);
  }

  draw() {
    const withHolds = byId("holds").checked;
    const { rollout, decisions, faults } = this.state;
    const key = [rollout, decisions.length, faults.length, withHolds].join();
    if (key === this.key) return;
    this.key = key;
    const shown = decisions.filter((each) => withHolds || each.action !== "hold" || each.by !== "rule");
    const lines = [
      ...shown.map((each) => ({ day: each.day, order: 1, element: decision(each) })),
      ...faults.map((each) => ({ day: each.day, order: 0, element: fault(each) })),
    ];
    lines.sort((one, two) => two.day - one.day || two.order - one.order);
    const empty = h("li", { class: "empty" }, "Nothing was decided yet.");
    byId("log-list").replaceChildren(...(lines.length ? lines.map((line) => line.element) : [empty]));
  }

  /** Say to a screen reader what came since the last time; holding is no news. */
  announce({ rollout, decisions, faults }) {
    const now = { rollout, decisions: decisions.length, faults: faults.length };
    const before = this.told;
    this.told = now;
    if (before?.rollout !== rollout) return;
    const news = [
      ...decisions.slice(before.decisions).filter((each) => each.action !== "hold").map((each) => `Day ${each.day}, ${each.by}: ${each.action}. ${each.reason}.`),
      ...faults.slice(before.faults).map((each) => `From day ${each.day}: ${each.title}.`),
    ];
    if (news.length) say(byId("live"), news.join(" "));
  }
}

function decision(each) {
  const who = each.by === "rule" ? "the rule" : "you";
  const tag = h("b", { class: "tag", "data-action": each.action }, each.action);
  const where = each.stage ? ` ${each.stage}` : "";
  const head = h("p", { class: "log-head" }, tag, h("span", {}, `${who},${where} manifest ${each.sequence}`));
  return h("li", { "data-by": each.by }, h("span", { class: "log-day" }, `day ${each.day}`), h("div", {}, head, h("p", {}, each.reason)));
}

function fault(each) {
  const tag = h("b", { class: "tag", "data-action": "fault" }, "fault");
  const head = h("p", { class: "log-head" }, tag, h("span", {}, "you, from this day on"));
  const what = h("p", {}, each.title, h("small", {}, each.what.join("; ")));
  return h("li", { "data-by": "operator" }, h("span", { class: "log-day" }, `day ${each.day}`), h("div", {}, head, what));
}

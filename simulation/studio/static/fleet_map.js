// The fleet, dot by dot: a row a tier, buckets from left to right. The release comes in from the
// left, its control group from the right.

import { h, mark, s, say } from "./dom.js";
import { count } from "./formats.js";

const LEGEND = [
  ["a", "may fetch it"],
  ["g", "has it"],
  ["u", "uses it"],
  ["f", "uses it and failed"],
  ["b", "went back"],
  ["C", "control"],
  ["h", "held out"],
];
const PITCH = 10;

export class FleetMap {
  constructor(home, legend) {
    this.home = home;
    this.key = "";
    this.rows = [];
    const entry = ([letter, text]) => h("li", {}, dot(letter), text);
    legend.replaceChildren(...LEGEND.map(entry));
  }

  /** Show tiers [{name, devices, ...}] and a string of letters for each. */
  show(tiers, dots, columns) {
    const key = JSON.stringify([columns, tiers.map((tier, n) => [tier.name, dots[n].length])]);
    if (key !== this.key) this.build(tiers, dots, columns);
    this.key = key;
    tiers.forEach((tier, n) => this.rows[n].update(tier, dots[n]));
  }

  build(tiers, dots, columns) {
    this.rows = tiers.map((tier, n) => new TierRow(tier, dots[n].length, columns));
    this.home.replaceChildren(...this.rows.map((row) => row.element));
  }
}

function dot(letter) {
  const circle = s("circle", { cx: 6, cy: 6, r: 4.2, "data-mark": letter });
  return s("svg", { viewBox: "0 0 12 12", class: "dot", "aria-hidden": "true" }, circle);
}

class TierRow {
  constructor(tier, number, columns) {
    const high = Math.max(1, Math.round(number / columns));
    const wide = Math.max(1, Math.ceil(number / high));
    this.letters = [];
    this.circles = Array.from({ length: number }, (_, n) => {
      const [x, y] = [Math.floor(n / high), n % high];
      return s("circle", { cx: (x + 0.5) * PITCH, cy: (y + 0.5) * PITCH, r: 3.7 });
    });
    const box = `0 0 ${wide * PITCH} ${high * PITCH}`;
    this.picture = s("svg", { viewBox: box, role: "img" }, this.circles);
    this.counts = h("span", { class: "tier-counts" });
    const name = h("b", {}, tier.name);
    const head = h("p", { class: "tier-head" }, name, ` ${count(tier.devices)} phones`, this.counts);
    this.element = h("div", { class: "tier" }, head, this.picture);
  }

  update(tier, letters) {
    this.circles.forEach((circle, n) => {
      if (this.letters[n] !== letters[n]) circle.setAttribute("data-mark", letters[n]);
    });
    this.letters = letters;
    const back = tier.used > 0 && tier.holding === 0 ? `${count(tier.used)} had used it` : "";
    const failed = tier.failed ? `, ${count(tier.failed)} failed` : "";
    const has = tier.holding
      ? `${count(tier.holding)} have it, ${count(tier.used)} have used it${failed}`
      : back;
    say(this.counts, has || (tier.admitted ? `${count(tier.admitted)} may fetch it` : ""));
    const all = `${tier.name}: ${count(tier.admitted)} may have the release, ${has || "none has it"}`;
    mark(this.picture, "aria-label", all);
  }
}

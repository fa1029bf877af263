// Charts as SVG: evidence of all guardrails over the days, and a small line chart for each.

import { h, s } from "./dom.js";

const [WIDE, HIGH] = [720, 240];
const EDGE = { left: 46, right: 14, top: 26, bottom: 26 };

/** Evidence by day. `lines`: [{name, tone, values}]; `marks`: [{day, kind, text}]; `bands`: stages. */
export function evidence(lines, bands, marks, shown, wide = WIDE) {
  const days = Math.max(8, ...lines.map((line) => line.values.length));
  const strongest = Math.max(0, ...lines.flatMap((line) => line.values));
  const top = Math.min(Math.max(1.25, strongest * 1.05), 2.5);
  const x = (day) => EDGE.left + ((wide - EDGE.left - EDGE.right) * day) / days;
  const y = (value) => HIGH - EDGE.bottom - ((HIGH - EDGE.top - EDGE.bottom) * Math.min(value, top)) / top;
  const parts = [
    ...bands.map((band, n) => stageBand(band, n, x, days)),
    ...[0, 0.5, 1, 1.5, 2, 2.5].filter((tick) => tick <= top).map((tick) => level(tick, y, wide, tick === top && strongest > top)),
    ...lines.map((line) => path(line, x, y)),
    ...marks.map((each, n) => moment(each, x, wide, n % 3)),
    ...dayTicks(days, x),
  ];
  if (shown !== null) parts.push(s("line", { class: "shown", x1: x(shown), x2: x(shown), y1: EDGE.top, y2: HIGH - EDGE.bottom }));
  const told = lines.map((line) => `${line.name} ${Math.round(100 * (line.values.at(-1) ?? 0))} %`);
  const label = `Evidence of harm, percent of what stops the release: ${told.join(", ")}`;
  return s("svg", { viewBox: `0 0 ${wide} ${HIGH}`, role: "img", "aria-label": label }, parts);
}

function stageBand(band, n, x, days) {
  const [from, to] = [x(band.first), x(Math.min(band.end, days))];
  const middle = (from + to) / 2;
  const name = to - from > 34 ? s("text", { x: middle, y: 16, class: "band-name" }, band.name) : null;
  const box = { x: from, y: EDGE.top, width: Math.max(0, to - from), height: HIGH - EDGE.top - EDGE.bottom };
  return s("g", { class: n % 2 ? "stage-band odd" : "stage-band" }, s("rect", box), name);
}

function level(tick, y, wide, isOpen) {
  const line = { x1: EDGE.left, x2: wide - EDGE.right, y1: y(tick), y2: y(tick) };
  const text = tick === 1 ? "stop" : `${100 * tick}${isOpen ? "+" : ""}`; // what is higher ends here
  const name = s("text", { x: EDGE.left - 8, y: y(tick) + 4, class: "y-name" }, text);
  return s("g", { class: tick === 1 ? "level limit" : "level" }, s("line", line), name);
}

function moment(each, x, wide, row) {
  const line = { x1: x(each.day), x2: x(each.day), y1: EDGE.top, y2: HIGH - EDGE.bottom };
  const isLate = x(each.day) > wide - 60;
  const place = { x: x(each.day) + (isLate ? -5 : 5), y: EDGE.top + 13 + 14 * row };
  const sign = s("text", { ...place, class: isLate ? "sign late" : "sign" }, each.sign);
  return s("g", { class: `moment ${each.kind}` }, s("line", line), sign, s("title", {}, each.text));
}

function path(line, x, y) {
  if (!line.values.length) return null;
  const points = line.values.map((value, n) => `${x(n + 1).toFixed(1)},${y(value).toFixed(1)}`);
  const last = line.values.length;
  const end = { cx: x(last), cy: y(line.values[last - 1]), r: 3.5 };
  return s(
    "g",
    { class: `line part-${line.tone}${line.values.some((value) => value >= 1) ? " breach" : ""}` },
    s("polyline", { points: [`${x(0)},${y(0)}`, ...points].join(" ") }),
    s("circle", end),
    s("title", {}, line.name),
  );
}

function dayTicks(days, x) {
  const each = days <= 14 ? 2 : days <= 30 ? 5 : 10;
  const ticks = Array.from({ length: Math.floor(days / each) + 1 }, (_, n) => n * each);
  return ticks.map((day) => s("text", { x: x(day), y: HIGH - 8, class: "x-name" }, day ? String(day) : "day 0"));
}

/** Two lines over the days, without axes, from the first that was read: [{tone, values}]. */
export function spark(lines, shown) {
  const [wide, high, edge] = [220, 60, 5];
  const read = lines.flatMap((line) => line.values).filter((value) => value !== null);
  if (!read.length) return h("p", { class: "not-read" }, "not read yet");
  const days = Math.max(2, ...lines.map((line) => line.values.length));
  let [low, top] = [Math.min(...read), Math.max(...read)];
  const least = 0.08 * Math.max(Math.abs(top), 1e-9); // a flat line is drawn flat
  if (top - low < least) [low, top] = [(low + top - least) / 2, (low + top + least) / 2];
  const first = Math.min(...lines.map((line) => line.values.findIndex((value) => value !== null)).filter((n) => n >= 0));
  const x = (day) => edge + ((wide - 2 * edge) * (day - first)) / Math.max(1, days - 1 - first);
  const y = (value) => high - edge - ((high - 2 * edge) * (value - low)) / (top - low);
  const drawn = lines.map((line) => {
    const points = line.values.map((value, n) => (value === null ? null : `${x(n)},${y(value)}`));
    const last = line.values.findLastIndex((value) => value !== null);
    if (last < 0) return null;
    return s(
      "g",
      { class: `spark ${line.tone}` },
      s("polyline", { points: points.filter(Boolean).join(" ") }),
      s("circle", { cx: x(last), cy: y(line.values[last]), r: 3 }),
    );
  });
  const at = shown === null || shown < first ? null : s("line", { class: "shown", x1: x(shown), x2: x(shown), y1: 0, y2: high });
  return s("svg", { viewBox: `0 0 ${wide} ${high}`, "aria-hidden": "true", class: "spark-plot" }, at, drawn);
}

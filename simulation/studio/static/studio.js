// The page: one state comes in, everything is drawn from it.

import { listen } from "./api.js";
import { allow, byId, h, isAllowed, mark, say } from "./dom.js";
import { FleetMap } from "./fleet_map.js";
import { count, days, percent, share } from "./formats.js";
import { Guardrails } from "./guardrails.js";
import { Log } from "./log.js";
import { Orders } from "./orders.js";
import { mountPhone } from "./phone.js";

const PLAY = "M8 5.5v13l11-6.5z";
const PAUSE = "M7 5.5h3.5v13H7zM13.5 5.5H17v13h-3.5z";
const THEMES = { "": "as the system says", light: "light", dark: "dark" };

const orders = new Orders(notice);
const fleetMap = new FleetMap(byId("map"), byId("legend"));
const guardrails = new Guardrails();
const log = new Log();
let state = null;
let lookedAt = null; // a day in the past; null: the last one
let refused = "";

function notice(text) {
  refused = text;
  showNotice(true);
}

function showNotice(isConnected) {
  const lost = isConnected ? "" : "The studio does not answer. Is it still running in its terminal? This page goes on by itself.";
  const text = lost || refused || (state?.problem ?? "");
  byId("notice").hidden = !text;
  say(byId("notice"), text);
}

// --- drawing -----------------------------------------------------------------------------------

function show(next) {
  if (state?.rollout !== next.rollout) lookedAt = null;
  state = next;
  const isReady = state.phase.name === "ready";
  document.body.classList.toggle("busy", !isReady);
  showNotice(true);
  showBar(isReady);
  orders.show(state);
  if (!state.setup) return;
  const last = state.days.length - 1;
  const shown = lookedAt === null ? last : Math.min(lookedAt, last);
  showIntro(isReady);
  showStages();
  showMap(shown);
  showScrub(shown);
  guardrails.show(state, shown);
  log.show(state);
  showBefore();
}

function showBar(isReady) {
  const { name, what, done, total } = state.phase;
  const status = isReady ? state.now.status : name;
  say(byId("pill"), name === "busy" ? what : name === "empty" ? "no rollout yet" : status);
  mark(byId("pill"), "data-status", status);
  say(byId("day"), state.now ? `day ${state.now.day}` : "");
  const bar = byId("progress");
  bar.hidden = name !== "busy";
  bar.firstElementChild.style.width = total ? `${(100 * done) / total}%` : "100%";
  bar.classList.toggle("unknown", !total);
  mark(bar, "aria-valuenow", total ? Math.round((100 * done) / total) : 0);
  const { playing, days_per_second: speed } = state.clock;
  const why = isReady ? state.live.step : "the studio is busy";
  const starts = isReady && state.now.status === "draft";
  say(byId("play-word"), playing ? "Stop" : starts ? "Start" : "Play");
  mark(byId("play"), "aria-pressed", playing);
  mark(byId("play-shape"), "d", playing ? PAUSE : PLAY);
  allow(byId("play"), playing || starts || !why, why);
  allow(byId("step"), !why && !playing, playing ? "days pass by themselves" : why);
  allow(byId("new"), name !== "busy", "the studio is busy");
  const select = byId("speed");
  if (document.activeElement !== select && [...select.options].some((each) => Number(each.value) === speed)) {
    select.value = String(speed);
  }
}

function showIntro(isReady) {
  const { setup, now } = state;
  const parts = [`${count(setup.devices)} virtual phones`, `plan ${setup.plan}`, `seed ${setup.seed}`, `rollout ${state.rollout}`];
  say(byId("overline"), parts.join(" · "));
  say(byId("title"), sentence(setup.title));
  const broken = state.faults.map((fault) => `${fault.title} (day ${fault.day})`);
  byId("broken").hidden = !broken.length;
  say(byId("broken"), broken.length ? `Broken by you: ${broken.join("; ")}.` : "");
  document.title = `${isReady ? now.status : "busy"}, day ${now.day} · Pocketfleet studio`;
  mark(byId("coach"), "data-status", isReady ? now.status : "busy");
  say(byId("headline"), isReady ? state.live.headline : sentence(state.phase.what));
  say(byId("advice"), isReady ? advice() : "The days of this rollout are lived through again, and checked against its log. You may look around.");
  const next = isReady ? nextStep() : null;
  byId("next").hidden = !next;
  if (next) say(byId("next"), next.name);
}

function advice() {
  const { stopped } = state.clock;
  const clock = stopped && state.now.status === "running" ? ` The clock stopped: ${stopped}.` : "";
  return state.live.advice + clock;
}

/** The one thing that somebody would do now. */
function nextStep() {
  const { status } = state.now;
  if (status === "draft") return { name: "Start the rollout", act: start };
  if (status === "halted") return { name: "Roll it back", act: () => orders.ask("roll back") };
  if (status === "paused") return { name: "Resume", act: () => orders.ask("resume") };
  if (!state.live.step && !state.clock.playing && status !== "ended") return { name: "Let days pass", act: () => orders.play(true) };
  if (state.live.step || status === "ended") return { name: "New rollout", act: () => orders.askNew() };
  return null;
}

async function start() {
  await orders.order("start");
  await orders.play(true);
}

function showStages() {
  const { setup, now } = state;
  const over = ["rolled back", "killed", "halted"].includes(now.status);
  const items = setup.stages.map((stage, n) => {
    const place = n < now.stage || now.status === "ended" ? "done" : n === now.stage ? (over ? "stopped" : "here") : "ahead";
    const spent = Math.max(0, now.day - now.stage_day);
    const least = place === "here" ? `day ${spent}, at least ${stage.min_days}` : `at least ${days(stage.min_days)}`;
    const filled = place === "done" ? 1 : place === "ahead" ? 0 : Math.min(1, spent / Math.max(1, stage.min_days));
    return { place, name: stage.name, text: place === "done" ? "passed" : place === "stopped" ? now.status : least, filled };
  });
  const key = JSON.stringify(items.map((item) => item.name));
  const home = byId("stages");
  if (home.dataset.key !== key) {
    home.dataset.key = key;
    home.replaceChildren(...items.map((item) => h("li", {}, h("b", {}, item.name), h("span"), h("i", { "aria-hidden": "true" }))));
  }
  items.forEach((item, n) => {
    const element = home.children[n];
    mark(element, "data-place", item.place);
    if (item.place === "here") mark(element, "aria-current", "step");
    else element.removeAttribute("aria-current");
    say(element.children[1], item.text);
    element.children[2].style.setProperty("--filled", item.filled);
  });
}

function showMap(shown) {
  const seen = state.days[shown] ?? state.start;
  if (!seen) return;
  fleetMap.show(seen.tiers, seen.dots, window.innerWidth < 700 ? 40 : 60);
  const stage = state.days[shown] ? state.setup.stages.findIndex((each) => each.name === state.days[shown].row.stage) : -1;
  const part = stage < 0 ? 0 : state.setup.stages[stage].share;
  byId("buckets").querySelector(".with").style.width = `${100 * part}%`;
  byId("buckets").querySelector(".mirror").style.width = part <= 0.5 ? `${100 * part}%` : "0";
  const ticks = byId("bucket-ticks");
  if (!ticks.children.length) {
    for (const each of state.setup.stages.filter((one) => one.share >= 0.05 && one.share < 1)) {
      const tick = h("span", {}, each.name);
      tick.style.left = `${100 * each.share}%`;
      ticks.append(tick);
    }
  }
  const number = seen.dots.reduce((sum, row) => sum + row.length, 0);
  const total = seen.tiers.reduce((sum, tier) => sum + tier.holding, 0);
  const used = seen.tiers.reduce((sum, tier) => sum + tier.used, 0);
  const { devices } = state.setup;
  say(byId("map-note"), `${share(total / devices)} of the fleet has it, ${share(used / devices)} has used it. ${count(number)} of ${count(devices)} phones are drawn, in the order of their lots: the release comes from the left, its control group from the right.`);
}

function showScrub(shown) {
  const scrub = byId("scrub");
  scrub.max = String(Math.max(0, state.days.length - 1));
  if (document.activeElement !== scrub || lookedAt === null) scrub.value = String(Math.max(0, shown));
  scrub.disabled = state.days.length < 2;
  const text = lookedAt === null ? "now" : `evening of day ${shown}`;
  say(byId("scrub-day"), text);
  mark(scrub, "aria-valuetext", text);
}

function showBefore() {
  if (!state.before) return;
  say(byId("before-reading"), state.before_reading);
  const rows = state.before.stages.map((row) => [
    row.name,
    percent(row.share, 0),
    count(row.devices),
    row.smallest === null || row.smallest > 1 ? "none" : percent(row.smallest),
    String(row.days),
  ]);
  const key = JSON.stringify(rows);
  const table = byId("before-table");
  if (table.dataset.key === key) return;
  table.dataset.key = key;
  const head = ["stage", "of the fleet", "phones in each arm", "finds a change of", "ends on day"];
  const line = ([name, ...cells]) => h("tr", {}, h("th", { scope: "row" }, name), cells.map((cell) => h("td", {}, cell)));
  table.replaceChildren(
    h("thead", {}, h("tr", {}, head.map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, rows.map(line)),
  );
}

function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

// --- doing -------------------------------------------------------------------------------------

byId("play").addEventListener("click", () => {
  if (!isAllowed(byId("play"))) return notice(byId("play").title);
  if (state.now.status === "draft") return start();
  return orders.play(!state.clock.playing, Number(byId("speed").value));
});
byId("step").addEventListener("click", () => {
  if (!isAllowed(byId("step"))) return notice(byId("step").title);
  return orders.send("/api/step", {});
});
byId("speed").addEventListener("change", (event) => {
  if (state?.phase.name === "ready") orders.play(state.clock.playing, Number(event.target.value));
});
byId("next").addEventListener("click", () => nextStep()?.act());
byId("scrub").addEventListener("input", (event) => {
  const day = Number(event.target.value);
  lookedAt = day >= state.days.length - 1 ? null : day;
  show(state);
});
byId("theme").addEventListener("click", () => {
  const names = Object.keys(THEMES);
  const next = names[(names.indexOf(document.documentElement.dataset.theme ?? "") + 1) % names.length];
  if (next) document.documentElement.dataset.theme = next;
  else delete document.documentElement.dataset.theme;
  localStorage.setItem("studio-theme", next);
  nameTheme();
});
window.addEventListener("resize", () => state?.setup && show(state));

function nameTheme() {
  const words = THEMES[document.documentElement.dataset.theme ?? ""];
  mark(byId("theme"), "aria-label", `colours: ${words}`);
  mark(byId("theme"), "title", `colours: ${words}`);
}

nameTheme();
mountPhone(byId("phone"));
listen(show, showNotice);

// What the operator can do: orders, faults, the clock, a new rollout.

import { post } from "./api.js";
import { allow, byId, h, isAllowed, say } from "./dom.js";

const ORDERS = [
  ["advance", "Advance", "One stage further, whatever the rule says."],
  ["pause", "Pause", "The stage stays, phones may still fetch, the rule is silent."],
  ["resume", "Resume", "Go on in the same stage."],
  ["halt", "Halt", "Nobody fetches it any more; who has it keeps it."],
  ["roll back", "Roll back", "A new manifest names the old files; phones follow as they check in."],
  ["kill", "Kill", "The same, for good, from any state."],
  ["end", "End", "Ship it: everybody outside the holdout keeps it."],
];
const GRAVE = ["roll back", "kill", "end"];
const NAMES = Object.fromEntries(ORDERS.map(([action, name]) => [action, name]));

export class Orders {
  /** `tell` is given a sentence when something is refused. */
  constructor(tell) {
    this.tell = tell;
    this.state = null;
    this.asked = null;
    this.buttons = {};
    for (const [action, name, text] of ORDERS) {
      const about = h("span", { class: "about", id: `about-${action.replace(" ", "-")}` }, text);
      const button = h("button", { type: "button", "data-action": action, "aria-describedby": about.id }, name);
      button.addEventListener("click", () => this.ask(action));
      this.buttons[action] = { button, about, text };
      byId("order-list").append(h("li", {}, button, about));
    }
    byId("confirm-yes").addEventListener("click", () => {
      byId("confirm").close();
      this.order(this.asked);
    });
    for (const button of document.querySelectorAll("dialog .close")) {
      button.addEventListener("click", () => button.closest("dialog").close());
    }
    for (const button of document.querySelectorAll(".fault")) {
      button.addEventListener("click", () => this.inject(button, { scenario: button.dataset.scenario }));
    }
    byId("own-fault").addEventListener("submit", (event) => this.injectOwn(event));
    byId("own-fault").elements.what.addEventListener("change", () => this.label());
    byId("new").addEventListener("click", () => this.askNew());
    byId("new-form").addEventListener("submit", (event) => this.begin(event));
    this.label();
  }

  show(state) {
    this.state = state;
    const why = state.phase.name === "ready" ? "" : "The studio is busy.";
    for (const [action, { button, about, text }] of Object.entries(this.buttons)) {
      const refusal = why || shorter(state.live?.orders[action] ?? "");
      allow(button, !refusal, refusal);
      say(about, refusal || text);
    }
    const over = !why && ["killed", "rolled back"].includes(state.now?.status);
    const none = why || (over ? "The release is off the phones: start a new rollout." : "");
    for (const button of document.querySelectorAll(".fault, #own-inject")) allow(button, !none, none);
    this.tiers(state.setup?.tiers ?? []);
  }

  tiers(names) {
    const home = byId("own-tiers");
    if (home.dataset.names === names.join("\n")) return;
    home.dataset.names = names.join("\n");
    const box = (name) => h("label", {}, h("input", { type: "checkbox", name: "tier", value: name }), name);
    home.replaceChildren(...names.map(box));
  }

  ask(action) {
    if (!isAllowed(this.buttons[action].button)) return this.tell(this.buttons[action].about.textContent);
    if (!GRAVE.includes(action)) return this.order(action);
    this.asked = action;
    say(byId("confirm-title"), `${NAMES[action]}?`);
    say(byId("confirm-text"), `${this.buttons[action].text} There is no way back.`);
    say(byId("confirm-yes"), NAMES[action]);
    byId("confirm").showModal();
    byId("confirm-yes").focus();
    return undefined;
  }

  async order(action) {
    const { status, stage, day } = this.state.now;
    const reason = byId("reason").value.trim() || `${action} by hand on day ${day}, no reason given`;
    await this.send("/api/orders", { action, reason, status, stage });
    byId("reason").value = "";
  }

  async inject(button, body) {
    if (!isAllowed(button)) return this.tell(button.title);
    return this.send("/api/faults", body);
  }

  injectOwn(event) {
    event.preventDefault();
    const form = event.target;
    const kind = form.elements.what.selectedOptions[0].dataset.kind;
    const amount = Number(form.elements.amount.value) / 100;
    const days = Number(form.elements.days.value);
    const effect = {
      what: form.elements.what.value,
      [kind]: kind === "factor" ? Number((1 + amount).toFixed(6)) : amount,
      tiers: [...form.querySelectorAll("[name=tier]:checked")].map((box) => box.value),
      arms: form.elements.both.checked ? "both" : "treated",
      ...(days ? { last_day: days - 1 } : {}),
    };
    this.inject(byId("own-inject"), { effect });
  }

  label() {
    const form = byId("own-fault");
    const kind = form.elements.what.selectedOptions[0].dataset.kind;
    const words = { factor: "Change, percent", plus: "Chance on a day of use, percent", share: "Share of the lists, percent" };
    say(byId("amount-label"), words[kind]);
    const amount = form.elements.amount;
    if (kind !== "factor" && Number(amount.value) < 0) amount.value = "10";
  }

  askNew() {
    if (!isAllowed(byId("new"))) return this.tell("The studio is busy: wait a moment.");
    return byId("new-dialog").showModal();
  }

  async begin(event) {
    event.preventDefault();
    const { scenario, devices, seed, plan } = event.target.elements;
    byId("new-dialog").close();
    await this.send("/api/rollouts", {
      scenario: scenario.value,
      devices: Number(devices.value),
      seed: Number(seed.value),
      plan: plan.value,
    });
  }

  play(playing, speed) {
    return this.send("/api/play", { playing, ...(speed ? { days_per_second: speed } : {}) });
  }

  async send(path, body) {
    try {
      await post(path, body);
      this.tell("");
    } catch (error) {
      this.tell(error.message);
    }
  }
}

/** The studio's refusal without the part that repeats the button. */
function shorter(refusal) {
  const [, , rest] = refusal.match(/^'([^']*)' is not possible: (.*)$/) ?? [];
  const told = rest ?? refusal;
  return told && `Not now: ${told}.`;
}

// Arming: a window of chosen length, and in it one PIN, big enough to be read across a room.

import * as api from "../api.js";
import { announce, command, h, say, set, svg, toast } from "../dom.js";
import { countdown, duration } from "../format.js";
import { arm, disarm, known, on } from "../store.js";

const LENGTHS = [
  { seconds: 30, label: "30 s" },
  { seconds: 120, label: "2 min" },
  { seconds: 300, label: "5 min" },
  { seconds: 600, label: "10 min" },
];
const RADIUS = 104;
const OWN_CLICK_MS = 5000;
const ROUND = 2 * Math.PI * RADIUS;

export function armCard(scope) {
  const idle = new Idle();
  const armed = new Armed();
  const off = h("p", { class: "empty", hidden: true }, "The native host is switched off (--no-native), so no device can pair here.");
  const title = h("h2", { id: "arm-title", tabindex: "-1" }, "Pair a new device");
  const card = h("section", { class: "card arm", "aria-labelledby": "arm-title" }, title, off, idle.element, armed.element);
  let clicked = -Infinity;
  card.addEventListener("click", () => (clicked = performance.now()));
  let shown = null;
  const show = () => {
    const window = known.window;
    const enabled = known.pairing?.enabled !== false;
    const focused = document.activeElement;
    off.hidden = enabled;
    idle.element.hidden = window !== null || !enabled;
    armed.element.hidden = window === null || !enabled;
    // What had the focus is gone. After a click of one's own it goes to what has come, also where a state that is
    // older than the answer shows the other once more; else to no button: who is about to press one would press
    // its opposite.
    const gone = [idle, armed].find((one) => one.element.hidden && one.element.contains(focused));
    if (gone && performance.now() - clicked < OWN_CLICK_MS) (gone === idle ? armed : idle).focus();
    else if (gone) title.focus();
    idle.show();
    if (window !== null) armed.show(window);
    if (window?.pin && window.pin !== shown) {
      announce(`PIN ${[...window.pin].join(" ")}, valid for ${duration(Math.round((window.until - performance.now()) / 1000))}`);
    }
    shown = window?.pin ?? null;
  };
  on(scope, ["pairing", "clients"], show);
  scope.every(200, () => known.window !== null && armed.tick(known.window));
  void placeFor(armed);
  void idle.takeDefault();
  show();
  return card;
}

async function placeFor(armed) {
  try {
    const { addresses } = await api.readiness();
    armed.place = addresses[0] ?? "HOST";
    if (known.window !== null) armed.show(known.window);
  } catch {
    // The line keeps the word HOST.
  }
}

class Idle {
  #outcome = h("p", { class: "outcome", role: "status", hidden: true });
  #button = h("button", { type: "submit", class: "primary" }, "Arm pairing");
  element = h(
    "form",
    { class: "stack" },
    this.#outcome,
    h("p", {}, "The host shows a PIN once, for as long as you choose. One device may try it, once."),
    h(
      "fieldset",
      {},
      h("legend", {}, "Valid for"),
      h("div", { class: "segments" }, LENGTHS.map(lengthChoice)),
    ),
    h("div", { class: "actions" }, this.#button),
  );

  constructor() {
    this.element.addEventListener("submit", async (event) => {
      event.preventDefault();
      const seconds = Number(new FormData(this.element).get("ttl"));
      this.#button.disabled = true;
      try {
        await arm(seconds);
        // The button that had the focus lost it when it was disabled.
        document.querySelector(".armed .cancel")?.focus();
      } catch (error) {
        toast(`Not armed: ${error.message}. ${api.advice(error)}`, "bad");
      }
      this.#button.disabled = false;
    });
  }

  focus() {
    this.#button.focus();
  }

  /** Offer the length that the settings name, and choose it. */
  async takeDefault() {
    const settings = await api.settings().catch(() => []);
    const seconds = settings.find((setting) => setting.name === "pairing_seconds")?.value;
    const chosen = this.element.querySelector("input:checked").value;
    if (!Number.isInteger(seconds) || chosen !== "120") return;
    let input = this.element.querySelector(`input[value="${seconds}"]`);
    if (input === null) {
      const choice = lengthChoice({ seconds, label: duration(seconds) });
      input = choice.querySelector("input");
      this.element.querySelector(".segments").append(choice);
    }
    input.checked = true;
  }

  show() {
    const outcome = known.outcome;
    this.#outcome.hidden = outcome === null || outcome.kind === "cancelled";
    if (outcome === null) return;
    set(this.#outcome, { class: `outcome ${outcome.kind === "paired" ? "ok" : "warn"}` });
    say(
      this.#outcome,
      {
        paired: `“${outcome.name}” is paired. It can connect from now on.`,
        spent: "The PIN was tried. If the device is not in the list below, the PIN was wrong: arm again for a new one.",
        expired: "The PIN has run out. Arm again for a new one.",
        cancelled: "",
      }[outcome.kind],
    );
  }
}

function lengthChoice({ seconds, label }) {
  return h("label", {}, h("input", { type: "radio", name: "ttl", value: seconds, checked: seconds === 120 }), h("span", {}, label));
}

class Armed {
  place = "HOST";
  #arc = svg("circle", { class: "arc", cx: 120, cy: 120, r: RADIUS, "stroke-dasharray": ROUND, transform: "rotate(-90 120 120)" });
  #pin = h("output", { class: "pin", "aria-live": "off" });
  #left = h("span", { class: "left", role: "timer", "aria-live": "off" });
  #line = command("", "pair command");
  #bound = h("p", { class: "muted" });
  #cancel = h("button", { type: "button", class: "cancel" }, "Cancel");
  element = h(
    "div",
    { class: "armed" },
    h(
      "div",
      { class: "ring" },
      svg("svg", { viewBox: "0 0 240 240", "aria-hidden": "true" }, svg("circle", { class: "track", cx: 120, cy: 120, r: RADIUS }), this.#arc),
      h("div", { class: "middle" }, this.#pin, this.#left),
    ),
    h("div", { class: "stack" }, h("p", {}, "On the other machine:"), this.#line.element, this.#bound, h("div", { class: "actions" }, this.#cancel)),
  );

  constructor() {
    this.#cancel.addEventListener("click", async () => {
      this.#cancel.disabled = true;
      try {
        await disarm();
        document.querySelector(".arm button[type=submit]")?.focus();
      } catch (error) {
        toast(`Still armed: ${error.message}. ${api.advice(error)}`, "bad");
      }
      this.#cancel.disabled = false;
    });
  }

  focus() {
    this.#cancel.focus();
  }

  show(window) {
    const pin = window.pin ?? "····";
    say(this.#pin, pin);
    set(this.#pin, { class: `pin digits-${pin.length}`, "aria-label": `PIN ${[...pin].join(" ")}` });
    this.#line.update(`punktfunk pair ${this.place} --pin ${window.pin ?? "PIN"}`);
    this.#bound.hidden = window.boundTo === null;
    say(this.#bound, window.boundTo === null ? "" : `Only “${window.boundTo.name}” from ${window.boundTo.source} may try this PIN.`);
    this.tick(window);
  }

  tick(window) {
    const left = Math.max(0, (window.until - performance.now()) / 1000);
    set(this.#arc, { "stroke-dashoffset": (ROUND * (1 - Math.min(1, left / window.seconds))).toFixed(1) });
    this.element.classList.toggle("soon", left < 15);
    say(this.#left, left > 0 ? `${countdown(left)} left` : "run out");
  }
}

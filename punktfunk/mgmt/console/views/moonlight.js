// Moonlight clients: those that show a PIN, which is typed here, and those that are paired.

import * as api from "../api.js";
import { ask, follow, h, say, toast } from "../dom.js";
import { duration, grouped, short } from "../format.js";
import { known, on, refreshDevices } from "../store.js";

/** The clients that wait for their PIN; nothing is shown while there are none. */
export function waitingCard(scope) {
  const list = h("ul", { class: "devices" });
  const card = h(
    "section",
    { class: "card wants-you", "aria-labelledby": "waiting-title", hidden: true },
    h("h2", { id: "waiting-title" }, "Moonlight shows a PIN"),
    h("p", { class: "muted" }, "Type it beside the device that shows it. Each entry is one guess: with a wrong PIN the device has to begin anew."),
    list,
  );
  const show = () => {
    const devices = known.waiting ?? [];
    card.hidden = devices.length === 0;
    follow(list, devices, (device) => device.fingerprint, waitingRow);
  };
  on(scope, ["waiting"], show);
  scope.every(5000, show);
  show();
  return card;
}

function waitingRow(first) {
  let device = first;
  const name = h("b", { class: "name" });
  const about = h("span", { class: "muted" });
  const pin = h("input", { name: "pin", inputmode: "numeric", pattern: "[0-9]{1,16}", maxlength: "16", size: "6", autocomplete: "off", required: true });
  const enter = h("button", { type: "submit", class: "primary small" }, "Enter PIN");
  const deny = h("button", { type: "button", class: "small" }, "Turn away");
  const form = h("form", { class: "actions" }, pin, enter, deny);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    enter.disabled = true;
    await act(
      () => api.enterPin(pin.value, device.fingerprint),
      `The PIN goes to “${device.name}” at ${device.source}. If it was right, the device is paired in a moment.`,
    );
    pin.value = "";
    enter.disabled = false;
  });
  deny.addEventListener("click", () =>
    act(() => api.turnAway(device.fingerprint), `“${device.name}” is turned away for ten minutes.`),
  );
  const element = h(
    "li",
    {},
    h("div", { class: "who" }, name, about, h("code", { title: first.fingerprint }, short(first.fingerprint))),
    form,
  );
  const update = (next) => {
    device = next;
    say(name, next.name);
    say(about, `${next.source} · waits for ${duration((performance.now() - next.since) / 1000)}`);
    pin.setAttribute("aria-label", `PIN that ${next.name} at ${next.source} shows`);
    enter.setAttribute("aria-label", `Enter the PIN of ${next.name}`);
    deny.setAttribute("aria-label", `Turn ${next.name} away`);
  };
  return { element, update };
}

/** The paired Moonlight clients; nothing is shown while there are none. */
export function moonlightCard(scope) {
  const list = h("ul", { class: "devices", "aria-labelledby": "moonlight-title" });
  const total = h("span", { class: "muted" });
  const card = h(
    "section",
    { class: "card", "aria-labelledby": "moonlight-title", hidden: true },
    h("h2", { id: "moonlight-title" }, "Paired Moonlight devices", total),
    list,
  );
  const show = () => {
    const clients = known.moonlight ?? [];
    card.hidden = clients.length === 0;
    say(total, ` ${clients.length}`);
    follow(list, clients, (client) => client.fingerprint, pairedRow);
  };
  on(scope, ["waiting", "sessions"], show);
  show();
  return card;
}

const streams = (client) => [...known.sessions.values()].some((session) => session.client.fingerprint === client.fingerprint);

function pairedRow(first) {
  const name = h("b", { class: "name" });
  const live = h("a", { class: "badge live", href: "#sessions", hidden: true }, "streaming");
  const unpair = h("button", { type: "button", class: "small danger" }, "Unpair…");
  unpair.addEventListener("click", () => remove(first));
  const element = h(
    "li",
    {},
    h("div", { class: "who" }, h("span", { class: "title" }, name, live), h("code", { title: first.fingerprint }, short(first.fingerprint))),
    h("div", { class: "actions" }, unpair),
  );
  const update = (next) => {
    say(name, next.name);
    unpair.setAttribute("aria-label", `Unpair ${next.name}…`);
    live.hidden = !streams(next);
  };
  return { element, update };
}

async function remove(client) {
  const answer = await ask({
    title: `Unpair “${client.name}”?`,
    body: h(
      "div",
      {},
      h("p", {}, streams(client) ? "Its stream ends at once, and it is not let in again until it has paired anew." : "It is not let in again until it has paired anew."),
      h("p", {}, h("code", { class: "fingerprint" }, grouped(client.fingerprint))),
    ),
    choices: [{ value: "unpair", label: "Unpair", kind: "danger" }],
  });
  if (answer === "unpair") await act(() => api.unpairMoonlight(client.fingerprint), `“${client.name}” is no longer paired.`);
}

async function act(work, success) {
  try {
    await work();
    toast(success);
  } catch (error) {
    toast(`That did not work: ${error.message}. ${api.advice(error)}`, "bad");
  }
  await refreshDevices().catch(() => {});
}

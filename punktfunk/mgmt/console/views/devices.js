// Pairing: a PIN with its clock, devices that wait, devices that are let in.

import * as api from "../api.js";
import { ask, follow, h, say, toast } from "../dom.js";
import { grouped, short } from "../format.js";
import { known, on, refreshDevices } from "../store.js";
import { armCard } from "./arm.js";
import { moonlightCard, waitingCard } from "./moonlight.js";
import { pendingCard } from "./pending.js";

export function devicesView(main, scope) {
  main.append(h("h1", {}, "Devices"), waitingCard(scope), armCard(scope), pendingCard(scope), pairedCard(scope), moonlightCard(scope));
  refreshDevices().catch(() => {});
}

function pairedCard(scope) {
  const list = h("ul", { class: "devices", "aria-labelledby": "paired-title" });
  const empty = h("p", { class: "empty" }, "No device is paired yet. Arm pairing above, and type the PIN on the other machine.");
  const total = h("span", { class: "muted" });
  const show = () => {
    const clients = known.clients;
    empty.hidden = clients === null || clients.length > 0;
    say(total, clients === null ? "" : ` ${clients.length}`);
    follow(list, clients ?? [], (client) => client.fingerprint, clientRow);
  };
  on(scope, ["clients", "sessions"], show);
  show();
  return h(
    "section",
    { class: "card", "aria-labelledby": "paired-title" },
    h("h2", { id: "paired-title" }, "Paired devices", total),
    empty,
    list,
  );
}

function clientRow(first) {
  let client = first;
  const name = h("b", { class: "name" });
  const live = h("a", { class: "badge live", href: "#sessions", hidden: true }, "streaming");
  const unpair = h("button", { type: "button", class: "small danger" }, "Unpair…");
  unpair.addEventListener("click", () => remove(client));
  const element = h(
    "li",
    {},
    h("div", { class: "who" }, h("span", { class: "title" }, name, live), h("code", { title: first.fingerprint }, short(first.fingerprint))),
    h("div", { class: "actions" }, unpair),
  );
  const update = (next) => {
    client = next;
    const title = next.name || "a device without a name";
    say(name, title);
    unpair.setAttribute("aria-label", `Unpair ${title}…`);
    live.hidden = ![...known.sessions.values()].some((session) => session.client.fingerprint === next.fingerprint);
  };
  return { element, update };
}

async function remove(client) {
  const streaming = [...known.sessions.values()].some((session) => session.client.fingerprint === client.fingerprint);
  const answer = await ask({
    title: `Unpair “${client.name}”?`,
    body: h(
      "div",
      {},
      h("p", {}, streaming ? "Its stream ends at once, and it is not let in again until it has paired anew." : "It is not let in again until it has paired anew."),
      h("p", {}, h("code", { class: "fingerprint" }, grouped(client.fingerprint))),
    ),
    choices: [{ value: "unpair", label: "Unpair", kind: "danger" }],
  });
  if (answer !== "unpair") return;
  try {
    await api.unpair(client.fingerprint);
    toast(`“${client.name}” is no longer paired.`);
  } catch (error) {
    // A list that could not be written still lets the device in: never call that a success.
    toast(`“${client.name}” is STILL paired: ${error.message}. ${api.advice(error)}`, "bad");
  }
  await refreshDevices().catch(() => {});
}

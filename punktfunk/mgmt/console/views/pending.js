// Devices that asked to connect and await approval.

import * as api from "../api.js";
import { ask, follow, h, say, toast } from "../dom.js";
import { duration, grouped, short } from "../format.js";
import { arm, known, on, refreshDevices } from "../store.js";

const PIN_SECONDS = 120;

export function pendingCard(scope, { hideWhenEmpty = false } = {}) {
  const list = h("ul", { class: "devices" });
  const empty = h("p", { class: "empty" }, "No device waits. One that tries to connect without being paired shows up here.");
  const card = h(
    "section",
    { class: "card", "aria-labelledby": "pending-title" },
    h("h2", { id: "pending-title" }, "Awaiting approval"),
    empty,
    list,
  );
  const show = () => {
    const devices = known.pending ?? [];
    card.hidden = hideWhenEmpty && devices.length === 0;
    card.classList.toggle("wants-you", devices.length > 0);
    empty.hidden = devices.length > 0;
    follow(list, devices, (device) => device.fingerprint, deviceRow);
  };
  on(scope, ["pending"], show);
  scope.every(5000, show);
  show();
  return card;
}

function deviceRow(first) {
  let device = first;
  const name = h("b", { class: "name" });
  const about = h("span", { class: "muted" });
  const approve = h("button", { type: "button", class: "primary small" }, "Approve…");
  const deny = h("button", { type: "button", class: "small" }, "Deny");
  approve.addEventListener("click", () => decide(device));
  deny.addEventListener("click", () =>
    act(() => api.deny(device.fingerprint), `“${device.name}” is turned away for ten minutes.`),
  );
  const element = h(
    "li",
    {},
    h("div", { class: "who" }, name, about, h("code", { title: first.fingerprint }, short(first.fingerprint))),
    h("div", { class: "actions" }, deny, approve),
  );
  const update = (next) => {
    device = next;
    const title = next.name || "a device without a name";
    say(name, title);
    const waited = (performance.now() - next.since) / 1000;
    say(about, `${next.source} · asked ${duration(waited)} ago`);
    approve.setAttribute("aria-label", `Approve ${title}…`);
    deny.setAttribute("aria-label", `Deny ${title}`);
  };
  return { element, update };
}

async function decide(device) {
  const answer = await ask({
    title: `Let “${device.name}” see and control this desktop?`,
    body: h(
      "div",
      {},
      h("p", {}, `It asks from ${device.source}. Anybody there can choose a name; the fingerprint is what counts:`),
      h("p", {}, h("code", { class: "fingerprint" }, grouped(device.fingerprint))),
      h("p", { class: "muted" }, "Not sure that it is yours? A PIN proves it: it is shown here, and typed there."),
    ),
    choices: [
      { value: "pin", label: "Ask for a PIN", kind: "" },
      { value: "approve", label: "Approve", kind: "primary" },
    ],
  });
  if (answer === "approve") await act(() => api.approve(device.fingerprint), null);
  if (answer === "pin") {
    await act(() => arm(PIN_SECONDS, device), null);
    location.hash = "devices";
  }
}

async function act(work, success) {
  try {
    await work();
    if (success) toast(success);
  } catch (error) {
    toast(`That did not work: ${error.message}. ${api.advice(error)}`, "bad");
  }
  await refreshDevices().catch(() => {});
}

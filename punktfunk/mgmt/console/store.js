// What the console knows, in one place, and who wants to hear of changes.

import * as api from "./api.js";
import { toast } from "./dom.js";

/** Length of a session's history, which the charts draw. */
export const HISTORY_MS = 60000;
const LOG_LIMIT = 2000;
const ENDED_LIMIT = 20;

export const known = {
  /** `{phase: "connecting" | "open" | "lost", status, retryAt}`; times are performance.now() milliseconds. */
  connection: { phase: "connecting", status: 0, retryAt: 0 },
  passwordSet: null,
  host: null,
  status: null,
  pairing: null,
  /** The armed window: `{pin, until, seconds, boundTo}`, or null. */
  window: null,
  /** How the last window ended: `{kind: "paired" | "spent" | "expired" | "cancelled", name, fingerprint}`, or null. */
  outcome: null,
  pending: null,
  clients: null,
  /** Moonlight clients: those that show a PIN, and those that are paired. */
  waiting: null,
  moonlight: null,
  sessions: new Map(),
  histories: new Map(),
  ended: [],
  logs: [],
};

const topics = new EventTarget();

/** Call `listener` after each change of any of the topics, until `scope` ends. */
export function on(scope, names, listener) {
  for (const name of names) {
    topics.addEventListener(name, listener);
    scope.add(() => topics.removeEventListener(name, listener));
  }
}

export function changed(...names) {
  for (const name of names) topics.dispatchEvent(new Event(name));
}

/** Forget everything but whether a password is set: another person may sign in next. */
export function forget() {
  Object.assign(known, { host: null, status: null, pairing: null, window: null, outcome: null });
  Object.assign(known, { pending: null, clients: null, waiting: null, moonlight: null, ended: [], logs: [] });
  known.sessions.clear();
  known.histories.clear();
}

/** Take one event of the stream in. */
export function receive(name, data) {
  switch (name) {
    case "state":
      known.status = data.status;
      takeClients(data.clients);
      takePairing(data.pairing);
      takePending(data.pending);
      takeMoonlight(data.waiting_for_pin, data.moonlight_clients);
      if (data.sessions) takeSessions(data.sessions);
      changed("status");
      break;
    case "session":
      takeSession(data);
      changed("sessions", `session-${data.number}`);
      break;
    case "session_ended":
      takeEnd(data);
      break;
    case "log":
      known.logs.push(data);
      if (known.logs.length > LOG_LIMIT) known.logs.splice(0, known.logs.length - LOG_LIMIT);
      changed("log");
      break;
  }
}

/** Read anew what the devices page shows: after a change of ours, and when the stream of events is not there. */
export async function refreshDevices() {
  const before = pairingsTaken;
  const [pairing, pending, clients, pin, moonlight] = await Promise.all([
    api.pairing(),
    api.pending(),
    api.clients(),
    api.waitingForPin(),
    api.moonlightClients(),
  ]);
  takeClients(clients);
  // One of the answers may have taken long, and pairing been armed meanwhile.
  if (before === pairingsTaken) takePairing(pairing);
  takePending(pending);
  takeMoonlight(pin.devices, moonlight);
}

export async function refreshHost() {
  known.host = await api.host();
  changed("host");
}

export function takeSessions(list) {
  const numbers = new Set(list.map((session) => session.number));
  for (const number of known.sessions.keys()) if (!numbers.has(number)) known.sessions.delete(number);
  for (const session of list) takeSession(session);
  changed("sessions");
}

function takeSession(session) {
  known.sessions.set(session.number, session);
  const now = performance.now();
  let history = known.histories.get(session.number);
  if (history === undefined) {
    history = [];
    known.histories.set(session.number, history);
  }
  const last = history.at(-1);
  // The same second told twice (by the list and by an event) is one sample.
  if (last && now - last.at < 400) history.pop();
  history.push({
    at: now,
    fps: session.rates?.fps ?? null,
    media: scaled(session.rates?.media_kbps, 1000),
    wire: scaled(session.rates?.wire_kbps, 1000),
    loss: scaled(session.loss?.permille, 10),
    fec: session.fec?.percent ?? null,
  });
  while (history.length > 0 && now - history[0].at > HISTORY_MS + 2000) history.shift();
}

function scaled(value, divisor) {
  return typeof value === "number" ? value / divisor : null;
}

function takeEnd(end) {
  const session = known.sessions.get(end.number);
  known.sessions.delete(end.number);
  known.histories.delete(end.number);
  known.ended.unshift({ ...end, session: session ?? null, at: Date.now() });
  known.ended.length = Math.min(known.ended.length, ENDED_LIMIT);
  changed("sessions", "ended");
}

function takePending(pending) {
  known.pending = (pending ?? []).map(timed);
  changed("pending");
}

function takeMoonlight(waiting, clients) {
  const before = known.moonlight;
  known.waiting = (waiting ?? []).map(timed);
  known.moonlight = clients ?? [];
  const names = new Set((before ?? known.moonlight).map((client) => client.fingerprint));
  for (const client of known.moonlight) if (!names.has(client.fingerprint)) toast(`“${client.name}” is paired.`);
  changed("waiting");
}

function timed(device) {
  const now = performance.now();
  return { ...device, until: now + device.expires_in_secs * 1000, since: now - device.age_secs * 1000 };
}

function takeClients(clients) {
  const before = known.clients;
  known.clients = clients ?? [];
  const { outcome } = known;
  if (outcome?.kind === "paired" && !known.clients.some((client) => client.fingerprint === outcome.fingerprint)) {
    known.outcome = null;
  }
  if (before !== null) {
    const names = new Set(before.map((client) => client.fingerprint));
    const fresh = known.clients.filter((client) => !names.has(client.fingerprint));
    for (const client of fresh) {
      known.outcome = { kind: "paired", name: client.name, fingerprint: client.fingerprint };
      toast(`“${client.name}” is paired.`);
    }
  }
  changed("clients");
}

/** What a session's client is called: by the name that it was paired under, or else by what it calls itself. */
export function nameOf({ client }) {
  const paired = [...(known.clients ?? []), ...(known.moonlight ?? [])].find((one) => one.fingerprint === client.fingerprint);
  return paired?.name || client.name || client.address;
}

/** The median time that a frame spends in the host, in µs: measured as a whole, or else the sum of the stages' medians. */
export function latencyOf(session) {
  if (session.total) return session.total.p50_us;
  return session.stages.length > 0 ? session.stages.reduce((sum, stage) => sum + stage.p50_us, 0) : null;
}

/** Counts the pairing states that told something new: an answer to what was asked before is older than they are. */
let pairingsTaken = 0;

/** Take a pairing state in; events carry no PIN, so one that is missing is asked for. */
export function takePairing(pairing) {
  const before = known.window;
  known.pairing = pairing;
  if (!pairing?.armed) {
    pairingsTaken += 1;
    known.window = null;
    if (before !== null && known.outcome === null) {
      known.outcome = { kind: performance.now() >= before.until - 1500 ? "expired" : "spent", name: "" };
    }
  } else {
    const until = performance.now() + pairing.expires_in_secs * 1000;
    // The host counts whole seconds: what differs by less is the same window, whose clock shall not jump.
    const same = before !== null && Math.abs(until - before.until) < 2500 && (pairing.pin ?? before.pin) === before.pin;
    if (same) return;
    pairingsTaken += 1;
    known.outcome = null;
    known.window = {
      pin: pairing.pin ?? null,
      until,
      seconds: pairing.expires_in_secs,
      boundTo: null,
    };
    if (!pairing.pin) void askForPin();
  }
  changed("pairing");
}

async function askForPin() {
  const before = pairingsTaken;
  try {
    const pairing = await api.pairing();
    if (pairing.pin && before === pairingsTaken) takePairing(pairing);
  } catch {
    // The page says that it does not know the PIN; the next event brings another try.
  }
}

/** Arm pairing, for one device only when its fingerprint is given. */
export async function arm(seconds, device = null) {
  known.outcome = null;
  const body = { ttl_secs: seconds };
  if (device !== null) body.fingerprint = device.fingerprint;
  const pairing = await api.arm(body);
  known.window = null;
  takePairing(pairing);
  if (known.window) known.window.boundTo = device;
  changed("pairing");
}

export async function disarm() {
  known.outcome = { kind: "cancelled", name: "" };
  await api.disarm();
  pairingsTaken += 1;
  known.window = null;
  changed("pairing");
}

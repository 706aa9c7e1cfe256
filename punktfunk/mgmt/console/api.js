// The management API, as the console uses it. Every answer that is no success becomes an ApiError.

/** An answer that is no success. `status` is 0 when the host did not answer at all; `retryAfter` is in seconds. */
export class ApiError extends Error {
  constructor(status, message, retryAfter = null) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

const TIMEOUT_MS = 15000;

let onSignedOut = () => {};

/** Have `listener` called whenever the host says that this browser is not signed in (any more). */
export function whenSignedOut(listener) {
  onSignedOut = listener;
}

async function call(method, path, body, { login = false } = {}) {
  // The header is the console's half of the proof that a change comes from its own page.
  const headers = { "X-Punktfunk-Console": "1" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      cache: "no-store",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch {
    throw new ApiError(0, "the host does not answer");
  }
  if (answer.status === 204 || answer.status === 202) return null;
  if (answer.ok) {
    const body = await json(answer);
    if (body === null) throw new ApiError(0, "the host's answer broke off");
    return body;
  }
  if (answer.status === 401 && !login) onSignedOut();
  const said = await json(answer);
  const wait = Number.parseInt(answer.headers.get("Retry-After") ?? "", 10);
  throw new ApiError(
    answer.status,
    typeof said?.error === "string" ? said.error : `the host answered ${answer.status}`,
    Number.isFinite(wait) ? wait : null,
  );
}

async function json(answer) {
  try {
    return await answer.json();
  } catch {
    return null;
  }
}

const v1 = (path) => `/api/v1${path}`;
const one = encodeURIComponent;

export const me = () => call("GET", "/console/me", undefined, { login: true });
export const signIn = (secret) => call("POST", "/console/login", secret, { login: true });
export const signOut = () => call("POST", "/console/logout", undefined, { login: true });
export const setPassword = (body) => call("POST", "/console/password", body, { login: true });

export const host = () => call("GET", v1("/host"));
export const compositors = () => call("GET", v1("/compositors"));
export const readiness = () => call("GET", v1("/readiness"));

export const pairing = () => call("GET", v1("/native/pair"));
export const arm = (body) => call("POST", v1("/native/pair/arm"), body);
export const disarm = () => call("DELETE", v1("/native/pair"));
export const pending = () => call("GET", v1("/native/pending"));
export const approve = (fingerprint) => call("POST", v1(`/native/pending/${one(fingerprint)}/approve`));
export const deny = (fingerprint) => call("POST", v1(`/native/pending/${one(fingerprint)}/deny`));
export const clients = () => call("GET", v1("/native/clients"));
export const unpair = (fingerprint) => call("DELETE", v1(`/native/clients/${one(fingerprint)}`));

export const waitingForPin = () => call("GET", v1("/pair"));
export const enterPin = (pin, device) => call("POST", v1("/pair/pin"), { pin, device });
export const turnAway = (fingerprint) => call("DELETE", v1(`/pair/${one(fingerprint)}`));
export const moonlightClients = () => call("GET", v1("/clients"));
export const unpairMoonlight = (fingerprint) => call("DELETE", v1(`/clients/${one(fingerprint)}`));

export const apps = () => call("GET", v1("/apps"));
export const runningApps = () => call("GET", v1("/running-apps"));
export const quitApp = (run) => call("DELETE", v1(`/running-apps/${one(run)}`));
export const addApp = (app) => call("POST", v1("/apps"), app);
export const changeApp = (id, app) => call("PUT", v1(`/apps/${one(id)}`), app);
export const removeApp = (id) => call("DELETE", v1(`/apps/${one(id)}`));

export const sessions = () => call("GET", v1("/sessions"));
export const endSession = (number) => call("DELETE", v1(`/sessions/${one(number)}`));

export const settings = () => call("GET", v1("/settings"));
export const changeSettings = (changes) => call("PATCH", v1("/settings"), changes);

export const logs = (limit) => call("GET", v1(`/logs?limit=${one(limit)}`));
export const LOGS_FILE = v1("/logs.txt");
export const LOGS_FILE_REDACTED = v1("/logs.txt?redact=addresses");
export const EVENTS = v1("/events");

/** What to do about an error, in a sentence for a person. */
export function advice(error) {
  switch (error.status) {
    case 0:
      return "Is `punktfunk serve` still running on the host? The console tries again by itself.";
    case 401:
      return "Sign in again.";
    case 403:
      return "Open the console by the address that the host printed, and reload the page.";
    case 404:
      return "It is gone, or this host does not offer it.";
    case 429:
      return "Wait a moment, then try again.";
    case 503:
      return "This part of the host is switched off or busy.";
    default:
      return error.status >= 500 ? "The host's log says more." : "";
  }
}

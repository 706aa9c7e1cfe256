// The stream of events, kept open. Read through fetch rather than EventSource, which hides the status (is the host
// gone, or has the session expired?) and the keep-alive comments (is a silent connection alive?).

import { EVENTS } from "./api.js";

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15000;
/** The host sends a comment every 10 s; a connection that is silent for longer than two of them is dead. */
const SILENCE_MS = 25000;

export class Events {
  #listener;
  #abort = null;
  #retry = 0;
  #wait = FIRST_WAIT_MS;
  #running = false;

  /** `listener` has `event(name, data)`, `opened()`, `lost({status, waitMs})` and `signedOut()`. */
  constructor(listener) {
    this.#listener = listener;
  }

  start() {
    if (this.#running) return;
    this.#running = true;
    this.#wait = FIRST_WAIT_MS;
    this.#open();
  }

  stop() {
    this.#running = false;
    clearTimeout(this.#retry);
    this.#abort?.abort();
  }

  /** Do not wait any longer for the next try. */
  retryNow() {
    if (!this.#running || this.#abort !== null) return;
    clearTimeout(this.#retry);
    this.#wait = FIRST_WAIT_MS;
    this.#open();
  }

  async #open() {
    const abort = new AbortController();
    this.#abort = abort;
    let status = 0;
    try {
      status = await this.#read(abort);
    } catch {
      // The connection broke, or was never made.
    }
    abort.abort();
    if (this.#abort !== abort) return;
    this.#abort = null;
    if (!this.#running) return;
    if (status === 401) {
      this.#running = false;
      this.#listener.signedOut();
      return;
    }
    const waitMs = this.#wait;
    this.#wait = Math.min(this.#wait * 2, LONGEST_WAIT_MS);
    this.#listener.lost({ status, waitMs });
    if (this.#running) this.#retry = setTimeout(() => this.#open(), waitMs);
  }

  #tell(name, data) {
    if (!this.#running) return;
    try {
      this.#listener.event(name, data);
    } catch (error) {
      reportError(error); // a defect of the console, not of the connection
    }
  }

  async #read(abort) {
    let silence = 0;
    const heard = () => {
      clearTimeout(silence);
      silence = setTimeout(() => abort.abort(), SILENCE_MS);
    };
    heard();
    try {
      const answer = await fetch(EVENTS, {
        headers: { Accept: "text/event-stream", "X-Punktfunk-Console": "1" },
        credentials: "same-origin",
        cache: "no-store",
        signal: abort.signal,
      });
      if (!answer.ok) return answer.status;
      this.#wait = FIRST_WAIT_MS;
      this.#listener.opened();
      const parser = new Parser((name, data) => this.#tell(name, data));
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return 0;
        heard();
        parser.feed(value);
      }
    } finally {
      clearTimeout(silence);
    }
  }
}

/** The event stream format (HTML standard, 9.2.6), as far as one trusted host uses it. */
class Parser {
  #emit;
  #rest = "";
  #name = "message";
  #data = [];

  constructor(emit) {
    this.#emit = emit;
  }

  feed(text) {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop();
    for (const line of lines) this.#line(line.endsWith("\r") ? line.slice(0, -1) : line);
  }

  #line(line) {
    if (line === "") {
      if (this.#data.length > 0) this.#emit(this.#name, JSON.parse(this.#data.join("\n")));
      this.#name = "message";
      this.#data = [];
      return;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.#name = value;
    else if (field === "data") this.#data.push(value);
  }
}

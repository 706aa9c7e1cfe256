// Who streams now, and how it goes: where the time goes, what a minute looked like, the counts.

import * as api from "../api.js";
import { Timeline } from "../charts.js";
import { ask, follow, h, say, set, toast } from "../dom.js";
import { count, duration, megabits, milliseconds, NOTHING, number, permille, words } from "../format.js";
import { HISTORY_MS, known, latencyOf, nameOf, on, takeSessions } from "../store.js";
import { Waterfall } from "../waterfall.js";

export function sessionsView(main, scope) {
  const live = h("div", { class: "sessions" });
  const empty = h(
    "section",
    { class: "card" },
    h("p", { class: "empty" }, "Nobody streams at the moment. The ", h("a", { href: "#home" }, "home page"), " says what to type on the other machine."),
  );
  const ended = new Ended();
  main.append(h("h1", {}, "Sessions"), empty, live, ended.element);
  const show = () => {
    empty.hidden = known.sessions.size > 0;
    follow(live, [...known.sessions.values()], (session) => session.number, sessionCard);
  };
  on(scope, ["sessions", "clients"], show);
  on(scope, ["ended"], () => ended.show());
  show();
  ended.show();
  api.sessions().then(takeSessions, () => {});
}

function sessionCard(first) {
  const name = h("h2", { id: `session-${first.number}` });
  const badge = h("span", { class: "badge" });
  const about = h("p", { class: "muted about" });
  const notices = h("div", { role: "status" });
  const end = h("button", { type: "button", class: "danger" }, "End session…");
  end.addEventListener("click", () => endSession(first.number, name.textContent));
  const figures = new Figures();
  const waterfall = new Waterfall();
  const timeline = new Timeline("The last minute: frame rate, bitrate, loss and error correction", HISTORY_MS, [
    { title: "Frame rate", unit: "fps", digits: 0, floor: first.mode?.refresh_hz ?? 30, lines: [{ key: "fps", label: "sent", kind: "line" }] },
    {
      title: "Bitrate",
      unit: "Mbit/s",
      digits: 2,
      floor: 0.1,
      lines: [
        { key: "media", label: "video", kind: "area" },
        { key: "wire", label: "on the wire", kind: "line" },
      ],
    },
    {
      title: "Loss and error correction",
      unit: "%",
      digits: 1,
      floor: 5,
      lines: [
        { key: "fec", label: "FEC", kind: "step" },
        { key: "loss", label: "lost", kind: "line" },
      ],
    },
  ]);
  const counts = new Counts();
  const element = h(
    "section",
    { class: "card session", "aria-labelledby": name.id },
    h("div", { class: "card-head" }, h("div", {}, h("div", { class: "title" }, name, badge), about), end),
    notices,
    figures.element,
    h("h3", {}, "Where a frame's time goes in this host"),
    waterfall.element,
    h("h3", {}, "The last minute"),
    timeline.element,
    counts.element,
  );
  const update = (session) => {
    const { client, mode } = session;
    const title = nameOf(session);
    say(name, title);
    say(badge, session.state);
    set(badge, { class: `badge ${session.state === "streaming" ? "live" : ""}` });
    end.setAttribute("aria-label", `End the session of ${title}…`);
    const codec = session.codec ? `${session.codec}${session.encoder ? ` by ${session.encoder}` : ""}` : "no video codec";
    const way = session.handover ? ` · pictures ${session.handover.way}: ${session.handover.reason}` : "";
    const alias = client.name && client.name !== title ? `calls itself “${client.name}” · ` : "";
    say(about, `${alias}${client.address} · ${session.source} · ${mode.width}×${mode.height} at ${mode.refresh_hz} Hz · ${codec}${way} · for ${duration(session.seconds)}`);
    follow(notices, session.notices ?? [], (text) => text, notice);
    figures.show(session);
    waterfall.show(session.stages, session.total ?? null, mode.refresh_hz > 0 ? 1e6 / mode.refresh_hz : 0);
    timeline.show(known.histories.get(session.number) ?? [], performance.now());
    counts.show(session);
  };
  return { element, update };
}

/** Something that a person should know of a session now. */
function notice(text) {
  return { element: h("p", { class: "outcome warn" }, text), update: () => {} };
}

async function endSession(numberOfSession, name) {
  const answer = await ask({
    title: `End the session of “${name}”?`,
    body: h("p", {}, "Its stream stops at once. The device stays paired and may connect again."),
    choices: [{ value: "end", label: "End session", kind: "danger" }],
  });
  if (answer !== "end") return;
  try {
    await api.endSession(numberOfSession);
    toast(`The session of “${name}” ends.`);
  } catch (error) {
    if (error.status === 404) toast("That session was over already.");
    else toast(`Not ended: ${error.message}. ${api.advice(error)}`, "bad");
  }
}

/** The handful of figures that say at a glance whether it goes well. */
class Figures {
  #cells = new Map();
  #fec = h("dt", {});
  element = h("dl", { class: "figures" });

  constructor() {
    const cells = { fps: "frames a second", latency: "ms in this host (median)", media: "Mbit/s video", loss: "% packets lost", fec: "", keyframes: "key frames asked for" };
    for (const [key, label] of Object.entries(cells)) {
      const value = h("dd", {}, NOTHING);
      this.#cells.set(key, value);
      this.element.append(h("div", {}, value, key === "fec" ? this.#fec : h("dt", {}, label)));
    }
  }

  show(session) {
    const tell = (key, text) => say(this.#cells.get(key), text);
    tell("fps", number(session.rates?.fps));
    tell("latency", milliseconds(latencyOf(session)));
    tell("media", megabits(session.rates?.media_kbps));
    tell("loss", permille(session.loss?.permille));
    tell("fec", number(session.fec?.percent));
    say(this.#fec, `% error correction${session.fec?.adaptive ? ", adaptive" : ""}`);
    tell("keyframes", count(session.keyframes_requested));
  }
}

/** What was counted: frames and packets, and input by kind. */
class Counts {
  #ledger = h("tbody", {});
  #input = h("tbody", {});
  #inputTable = table("Input from the client", this.#input);
  element = h("details", { class: "counts" }, h("summary", {}, "Packets, frames and input, counted"), h("div", { class: "columns" }, table("Sent", this.#ledger), this.#inputTable));

  show(session) {
    if (!this.element.open && this.#ledger.childElementCount > 0) return;
    const rows = (counters) => Object.entries(counters ?? {}).map(([name, value]) => ({ name, value }));
    follow(this.#ledger, rows(session.ledger), (row) => row.name, counterRow);
    const input = rows(session.input);
    this.#inputTable.hidden = input.length === 0;
    follow(this.#input, input, (row) => row.name, counterRow);
  }
}

function table(caption, body) {
  return h("table", { class: "counters" }, h("caption", {}, caption), body);
}

function counterRow({ name }) {
  const value = h("td", { class: "figure" });
  const element = h("tr", {}, h("th", { scope: "row" }, words(name)), value);
  const update = (row) => {
    say(value, count(row.value));
    element.classList.toggle("zero", row.value === 0);
  };
  return { element, update };
}

/** Sessions that ended while this page was open. */
class Ended {
  #list = h("ul", { class: "devices" });
  element = h("section", { class: "card", "aria-labelledby": "ended-title", hidden: true }, h("h2", { id: "ended-title" }, "Ended since this page was opened"), this.#list);

  show() {
    this.element.hidden = known.ended.length === 0;
    follow(this.#list, known.ended, (end) => end.number, (end) => {
      const sent = end.ledger?.frames_sent;
      return {
        element: h(
          "li",
          {},
          h(
            "div",
            { class: "who" },
            h("span", { class: "title" }, h("b", {}, end.session === null ? `session ${end.number}` : nameOf(end.session)), h("span", { class: `badge ${end.failed ? "bad" : ""}` }, end.failed ? "failed" : "ended")),
            h("span", { class: "muted" }, `${end.reason} · ${sent === undefined ? "" : `${count(sent)} frames sent · `}${new Date(end.at).toLocaleTimeString()}`),
          ),
        ),
        update: () => {},
      };
    });
  }
}

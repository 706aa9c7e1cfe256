// The host's log as it is written: filtered, held still, taken away.

import * as api from "../api.js";
import { h, say } from "../dom.js";
import { changed, known, on } from "../store.js";

const LEVELS = ["debug", "info", "warning", "error", "critical"];
const SHOWN = 500;
const FETCHED = 500;

export function logsView(main, scope) {
  const level = h(
    "select",
    { id: "log-level" },
    [["", "all levels"], ["info", "info and above"], ["warning", "warnings and above"], ["error", "errors"]].map(([value, label]) => h("option", { value }, label)),
  );
  const text = h("input", { id: "log-text", type: "search", placeholder: "words in a line", autocomplete: "off", spellcheck: "false" });
  const pause = h("button", { type: "button", "aria-pressed": "false" }, "Pause");
  const lines = h("ol", { class: "log-lines", role: "log", "aria-live": "off", "aria-label": "Log lines, newest last", tabindex: "0" });
  const empty = h("p", { class: "empty" });
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const note = h("p", { class: "muted", "aria-live": "polite" });
  main.append(
    h("h1", {}, "Logs"),
    h(
      "section",
      { class: "card", "aria-label": "Log" },
      h(
        "div",
        { class: "log-tools" },
        h("div", { class: "field" }, h("label", { for: "log-level" }, "Level"), level),
        h("div", { class: "field grow" }, h("label", { for: "log-text" }, "Filter"), text),
        pause,
      ),
      problem,
      empty,
      lines,
      h(
        "div",
        { class: "actions" },
        h("a", { class: "button", href: api.LOGS_FILE, download: "punktfunk-log.txt" }, "Download"),
        h("a", { class: "button", href: api.LOGS_FILE_REDACTED, download: "punktfunk-log-redacted.txt" }, "Download without names and addresses"),
        note,
      ),
      h("p", { class: "muted" }, "PINs, keys and passwords are never in the log. Take the second file for a public bug report."),
    ),
  );

  let held = null;
  let drawn = null;
  const draw = () => {
    const source = held ?? known.logs;
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const least = LEVELS.indexOf(level.value);
    const wanted = source.filter((entry) => LEVELS.indexOf(entry.level) >= least && words.every((word) => searched(entry).includes(word)));
    const follows = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 40;
    const shown = wanted.slice(-SHOWN);
    update(lines, shown, drawn);
    drawn = shown;
    empty.hidden = wanted.length > 0;
    say(empty, source.length === 0 ? "Nothing has been logged yet." : "No line fits the filter.");
    const fresh = held === null ? 0 : known.logs.length - held.length;
    say(note, held === null ? (wanted.length > SHOWN ? `the last ${SHOWN} of ${wanted.length} lines` : "") : `held; ${fresh} newer`);
    if (follows && held === null) lines.scrollTop = lines.scrollHeight;
  };
  pause.addEventListener("click", () => {
    held = held === null ? [...known.logs] : null;
    pause.setAttribute("aria-pressed", String(held !== null));
    say(pause, held === null ? "Pause" : "Go on");
    draw();
  });
  level.addEventListener("input", draw);
  text.addEventListener("input", draw);
  const load = async () => {
    try {
      known.logs = await api.logs(FETCHED);
      problem.hidden = true;
      changed("log");
    } catch (error) {
      problem.hidden = false;
      say(problem, `The log could not be read: ${error.message}. ${api.advice(error)}`);
    }
  };
  let frame = 0;
  on(scope, ["log"], () => {
    // A burst of lines is drawn once.
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(draw);
  });
  scope.add(() => cancelAnimationFrame(frame));
  on(scope, ["opened"], load);
  draw();
  void load();
}

const texts = new WeakMap();

function searched(entry) {
  let text = texts.get(entry);
  if (text === undefined) {
    text = `${entry.level} ${entry.concern ?? ""} ${entry.event} ${fields(entry)}`.toLowerCase();
    texts.set(entry, text);
  }
  return text;
}

function fields(entry) {
  const { time, level, concern, event, fields: nested, ...rest } = entry;
  return Object.entries(nested ?? rest)
    .map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join(" ");
}

/** Draw lines: at the end of what is there when nothing else has changed. */
function update(list, shown, before) {
  const same = before !== null && before.length > 0 ? shown.lastIndexOf(before.at(-1)) : -1;
  const kept = same + 1;
  const goesOn = same >= 0 && kept <= before.length && shown[0] === before[before.length - kept];
  if (!goesOn) {
    list.replaceChildren(...shown.map(line));
    return;
  }
  for (let index = before.length - kept; index > 0; index -= 1) list.firstElementChild.remove();
  list.append(...shown.slice(kept).map(line));
}

function line(entry) {
  return h(
    "li",
    { class: `level-${entry.level}` },
    h("time", {}, clock(entry.time)),
    h("span", { class: "level" }, entry.level),
    h("span", { class: "concern" }, entry.concern ?? ""),
    h("span", { class: "said" }, h("b", {}, entry.event), " ", fields(entry)),
  );
}

function clock(time) {
  const moment = new Date(typeof time === "number" ? time : Date.parse(time));
  return Number.isNaN(moment.getTime()) ? String(time) : moment.toLocaleTimeString([], { hour12: false });
}

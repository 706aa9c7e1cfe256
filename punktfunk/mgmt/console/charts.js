// The last minute of a session, one panel below the other on the same time axis.

import { h, say, set, svg } from "./dom.js";
import { number } from "./format.js";

const WIDTH = 600;
const HEIGHT = 100;
/** Samples come once a second; a longer silence is drawn as a gap, not as a line across what nobody knows. */
const GAP_MS = 2600;

/**
 * Panels of lines. A panel is `{title, unit, digits, floor, lines: [{key, label, kind}]}`; `kind` is "line", "area" or
 * "step" and names the style; `floor` is the least height of the scale. Pointing at a moment, or the arrow keys, show
 * its figures.
 */
export class Timeline {
  #panels;
  #span;
  #samples = [];
  #now = 0;
  #chosen = null;
  #when = h("p", { class: "when muted" });
  #spoken = h("p", { class: "visually-hidden", "aria-live": "polite" });
  element;

  constructor(label, spanMs, panels) {
    this.#span = spanMs;
    this.#panels = panels.map((panel) => new Panel(panel));
    this.element = h(
      "div",
      { class: "timeline", role: "group", tabindex: "0", "aria-label": `${label}. Arrow keys show single seconds.` },
      this.#panels.map((panel) => panel.element),
      h("div", { class: "axis muted", "aria-hidden": "true" }, h("span", {}, `${spanMs / 1000} s ago`), this.#when, h("span", {}, "now")),
      this.#spoken,
    );
    this.element.addEventListener("pointermove", (event) => this.#point(event));
    this.element.addEventListener("pointerleave", () => this.#choose(null));
    this.element.addEventListener("blur", () => this.#choose(null));
    this.element.addEventListener("keydown", (event) => this.#key(event));
  }

  show(samples, now) {
    this.#samples = samples;
    this.#now = now;
    for (const panel of this.#panels) panel.draw(samples, (at) => this.#x(at));
    this.#mark();
  }

  #x(at) {
    return WIDTH * (1 - (this.#now - at) / this.#span);
  }

  #point(event) {
    const area = this.#panels[0].area.getBoundingClientRect();
    const at = this.#now - this.#span * (1 - (event.clientX - area.left) / area.width);
    let best = null;
    for (const sample of this.#samples) {
      if (best === null || Math.abs(sample.at - at) < Math.abs(best.at - at)) best = sample;
    }
    this.#choose(best !== null && Math.abs(best.at - at) < GAP_MS ? best : null);
  }

  #key(event) {
    if (!["ArrowLeft", "ArrowRight", "Home", "End", "Escape"].includes(event.key) || this.#samples.length === 0) return;
    event.preventDefault();
    const last = this.#samples.length - 1;
    const current = this.#chosen === null ? last + 1 : this.#samples.indexOf(this.#chosen);
    const next = { ArrowLeft: current - 1, ArrowRight: current + 1, Home: 0, End: last, Escape: null }[event.key];
    this.#choose(next === null ? null : this.#samples[Math.min(Math.max(next, 0), last)]);
    if (this.#chosen !== null) {
      say(this.#spoken, `${this.#when.textContent}: ${this.#panels.map((panel) => panel.spoken(this.#chosen)).join(", ")}`);
    }
  }

  #choose(sample) {
    this.#chosen = sample;
    this.#mark();
  }

  #mark() {
    if (this.#chosen !== null && !this.#samples.includes(this.#chosen)) this.#chosen = null;
    const sample = this.#chosen ?? this.#samples.at(-1) ?? null;
    for (const panel of this.#panels) {
      panel.tell(sample);
      panel.mark(this.#chosen === null ? null : this.#x(this.#chosen.at));
    }
    say(this.#when, this.#chosen === null ? "" : `${Math.round((this.#now - this.#chosen.at) / 1000)} s ago`);
  }
}

class Panel {
  #panel;
  #lines;
  #top = h("span", { class: "top-of-scale muted", "aria-hidden": "true" });
  #cursor = svg("line", { class: "cursor", y1: 0, y2: HEIGHT });
  area;
  element;

  constructor(panel) {
    this.#panel = panel;
    this.#lines = panel.lines.map((line) => ({
      ...line,
      path: svg("path", { class: `${line.kind} series-${line.key}` }),
      figure: h("b", {}),
    }));
    this.area = svg(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true", focusable: "false" },
      [0.5, 1].map((part) => svg("line", { class: "grid", x1: 0, x2: WIDTH, y1: HEIGHT * (1 - part), y2: HEIGHT * (1 - part) })),
      svg("line", { class: "grid base", x1: 0, x2: WIDTH, y1: HEIGHT, y2: HEIGHT }),
      this.#lines.map((line) => line.path),
      this.#cursor,
    );
    this.element = h(
      "div",
      { class: "panel" },
      h(
        "div",
        { class: "legend" },
        h("span", { class: "title" }, panel.title),
        this.#lines.map((line) =>
          h("span", { class: "key" }, h("i", { class: `dot series-${line.key}`, "aria-hidden": "true" }), `${line.label} `, line.figure, ` ${line.unit ?? panel.unit}`),
        ),
      ),
      h("div", { class: "plot" }, this.area, this.#top),
    );
  }

  draw(samples, x) {
    const values = samples.flatMap((sample) => this.#lines.map((line) => sample[line.key] ?? 0));
    const ceiling = round(Math.max(this.#panel.floor, ...values));
    say(this.#top, `${number(ceiling, ceiling < 1 ? 1 : 0)} ${this.#panel.unit}`);
    for (const line of this.#lines) {
      const y = (value) => (HEIGHT * (1 - value / ceiling)).toFixed(1);
      set(line.path, { d: outline(samples, line, x, y) });
    }
  }

  tell(sample) {
    for (const line of this.#lines) say(line.figure, number(sample?.[line.key], this.#panel.digits));
  }

  mark(x) {
    set(this.#cursor, { x1: x === null ? -10 : x.toFixed(1), x2: x === null ? -10 : x.toFixed(1) });
  }

  spoken(sample) {
    return this.#lines
      .map((line) => `${line.label} ${number(sample[line.key], this.#panel.digits)} ${line.unit ?? this.#panel.unit}`)
      .join(", ");
  }
}

function outline(samples, line, x, y) {
  let path = "";
  let run = [];
  const close = () => {
    if (run.length > 0) path += piece(run, line.kind, x, y);
    run = [];
  };
  for (const sample of samples) {
    const value = sample[line.key];
    const before = run.at(-1);
    if (value === null || value === undefined) close();
    else {
      if (before && sample.at - before.at > GAP_MS) close();
      run.push({ at: sample.at, value });
    }
  }
  close();
  return path;
}

function piece(run, kind, x, y) {
  const points = run.map(({ at, value }) => [x(at).toFixed(1), y(value)]);
  const [first] = points;
  const last = points.at(-1);
  if (points.length === 1) return kind === "area" ? "" : `M${first[0]} ${first[1]}h2`;
  const join = kind === "step" ? ([px, py]) => `H${px}V${py}` : ([px, py]) => `L${px} ${py}`;
  const line = `M${first.join(" ")}${points.slice(1).map(join).join("")}`;
  return kind === "area" ? `${line}L${last[0]} ${HEIGHT}L${first[0]} ${HEIGHT}Z` : line;
}

/** The next of 1, 2, 2.5, 4, 5, 6, 8 times a power of ten, with some air. */
function round(value) {
  const decade = 10 ** Math.floor(Math.log10(value));
  return decade * ([1, 2, 2.5, 4, 5, 6, 8, 10].find((step) => step * decade >= value * 1.02) ?? 10);
}

// Where a frame's time goes: the stages of its way through the host, one after the other, on one scale.

import { follow, h, say, set, svg } from "./dom.js";
import { milliseconds } from "./format.js";

const WIDTH = 1000;
const CEILINGS_US = [1, 2, 5].flatMap((step) => [100, 1e3, 1e4, 1e5, 1e6].map((decade) => step * decade)).sort((a, b) => a - b);

/**
 * A row a stage: its median as a bar that begins where the medians before it end, its 95th percentile as a whisker,
 * and the figures. The stages' medians do not add up to the median of the whole, so that has a row of its own.
 */
export class Waterfall {
  #body = h("tbody", { role: "rowgroup" });
  #strip = svg("svg", { class: "strip", viewBox: `0 0 ${WIDTH} 20`, preserveAspectRatio: "none", "aria-hidden": "true", focusable: "false" });
  #scale = h("span", { class: "scale" });
  #empty = h("p", { class: "empty" }, "No frame has gone all the way yet.");
  #ceiling = 0;
  #table = h(
    "table",
    { class: "waterfall", role: "table" },
    h("caption", { class: "visually-hidden" }, "Latency of each stage in this host over the last second, in milliseconds"),
    h(
      "thead",
      { role: "rowgroup" },
      h("tr", { role: "row" }, heading("Stage", "stage"), heading("", "bar"), heading("p50", "figure"), heading("p95", "figure"), heading("max", "figure")),
    ),
    this.#body,
  );
  element = h("div", { class: "latency" }, this.#strip, this.#table, this.#scale, this.#empty);

  /**
   * `stages` as the API gives them, `whole` the same of the whole way or null; `frameUs` is the time between two
   * frames, drawn as a mark.
   */
  show(stages, whole, frameUs) {
    const none = stages.length === 0;
    this.#table.hidden = none;
    this.#strip.toggleAttribute("hidden", none);
    this.#scale.hidden = none;
    this.#empty.hidden = !none;
    if (none) return;
    let begin = 0;
    const rows = stages.map((stage, index) => {
      const row = { ...stage, index, begin, ceiling: 0 };
      begin += stage.p50_us;
      return row;
    });
    const total = { name: "sum of medians", p50_us: begin, p95_us: null, max_us: null };
    if (whole !== null) Object.assign(total, whole, { name: "in all" });
    Object.assign(total, { index: "sum", begin: 0 });
    const end = Math.max(...[...rows, total].map((row) => row.begin + Math.max(row.p50_us, row.p95_us ?? 0)));
    this.#ceiling = calm(end, this.#ceiling);
    for (const row of [...rows, total]) {
      row.ceiling = this.#ceiling;
      row.frameUs = frameUs;
    }
    follow(this.#body, [...rows, total], (row) => row.name, stageRow);
    this.#drawStrip(rows, begin);
    const mark = frameUs > 0 && frameUs < this.#ceiling ? ` · dashed: one frame (${milliseconds(frameUs)} ms)` : "";
    say(this.#scale, `full width ${milliseconds(this.#ceiling)} ms${mark}`);
  }

  #drawStrip(rows, sum) {
    this.#strip.replaceChildren(
      ...rows.map((row) =>
        svg("rect", {
          class: `stage-${row.index % 6}`,
          x: ((row.begin / sum) * WIDTH).toFixed(1),
          width: Math.max(0, (row.p50_us / sum) * WIDTH).toFixed(1),
          y: 0,
          height: 20,
        }),
      ),
    );
  }
}

/** A round number above `end`, kept for as long as it fits well, so that bars do not jump every second. */
function calm(end, current) {
  if (end <= current && end > current * 0.4) return current;
  return CEILINGS_US.find((ceiling) => ceiling >= end) ?? end;
}

function heading(text, kind) {
  return h("th", { scope: "col", role: "columnheader", class: kind }, text);
}

function stageRow(first) {
  const sum = first.index === "sum";
  const bar = svg("rect", { class: sum ? "sum" : `stage-${first.index % 6}`, y: 5, height: 14 });
  const whisker = svg("path", { class: "whisker" });
  const frame = svg("line", { class: "frame", y1: 0, y2: 24 });
  const figures = ["p50_us", "p95_us", "max_us"].map((key) => [key, h("td", { class: "figure", role: "cell" })]);
  const element = h(
    "tr",
    { role: "row", class: sum ? "sum" : null },
    h("th", { scope: "row", role: "rowheader", class: "stage" }, h("span", { class: "swatch" }, svg("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, svg("rect", { class: sum ? "sum" : `stage-${first.index % 6}`, width: 10, height: 10, rx: 2 }))), first.name),
    h("td", { class: "bar", role: "cell", "aria-hidden": "true" }, svg("svg", { viewBox: `0 0 ${WIDTH} 24`, preserveAspectRatio: "none", focusable: "false" }, frame, bar, whisker)),
    figures.map(([, cell]) => cell),
  );
  const update = (row) => {
    const x = (us) => (Math.min(us / row.ceiling, 1) * WIDTH).toFixed(1);
    const width = Math.max((row.p50_us / row.ceiling) * WIDTH, 2);
    set(bar, { x: x(row.begin), width: width.toFixed(1) });
    const ends = row.p95_us !== null && row.p95_us > row.p50_us;
    const to = x(row.begin + (row.p95_us ?? 0));
    set(whisker, { d: ends ? `M${x(row.begin + row.p50_us)} 12H${to}M${to} 7V17` : null });
    const shown = row.frameUs > 0 && row.frameUs < row.ceiling;
    set(frame, { x1: shown ? x(row.frameUs) : -10, x2: shown ? x(row.frameUs) : -10 });
    for (const [key, cell] of figures) say(cell, row[key] === null ? "" : milliseconds(row[key]));
  };
  return { element, update };
}

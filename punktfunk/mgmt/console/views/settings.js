// Every setting with what it is, what it would be, its unit, and when a change takes hold.

import * as api from "../api.js";
import { announce, follow, h, say, set, toast } from "../dom.js";
import { words } from "../format.js";
import { on } from "../store.js";

const WHEN = {
  now: "takes effect at once",
  "next session": "takes effect with the next session",
  "next start": "takes effect when the host starts next",
};

export function settingsView(main, scope) {
  const rows = new Map();
  const list = h("div", { class: "settings" });
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const save = h("button", { type: "submit", class: "primary", disabled: true }, "Save");
  const undo = h("button", { type: "button", disabled: true }, "Undo");
  const pendingText = h("span", { class: "muted", "aria-live": "polite" });
  const form = h("form", { class: "card", "aria-label": "Settings", novalidate: true }, list, problem, h("div", { class: "save-bar" }, pendingText, h("div", { class: "actions" }, undo, save)));
  main.append(h("h1", {}, "Settings"), form);

  const changes = () => [...rows.values()].filter((row) => row.changed());
  const show = () => {
    const number = changes().length;
    save.disabled = number === 0;
    undo.disabled = number === 0;
    say(pendingText, number === 0 ? "" : number === 1 ? "1 change, not saved" : `${number} changes, not saved`);
    form.classList.toggle("dirty", number > 0);
  };
  const take = (settings) => {
    follow(list, settings, (setting) => setting.name, (setting) => {
      const row = new Row(setting, show);
      rows.set(setting.name, row);
      return { element: row.element, update: (next) => row.take(next) };
    });
    show();
  };
  const load = async () => {
    try {
      take(await api.settings());
      problem.hidden = true;
    } catch (error) {
      problem.hidden = false;
      say(problem, `The settings could not be read: ${error.message}. ${api.advice(error)}`);
    }
  };
  undo.addEventListener("click", () => {
    for (const row of rows.values()) row.undo();
    problem.hidden = true;
    show();
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    problem.hidden = true;
    const wrong = changes().find((row) => !row.valid());
    if (wrong !== undefined) {
      wrong.complain();
      return;
    }
    const changed = changes();
    save.disabled = true;
    try {
      const settings = await api.changeSettings(Object.fromEntries(changed.map((row) => [row.name, row.value()])));
      for (const row of changed) row.settle();
      take(settings);
      toast(changed.some((row) => row.applies !== "now") ? "Saved. Some of it takes effect later: see below each setting." : "Saved.");
    } catch (error) {
      problem.hidden = false;
      say(problem, `Nothing was changed: ${error.message}. ${api.advice(error)}`);
    }
    show();
  });
  on(scope, ["opened"], load);
  void load();
}

class Row {
  #setting;
  #dirty = false;
  #input;
  #head;
  #note = h("p", { class: "muted note" });
  #wrong = h("p", { class: "problem", hidden: true });
  #reset = h("button", { type: "button", class: "small quiet" }, "Use the default");
  element;

  constructor(setting, changed) {
    this.#setting = setting;
    const id = `setting-${setting.name}`;
    this.#note.id = `${id}-note`;
    this.#input = control(setting, id, this.#note.id);
    this.#head = setting.choices ? h("label", { for: id }, title(setting)) : h("label", { for: id }, title(setting));
    this.#input.addEventListener("input", () => {
      this.#dirty = true;
      this.#wrong.hidden = true;
      set(this.#input, { "aria-invalid": null });
      this.#update();
      changed();
    });
    this.#reset.addEventListener("click", () => {
      this.#put(this.#setting.default);
      this.#dirty = true;
      this.#update();
      changed();
      announce(`${title(setting)} back to its default, not saved yet`);
    });
    this.#reset.setAttribute("aria-label", `Use the default of ${title(setting)}`);
    this.element = h(
      "div",
      { class: "setting" },
      h("div", { class: "about" }, this.#head, setting.help && h("p", {}, setting.help), this.#note),
      h("div", { class: "control" }, h("div", { class: "input" }, this.#input, setting.unit && h("span", { class: "unit" }, setting.unit)), this.#wrong, this.#reset),
    );
    this.#put(setting.value);
    this.#update();
  }

  get name() {
    return this.#setting.name;
  }

  get applies() {
    return this.#setting.applies;
  }

  /** Take the host's word, but not over what is being edited. */
  take(setting) {
    this.#setting = setting;
    if (!this.#dirty) this.#put(setting.value);
    this.#update();
  }

  settle() {
    this.#dirty = false;
  }

  undo() {
    this.#dirty = false;
    this.#wrong.hidden = true;
    this.#put(this.#setting.value);
    this.#update();
  }

  changed() {
    return this.#dirty && !same(this.value(), this.#setting.value);
  }

  value() {
    const { choices } = this.#setting;
    if (this.#input.type === "checkbox") return this.#input.checked;
    if (choices) return choices[this.#input.selectedIndex] ?? null;
    const text = this.#input.value.trim();
    if (text === "") return null;
    return this.#input.type === "number" ? Number(text) : text;
  }

  valid() {
    return this.#input.checkValidity();
  }

  complain() {
    this.#wrong.hidden = false;
    say(this.#wrong, this.#input.validationMessage);
    set(this.#input, { "aria-invalid": "true" });
    this.#input.focus();
  }

  #put(value) {
    const { choices } = this.#setting;
    if (this.#input.type === "checkbox") this.#input.checked = value === true;
    else if (choices) this.#input.selectedIndex = choices.findIndex((choice) => same(choice, value));
    else this.#input.value = value ?? "";
  }

  #update() {
    const { fixed_by: fixedBy, default: standard, unit, applies } = this.#setting;
    this.#input.disabled = Boolean(fixedBy);
    this.#reset.hidden = Boolean(fixedBy) || same(this.value(), standard);
    const parts = [`Default: ${shown(standard)}${unit && standard !== null ? ` ${unit}` : ""}`, WHEN[applies] ?? applies];
    if (fixedBy) parts.push(`fixed by ${fixedBy} on the command line`);
    say(this.#note, parts.join(" · "));
    this.element.classList.toggle("fixed", Boolean(fixedBy));
    this.element.classList.toggle("dirty", this.changed());
  }
}

function title({ name }) {
  const text = words(name.replaceAll(".", " "));
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function control({ kind, choices, minimum, maximum, default: standard }, id, note) {
  const common = { id, "aria-describedby": note };
  if (choices) return h("select", common, choices.map((choice) => h("option", {}, shown(choice))));
  if (["bool", "boolean"].includes(kind)) return h("input", { ...common, type: "checkbox", class: "switch", role: "switch" });
  if (["int", "integer", "number", "float"].includes(kind)) {
    const whole = kind.startsWith("int");
    return h("input", { ...common, type: "number", min: minimum, max: maximum, step: whole ? 1 : "any", placeholder: standard === null ? "not set" : null, inputmode: whole ? "numeric" : "decimal" });
  }
  return h("input", { ...common, type: "text", autocomplete: "off", spellcheck: "false", placeholder: standard === null ? "not set" : shown(standard) });
}

function shown(value) {
  if (value === null || value === undefined) return "not set";
  if (value === true) return "on";
  return value === false ? "off" : String(value);
}

function same(one, other) {
  return (one ?? null) === (other ?? null);
}

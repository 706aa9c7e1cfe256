// Elements made by function calls. Text from the network gets in as text nodes and attribute values, nowhere else:
// there is no HTML parsing in this program.

const SVG = "http://www.w3.org/2000/svg";

/** Make an HTML element. `on…` attributes are listeners; null, undefined and false leave an attribute or child out. */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** Make an SVG element. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (absent(value)) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(2).filter((child) => !absent(child)));
  return element;
}

function absent(value) {
  return value === null || value === undefined || value === false;
}

/** Set attributes of an element that is there already; null takes one away. */
export function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (absent(value)) element.removeAttribute(name);
    else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value === true ? "" : value);
  }
}

/** Set an element's text, and touch the document only when it differs (screen readers, selections). */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const rowsOf = new WeakMap();

/**
 * Make a container's children follow a list. `make(item)` gives `{element, update(item)}`; an element stays the same
 * for as long as its key is in the list, so that focus and selection survive.
 */
export function follow(container, items, keyOf, make) {
  const known = rowsOf.get(container) ?? new Map();
  const keys = new Set(items.map(keyOf));
  for (const [key, row] of known) {
    if (keys.has(key)) continue;
    row.element.remove();
    known.delete(key);
  }
  let place = container.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    let row = known.get(key);
    if (row === undefined) {
      row = make(item);
      known.set(key, row);
    }
    row.update(item);
    if (row.element === place) place = place.nextElementSibling;
    else container.insertBefore(row.element, place);
  }
  rowsOf.set(container, known);
}

/** What a view has to give back when it is left: subscriptions and timers. */
export class Scope {
  #ends = [];

  add(end) {
    this.#ends.push(end);
  }

  every(milliseconds, work) {
    const timer = setInterval(work, milliseconds);
    this.add(() => clearInterval(timer));
  }

  end() {
    for (const end of this.#ends.splice(0)) end();
  }
}

/** Tell screen readers something without showing it. */
export function announce(text) {
  const region = document.getElementById("announcer");
  region.textContent = "";
  // A region that is emptied and filled at once says nothing when the text is the same as before.
  setTimeout(() => {
    region.textContent = text;
  }, 50);
}

/** Show a message for a while; it is read out, too. */
export function toast(text, kind = "ok") {
  const element = h("p", { class: `toast ${kind}` }, text);
  document.getElementById("toasts").append(element);
  setTimeout(() => element.remove(), kind === "bad" ? 12000 : 6000);
}

/** A button that copies what `text()` gives. */
export function copyButton(text, what) {
  const button = h("button", { type: "button", class: "small quiet copy", "aria-label": `Copy ${what}` }, "Copy");
  let back = 0;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text());
      button.textContent = "Copied";
      announce(`${what} copied`);
    } catch {
      const source = button.parentElement.querySelector("code");
      if (source) getSelection().selectAllChildren(source);
      button.textContent = "Press Ctrl+C";
    }
    clearTimeout(back);
    back = setTimeout(() => {
      button.textContent = "Copy";
    }, 2500);
  });
  return button;
}

/** A command line to type elsewhere, with its copy button. */
export function command(text, what = "command") {
  const code = h("code", {}, text);
  const element = h("div", { class: "command" }, code, copyButton(() => code.textContent, what));
  return { element, update: (next) => say(code, next) };
}

/**
 * Ask before something that cannot be undone. `choices` are `{value, label, kind}`; resolves to the chosen value,
 * or null when the question was left by Escape or Cancel. Cancel has the focus.
 */
export function ask({ title, body, choices }) {
  return new Promise((resolve) => {
    let answer = null;
    const close = (value) => {
      answer = value;
      dialog.close();
    };
    const cancel = h("button", { type: "button", class: "quiet", onclick: () => close(null) }, "Cancel");
    const buttons = choices.map(({ value, label, kind }) =>
      h("button", { type: "button", class: kind, onclick: () => close(value) }, label),
    );
    const dialog = h(
      "dialog",
      { "aria-labelledby": "dialog-title", class: "ask" },
      h("h2", { id: "dialog-title" }, title),
      body,
      h("div", { class: "actions end" }, cancel, buttons),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(answer);
    });
    document.body.append(dialog);
    dialog.showModal();
    cancel.focus();
  });
}

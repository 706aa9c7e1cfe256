// The apps that clients can start: a list, and a plain form for one of them.

import * as api from "../api.js";
import { ask, follow, h, say, toast } from "../dom.js";
import { on } from "../store.js";

const DESKTOP = 1;
const DESKTOPS = [["", "the one that all clients share"], ["sway", "one of its own"], ["gamescope", "a gamescope of its own"]];

export function appsView(main, scope) {
  const list = h("ul", { class: "devices", "aria-label": "Apps" });
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const runs = h("ul", { class: "devices", "aria-label": "Running apps" });
  const running = h(
    "section",
    { class: "card", "aria-labelledby": "runs-title", hidden: true },
    h("h2", { id: "runs-title" }, "What runs"),
    h("p", { class: "muted" }, "It runs on when its client leaves, and can be quit here."),
    runs,
  );
  const place = h("div");
  const add = h("button", { type: "button", class: "primary" }, "Add an app");
  const load = async () => {
    try {
      const [apps, now] = await Promise.all([api.apps(), api.runningApps()]);
      problem.hidden = true;
      running.hidden = now.length === 0;
      follow(runs, now, (run) => run.number, (run) => runRow(run, { quit }));
      follow(list, apps, (app) => app.id, (app) => appRow(app, { edit, remove }));
    } catch (error) {
      problem.hidden = false;
      say(problem, `The apps could not be read: ${error.message}. ${api.advice(error)}`);
    }
  };
  const close = () => {
    place.replaceChildren();
    add.hidden = false;
  };
  const edit = (app) => {
    add.hidden = true;
    const form = editor(app, { done: close, load });
    place.replaceChildren(form);
    form.querySelector("input").focus();
  };
  const quit = async (run) => {
    const answer = await ask({
      title: `Quit “${run.app.title}”?`,
      body: h("p", {}, "Its program ends at once, with everything in it that is not saved."),
      choices: [{ value: "quit", label: "Quit", kind: "danger" }],
    });
    if (answer !== "quit") return;
    try {
      await api.quitApp(run.number);
      toast(`“${run.app.title}” has ended.`);
    } catch (error) {
      toast(`Not quit: ${error.message}. ${api.advice(error)}`, "bad");
    }
    await load();
  };
  const remove = async (app) => {
    const answer = await ask({
      title: `Remove “${app.title}”?`,
      body: h("p", {}, "Clients no longer list it. If it runs, it goes on."),
      choices: [{ value: "remove", label: "Remove", kind: "danger" }],
    });
    if (answer !== "remove") return;
    try {
      await api.removeApp(app.id);
      toast(`“${app.title}” is removed.`);
    } catch (error) {
      toast(`Not removed: ${error.message}. ${api.advice(error)}`, "bad");
    }
    await load();
  };
  add.addEventListener("click", () => edit(null));
  main.append(
    h("h1", {}, "Apps"),
    h(
      "section",
      { class: "card", "aria-labelledby": "apps-title" },
      h("h2", { id: "apps-title" }, "What clients can start"),
      h("p", { class: "muted" }, "A client names an app by its number; what is run is what stands here, without a shell."),
      problem,
      list,
      h("div", { class: "actions" }, add),
    ),
    running,
    place,
  );
  on(scope, ["opened"], load);
  void load();
}

function runRow(first, { quit }) {
  let run = first;
  const about = h("span", { class: "muted" });
  const element = h(
    "li",
    {},
    h("div", { class: "who" }, h("b", { class: "name" }, first.app.title), about),
    h(
      "div",
      { class: "actions" },
      h("button", { type: "button", class: "small danger", "aria-label": `Quit ${first.app.title}…`, onclick: () => quit(run) }, "Quit…"),
    ),
  );
  const update = (next) => {
    run = next;
    const where = whereOf(next.app) ?? "on the shared desktop";
    const streams = next.streams === 0 ? "nobody streams it" : next.streams === 1 ? "one stream" : `${next.streams} streams`;
    say(about, `${next.clients.join(", ")} · ${where} · ${streams}`);
  };
  return { element, update };
}

/** Where an app of its own desktop runs, in words; null on the shared one. */
function whereOf(app) {
  if (!app.own_desktop) return null;
  return app.compositor === "gamescope" ? "in a gamescope of its own" : "on a desktop of its own";
}

function appRow(first, { edit, remove }) {
  let app = first;
  const name = h("b", { class: "name" });
  const about = h("span", { class: "muted" });
  const change = h("button", { type: "button", class: "small", onclick: () => edit(app) }, "Change…");
  const drop = h("button", { type: "button", class: "small danger", onclick: () => remove(app) }, "Remove…");
  const element = h(
    "li",
    {},
    h("div", { class: "who" }, name, about),
    first.id !== DESKTOP && h("div", { class: "actions" }, change, drop),
  );
  const update = (next) => {
    app = next;
    say(name, next.title);
    const program = next.command.length === 0 ? "the desktop itself" : next.command.join(" ");
    say(about, whereOf(next) === null ? program : `${program} · ${whereOf(next)}`);
    change.setAttribute("aria-label", `Change ${next.title}…`);
    drop.setAttribute("aria-label", `Remove ${next.title}…`);
  };
  return { element, update };
}

/** A form for an app, or for a new one. A line of the command is one argument, so that nothing has to be quoted. */
function editor(app, { done, load }) {
  const title = h("input", { id: "app-title", maxlength: "64", required: true, autocomplete: "off", value: app?.title ?? "" });
  const command = h("textarea", { id: "app-command", rows: "3", spellcheck: "false", "aria-describedby": "app-command-note" }, (app?.command ?? []).join("\n"));
  const folder = h("input", { id: "app-folder", autocomplete: "off", spellcheck: "false", placeholder: "/home/…", value: app?.folder ?? "" });
  const desktop = h(
    "select",
    { id: "app-desktop", "aria-describedby": "app-desktop-note" },
    ...DESKTOPS.map(([value, title]) => h("option", { value, selected: value === (app?.own_desktop ? app.compositor : "") }, title)),
  );
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const save = h("button", { type: "submit", class: "primary" }, app === null ? "Add" : "Save");
  const form = h(
    "form",
    { class: "stack" },
    labelled("Title", title),
    labelled("Program and arguments", command),
    h("p", { class: "muted note", id: "app-command-note" }, "One a line, as they are: nothing is quoted and no shell reads them. Empty: the desktop itself."),
    labelled("Working folder", folder),
    labelled("Desktop", desktop),
    h("p", { class: "muted note", id: "app-desktop-note" }, "One of its own has the size of the client that launches the app, and is for that client alone. A gamescope shows this program and nothing else: it is for games."),
    problem,
    h("div", { class: "actions" }, h("button", { type: "button", onclick: done }, "Cancel"), save),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    problem.hidden = true;
    save.disabled = true;
    const wanted = {
      title: title.value,
      command: command.value.split("\n").filter((line) => line.trim() !== ""),
      folder: folder.value.trim(),
      own_desktop: desktop.value !== "",
      compositor: desktop.value || "sway",
    };
    try {
      const saved = await (app === null ? api.addApp(wanted) : api.changeApp(app.id, wanted));
      toast(`“${saved.title}” is saved.`);
      done();
      await load();
    } catch (error) {
      problem.hidden = false;
      say(problem, `Not saved: ${error.message}. ${api.advice(error)}`);
      save.disabled = false;
    }
  });
  return h(
    "section",
    { class: "card narrow", "aria-labelledby": "app-editor-title" },
    h("h2", { id: "app-editor-title" }, app === null ? "A new app" : `Change “${app.title}”`),
    form,
  );
}

function labelled(text, control) {
  return h("div", {}, h("label", { for: control.id }, text), control);
}

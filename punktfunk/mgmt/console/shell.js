// The frame around every view: name of the host, navigation, the state of the connection, and which view is open.

import * as api from "./api.js";
import { announce, h, say, Scope, set, toast } from "./dom.js";
import { Events } from "./events.js";
import { icon } from "./icons.js";
import { changed, known, on, receive, refreshDevices, refreshHost, takeSessions } from "./store.js";
import { accountView } from "./views/account.js";
import { appsView } from "./views/apps.js";
import { devicesView } from "./views/devices.js";
import { homeView } from "./views/home.js";
import { logsView } from "./views/logs.js";
import { sessionsView } from "./views/sessions.js";
import { settingsView } from "./views/settings.js";

const VIEWS = [
  { path: "home", label: "Home", view: homeView },
  { path: "devices", label: "Devices", view: devicesView },
  { path: "sessions", label: "Sessions", view: sessionsView },
  { path: "apps", label: "Apps", view: appsView },
  { path: "settings", label: "Settings", view: settingsView },
  { path: "logs", label: "Logs", view: logsView },
  { path: "account", label: "Account", view: accountView, aside: true },
];

/** How often to ask when the host answers, but gives no stream of events. */
const POLL_MS = 2000;

/** A page that nobody looks at for this long lets its stream of events go: browsers allow few connections a host. */
const HIDDEN_MS = 60000;

export class Shell {
  #root;
  #session;
  #scope = new Scope();
  #view = null;
  #events;
  #lost = false;
  #label = "";
  #main = h("main", { id: "main", tabindex: "-1" });
  #banner = h("div", { class: "banner", hidden: true });
  #bannerText = h("p", { role: "alert" });
  #hostName = h("span", { class: "host-name" });
  #links = new Map();
  #badges = new Map();

  /** `session` has `signedOut(hostWasGone)` and `leave()`. */
  constructor(root, session) {
    this.#root = root;
    this.#session = session;
    this.#events = new Events({
      event: receive,
      opened: () => this.#opened(),
      lost: (how) => this.#lostConnection(how),
      signedOut: () => session.signedOut(this.#lost),
    });
  }

  start() {
    this.#root.replaceChildren(this.#frame());
    this.#scope.add(() => this.#events.stop());
    on(this.#scope, ["host"], () => this.#name());
    on(this.#scope, ["pending", "waiting", "sessions"], () => this.#count());
    on(this.#scope, ["connection"], () => this.#showConnection());
    this.#scope.every(500, () => this.#showConnection());
    this.#scope.every(POLL_MS, () => this.#poll());
    this.#listen(window, "hashchange", () => this.#route(true));
    let hidden = 0;
    this.#listen(document, "visibilitychange", () => {
      clearTimeout(hidden);
      if (document.hidden) hidden = setTimeout(() => this.#events.stop(), HIDDEN_MS);
      else this.#events.start();
    });
    this.#scope.add(() => clearTimeout(hidden));
    this.#listen(window, "online", () => this.#events.retryNow());
    this.#events.start();
    this.#route(false);
    this.#count();
  }

  end() {
    this.#view?.end();
    this.#view = null;
    this.#scope.end();
    this.#root.replaceChildren();
  }

  #listen(target, name, listener) {
    target.addEventListener(name, listener);
    this.#scope.add(() => target.removeEventListener(name, listener));
  }

  #frame() {
    const skip = h("a", { class: "skip", href: "#main" }, "Skip to content");
    skip.addEventListener("click", (event) => {
      event.preventDefault();
      this.#main.focus();
    });
    const items = VIEWS.filter((one) => !one.aside).map((one) => {
      const badge = h("span", { class: "count", hidden: true });
      const link = h("a", { href: `#${one.path}` }, icon(one.path), h("span", {}, one.label), badge);
      this.#links.set(one.path, link);
      this.#badges.set(one.path, badge);
      return h("li", {}, link);
    });
    const account = h("a", { href: "#account", class: "account" }, icon("account"), h("span", {}, "Account"));
    this.#links.set("account", account);
    const leave = h("button", { type: "button", class: "small quiet", onclick: () => this.#leave(leave) }, "Sign out");
    this.#banner.append(
      this.#bannerText,
      h("button", { type: "button", class: "small", onclick: () => this.#events.retryNow() }, "Try now"),
    );
    return h(
      "div",
      { class: "shell" },
      skip,
      h(
        "header",
        { class: "top" },
        h("a", { href: "#home", class: "brand", "aria-label": "punktfunk, home" }, icon("brand"), h("b", {}, "punktfunk")),
        this.#hostName,
        h("div", { class: "actions" }, account, leave),
      ),
      h("nav", { class: "views", "aria-label": "Views" }, h("ul", {}, items)),
      h("div", { class: "content" }, this.#banner, this.#main),
    );
  }

  async #leave(button) {
    button.disabled = true;
    try {
      await this.#session.leave();
    } catch (error) {
      button.disabled = false;
      toast(`Not signed out: ${error.message}. ${api.advice(error)}`, "bad");
    }
  }

  #route(moved) {
    const wanted = location.hash.slice(1);
    const open = VIEWS.find((one) => one.path === wanted) ?? VIEWS[0];
    this.#view?.end();
    for (const [path, link] of this.#links) set(link, { "aria-current": path === open.path ? "page" : null });
    this.#label = open.label;
    this.#title();
    const scope = new Scope();
    this.#main.replaceChildren();
    open.view(this.#main, scope);
    this.#view = scope;
    if (moved) {
      scrollTo(0, 0);
      this.#main.focus({ preventScroll: true });
      announce(open.label);
    }
  }

  #name() {
    say(this.#hostName, known.host?.hostname ?? "");
    this.#title();
  }

  #count() {
    this.#badge("devices", waitingNumber(), "waiting");
    this.#badge("sessions", known.sessions.size, "live");
    this.#title();
  }

  /** A tab in the background says that somebody waits. */
  #title() {
    const waiting = waitingNumber();
    const host = known.host === null ? "" : ` · ${known.host.hostname}`;
    document.title = `${waiting > 0 ? `(${waiting}) ` : ""}${this.#label}${host} · punktfunk`;
  }

  #badge(path, number, what) {
    const badge = this.#badges.get(path);
    badge.hidden = number === 0;
    set(badge, { "aria-label": number === 0 ? null : `${number} ${what}` });
    say(badge, number === 0 ? "" : String(number));
  }

  #opened() {
    if (this.#lost) toast("The host is back.");
    this.#lost = false;
    known.connection = { phase: "open", status: 200, retryAt: 0 };
    changed("connection", "opened");
    refreshHost().catch(() => {});
  }

  #lostConnection({ status, waitMs }) {
    this.#lost = this.#lost || status === 0;
    known.connection = { phase: "lost", status, retryAt: performance.now() + waitMs };
    changed("connection");
  }

  #poll() {
    const { phase, status } = known.connection;
    if (phase !== "lost" || status === 0 || document.hidden) return;
    refreshDevices().catch(() => {});
    api.sessions().then(takeSessions, () => {});
  }

  #showConnection() {
    const { phase, status, retryAt } = known.connection;
    this.#banner.hidden = phase !== "lost";
    document.body.classList.toggle("stale", phase === "lost" && status === 0);
    if (phase !== "lost") return;
    // Read out once, not at every tick of the countdown: the alert's own text stays the same.
    const why =
      status === 503
        ? "The host serves as many live views as it can; close another one. This page asks every other second instead."
        : status === 0
          ? "The host does not answer. Is punktfunk serve still running? What you see is from before."
          : `No live view: the host answered ${status}. This page asks every other second instead.`;
    say(this.#bannerText, why);
    const left = Math.ceil((retryAt - performance.now()) / 1000);
    say(this.#banner.querySelector("button"), left > 0 ? `Try now (${left} s)` : "Trying…");
  }
}

/** How many devices wait for a person, for approval or for their PIN. */
function waitingNumber() {
  return (known.pending?.length ?? 0) + (known.waiting?.length ?? 0);
}

// The first screen: can I stream now, and if not, why; and what to type on the other machine.

import * as api from "../api.js";
import { command, copyButton, follow, h, say, set } from "../dom.js";
import { duration, grouped, megabits, milliseconds, NOTHING, number } from "../format.js";
import { icon } from "../icons.js";
import { known, latencyOf, nameOf, on } from "../store.js";
import { waitingCard } from "./moonlight.js";
import { pendingCard } from "./pending.js";

const REFRESH_MS = 15000;

export function homeView(main, scope) {
  const readiness = new Readiness();
  const there = new OtherMachine();
  const live = liveCard(scope);
  main.append(
    h("h1", { class: "visually-hidden" }, "Home"),
    readiness.element,
    passwordHint(scope),
    waitingCard(scope),
    pendingCard(scope, { hideWhenEmpty: true }),
    h("div", { class: "columns" }, there.element, live),
  );
  let asking = false;
  const check = async () => {
    if (asking) return;
    asking = true;
    try {
      const answer = await api.readiness();
      readiness.show(answer);
      there.show(answer);
    } catch (error) {
      readiness.failed(error);
    } finally {
      asking = false;
    }
  };
  readiness.again.addEventListener("click", check);
  on(scope, ["clients", "opened"], check);
  on(scope, ["pairing", "clients"], () => there.steps());
  scope.every(REFRESH_MS, () => document.hidden || check());
  void check();
}

function passwordHint(scope) {
  const hint = h(
    "p",
    { class: "notice hint" },
    "No password is set: signing in takes a link from the host each time. ",
    h("a", { href: "#account" }, "Set a password"),
  );
  const show = () => {
    hint.hidden = known.passwordSet !== false;
  };
  on(scope, ["account"], show);
  show();
  return hint;
}

class Readiness {
  again = h("button", { type: "button", class: "small quiet" }, "Check again");
  #light = h("span", { class: "light", "aria-hidden": "true" });
  #headline = h("h2", { id: "ready-title" }, "Checking…");
  #list = h("ul", { class: "checks" });
  #hints = new Folded();
  #fine = new Folded();
  element = h(
    "section",
    { class: "card ready", "aria-labelledby": "ready-title" },
    h("div", { class: "headline" }, this.#light, h("div", { "aria-live": "polite" }, this.#headline), this.again),
    this.#list,
    this.#hints.element,
    this.#fine.element,
  );

  show({ ready, headline, checks }) {
    set(this.element, { class: `card ready ${ready ? "is-ok" : "is-bad"}` });
    say(this.#headline, headline);
    const fine = checks.filter((check) => check.ok);
    // What a host that is ready lacks cannot have been needed.
    const hint = (check) => !check.ok && !(check.needed ?? !ready);
    const hints = checks.filter(hint);
    follow(this.#list, checks.filter((check) => !check.ok && !hint(check)), (check) => check.name, checkRow);
    this.#hints.show(hints.map((check) => ({ ...check, needed: false })), hints.length === 1 ? "One thing would make it better" : `${hints.length} things would make it better`);
    this.#fine.show(fine, fine.length === checks.length ? `All ${fine.length} checks passed` : `${fine.length} checks passed`);
  }

  failed(error) {
    set(this.element, { class: "card ready is-unknown" });
    say(this.#headline, error.status === 0 ? "The host does not answer" : "The host did not say whether it is ready");
    const row = { name: "trouble", ok: false, text: `${error.message}. ${api.advice(error)}`, fix: null };
    follow(this.#list, [row], (check) => check.name, checkRow);
    this.#hints.show([], "");
    this.#fine.show([], "");
  }
}

/** Checks that nobody has to read to go on. */
class Folded {
  #title = h("summary", {});
  #list = h("ul", { class: "checks" });
  element = h("details", { class: "fine", hidden: true }, this.#title, this.#list);

  show(checks, title) {
    this.element.hidden = checks.length === 0;
    say(this.#title, title);
    follow(this.#list, checks, (check) => check.name, checkRow);
  }
}

function checkRow(first) {
  const mark = h("span", { class: "mark" });
  const text = h("span", { class: "text" });
  const fix = command("", `fix for ${first.name}`);
  // This one is repaired here, not in a terminal.
  const here = first.name === "pairing";
  const arm = h("p", { hidden: true }, h("a", { class: "button", href: "#devices" }, "Pair a device"));
  const element = h("li", {}, mark, h("div", { class: "what" }, h("b", {}, first.name), " ", text, fix.element, arm));
  const update = (check) => {
    const kind = check.ok ? "ok" : check.needed === false ? "hint" : "bad";
    set(element, { class: kind });
    mark.replaceChildren(icon(kind), h("span", { class: "visually-hidden" }, check.ok ? "passed:" : "not passed:"));
    say(text, check.text);
    fix.element.hidden = !check.fix || here;
    arm.hidden = check.ok || !here;
    fix.update(check.fix ?? "");
  };
  return { element, update };
}

/** What to type on the machine that is to show this desktop. */
class OtherMachine {
  #address = null;
  #required = true;
  #addresses = h("div", { class: "segments", role: "radiogroup", "aria-label": "Address of this host" });
  #pair = command("", "pair command");
  #connect = command("", "connect command");
  #pairText = h("p", {});
  #pairStep = h("li", {}, this.#pairText, this.#pair.element);
  #fingerprint = h("code", { class: "fingerprint" }, NOTHING);
  element = h(
    "section",
    { class: "card", "aria-labelledby": "there-title" },
    h("h2", { id: "there-title" }, "On the other machine"),
    this.#addresses,
    h("ol", { class: "steps" }, this.#pairStep, h("li", {}, h("p", {}, "Then, whenever you like:"), this.#connect.element)),
    h("h3", {}, "This host's fingerprint"),
    h("p", { class: "muted" }, "The other machine shows it too. Both must be the same."),
    h("div", { class: "command" }, this.#fingerprint, copyButton(() => this.#fingerprint.textContent.replaceAll(" ", ""), "fingerprint")),
  );

  constructor() {
    this.steps();
  }

  show({ addresses, fingerprint, pairing_required: required }) {
    this.#required = required;
    if (!addresses.includes(this.#address)) this.#address = addresses[0] ?? null;
    this.#addresses.hidden = addresses.length < 2;
    follow(this.#addresses, addresses, (address) => address, (address) => {
      const input = h("input", { type: "radio", name: "address", value: address, checked: address === this.#address });
      input.addEventListener("change", () => {
        this.#address = address;
        this.steps();
      });
      return { element: h("label", {}, input, h("span", {}, address)), update: () => {} };
    });
    say(this.#fingerprint, grouped(fingerprint));
    this.steps();
  }

  steps() {
    const place = this.#address ?? "HOST";
    const armed = known.window;
    this.#pairStep.hidden = !this.#required;
    this.#pair.element.hidden = false;
    this.#pair.update(`punktfunk pair ${place} --pin ${armed?.pin ?? "PIN"}`);
    this.#pairText.replaceChildren(
      ...(armed
        ? ["Once, while the PIN is valid:"]
        : ["Once, after you ", h("a", { href: "#devices" }, "arm pairing"), " for a PIN:"]),
    );
    this.#connect.update(`punktfunk connect ${place}`);
  }
}

function liveCard(scope) {
  const list = h("ul", { class: "plain-list" });
  const empty = h("p", { class: "empty" }, "Nobody streams at the moment.");
  const show = () => {
    const sessions = [...known.sessions.values()];
    empty.hidden = sessions.length > 0;
    follow(list, sessions, (session) => session.number, () => {
      const name = h("b", {});
      const figures = h("span", { class: "muted" });
      const update = (session) => {
        say(name, nameOf(session));
        say(
          figures,
          `${number(session.rates.fps)} fps · ${megabits(session.rates.media_kbps)} Mbit/s · ` +
            `${milliseconds(latencyOf(session))} ms in this host · ${duration(session.seconds)}`,
        );
      };
      return { element: h("li", {}, h("a", { href: "#sessions", class: "row-link" }, name, figures)), update };
    });
  };
  on(scope, ["sessions"], show);
  show();
  return h("section", { class: "card", "aria-labelledby": "live-title" }, h("h2", { id: "live-title" }, "Streaming now"), empty, list);
}

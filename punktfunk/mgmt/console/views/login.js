// Signing in: a password, or a one-time link that the host prints.

import * as api from "../api.js";
import { announce, command, h, say, Scope } from "../dom.js";
import { icon } from "../icons.js";
import { known } from "../store.js";

/** Show the page in `root`; `done()` is called once the person is in. */
export function loginPage(root, { trouble = null, byTicket = false, expired = false, restarted = false, left = false, done }) {
  const scope = new Scope();
  const notice = h("p", { class: "notice", role: "status", hidden: true });
  const problem = h("p", { class: "problem", role: "alert", id: "login-problem", hidden: true });
  if (expired) {
    tell(
      notice,
      restarted
        ? "The host was restarted and has forgotten who was signed in. Sign in again."
        : "Your session has ended. Sign in again.",
    );
  } else if (left) {
    tell(notice, "You are signed out.");
  }
  if (byTicket) {
    tell(
      problem,
      trouble.status === 401
        ? "This sign-in link has been used already, or it is older than ten minutes. Ask the host for a new one."
        : `Not signed in: ${trouble.message}. ${api.advice(trouble)}`,
    );
  }
  const parts = [notice, problem];
  if (known.passwordSet) parts.push(passwordForm(scope, problem, notice, done));
  parts.push(linkHelp());
  root.replaceChildren(
    h(
      "main",
      { class: "login" },
      h("div", { class: "brand big" }, icon("brand"), h("b", {}, "punktfunk")),
      h("section", { class: "card", "aria-labelledby": "login-title" }, h("h1", { id: "login-title" }, "Sign in"), parts),
    ),
  );
  root.querySelector("input[type=password]")?.focus();
  return scope;
}

function tell(element, text) {
  element.hidden = false;
  say(element, text);
}

function passwordForm(scope, problem, notice, done) {
  const password = h("input", {
    id: "password",
    name: "password",
    type: "password",
    autocomplete: "current-password",
    required: true,
    "aria-describedby": "login-problem",
  });
  const reveal = h("button", { type: "button", class: "small quiet", "aria-pressed": "false" }, "Show");
  reveal.addEventListener("click", () => {
    const shown = password.type === "text";
    password.type = shown ? "password" : "text";
    reveal.setAttribute("aria-pressed", String(!shown));
    say(reveal, shown ? "Show" : "Hide");
  });
  const submit = h("button", { type: "submit", class: "primary wide" }, "Sign in");
  const form = h(
    "form",
    {},
    // Password managers want a name to file the password under.
    h("input", { class: "visually-hidden", name: "username", autocomplete: "username", value: "punktfunk", tabindex: "-1", "aria-hidden": "true", readonly: true }),
    h("label", { for: "password" }, "Password"),
    h("div", { class: "with-button" }, password, reveal),
    submit,
  );
  let blockedUntil = 0;
  const tick = () => {
    const left = Math.ceil((blockedUntil - performance.now()) / 1000);
    submit.disabled = left > 0;
    say(submit, left > 0 ? `Wait ${left} s` : "Sign in");
  };
  scope.every(250, () => blockedUntil && tick());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (submit.disabled) return;
    submit.disabled = true;
    problem.hidden = true;
    notice.hidden = true;
    try {
      await api.signIn({ password: password.value });
      password.value = "";
      done();
      return;
    } catch (error) {
      if (error.status === 429) {
        blockedUntil = performance.now() + (error.retryAfter ?? 5) * 1000;
        tell(problem, `${error.message.replace(/^t/, "T")}.`);
      } else {
        tell(problem, error.status === 401 ? "That is not the password." : `Not signed in: ${error.message}. ${api.advice(error)}`);
        if (error.retryAfter) blockedUntil = performance.now() + error.retryAfter * 1000;
      }
    }
    submit.disabled = false;
    tick();
    password.select();
    password.focus();
  });
  return form;
}

function linkHelp() {
  const line = command("punktfunk console");
  const title = known.passwordSet ? "No password at hand?" : "Open a one-time link";
  const text = known.passwordSet
    ? "Run this on the host, as the user that runs it. It prints a link that signs you in once."
    : "No password is set on this host yet. Open the link that punktfunk serve printed, or have a new one printed on the host:";
  const paste = h("input", { id: "link", type: "text", autocomplete: "off", spellcheck: "false", placeholder: `${location.origin}/#ticket=…` });
  const form = h(
    "form",
    { class: "paste" },
    h("label", { for: "link" }, "Or paste the link here"),
    h("div", { class: "with-button" }, paste, h("button", { type: "submit", class: "small" }, "Open")),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const ticket = /(?:ticket=)?([^#=\s]+)\s*$/.exec(paste.value)?.[1];
    if (ticket === undefined) {
      announce("That is no sign-in link.");
      return;
    }
    paste.value = "";
    location.hash = `ticket=${ticket}`;
  });
  return h("div", { class: "link-help" }, h("h2", {}, title), h("p", {}, text), line.element, form);
}

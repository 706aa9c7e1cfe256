// The password of the console, and signing out.

import * as api from "../api.js";
import { h, say, toast } from "../dom.js";
import { changed, known } from "../store.js";

export function accountView(main) {
  main.append(h("h1", {}, "Account"), passwordCard());
}

function passwordCard() {
  const set = known.passwordSet;
  const current = field("current", "Current password (leave it empty if you have just signed in by a link)", "current-password", false);
  const fresh = field("new", "New password", "new-password");
  const again = field("again", "New password, once more", "new-password");
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const submit = h("button", { type: "submit", class: "primary" }, set ? "Change password" : "Set password");
  const form = h(
    "form",
    { class: "stack" },
    h("input", { class: "visually-hidden", name: "username", autocomplete: "username", value: "punktfunk", tabindex: "-1", "aria-hidden": "true", readonly: true }),
    set && current.element,
    fresh.element,
    again.element,
    problem,
    h("div", { class: "actions" }, submit),
  );
  const refuse = (text, input) => {
    problem.hidden = false;
    say(problem, text);
    input.focus();
  };
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    problem.hidden = true;
    if (fresh.input.value !== again.input.value) {
      refuse("The two entries of the new password differ.", again.input);
      return;
    }
    submit.disabled = true;
    const body = { new: fresh.input.value };
    if (set && current.input.value !== "") body.current = current.input.value;
    try {
      await api.setPassword(body);
      known.passwordSet = true;
      changed("account");
      toast(set ? "The password is changed." : "The password is set.");
      form.closest("section").replaceWith(passwordCard());
      return;
    } catch (error) {
      await explain(error, refuse, set ? current.input : fresh.input, fresh.input);
    }
    submit.disabled = false;
  });
  return h(
    "section",
    { class: "card narrow", "aria-labelledby": "password-title" },
    h("h2", { id: "password-title" }, set ? "Change the password" : "Set a password"),
    h(
      "p",
      { class: "muted" },
      set
        ? "It is for this console only. Whoever has lost it signs in by the link that “punktfunk console” prints on the host."
        : "Without one, every sign-in takes a one-time link from the host. A password lets you in from any browser that reaches it.",
    ),
    form,
  );
}

async function explain(error, refuse, currentInput, freshInput) {
  if (error.status === 401) {
    // Two reasons look alike: this browser's session has ended, or the current password is wrong.
    const me = await api.me().catch(() => null);
    if (me !== null && !me.signed_in) {
      refuse("Your session has ended: reload the page and sign in again.", freshInput);
      return;
    }
    refuse("That is not the current password.", currentInput);
  } else if (error.status === 429) {
    refuse(`Too many attempts: try again in ${error.retryAfter ?? "a few"} seconds.`, currentInput);
  } else {
    refuse(`Not changed: ${error.message}. ${api.advice(error)}`, freshInput);
  }
}

function field(name, label, autocomplete, required = true) {
  const input = h("input", { id: `password-${name}`, type: "password", autocomplete, required });
  return { input, element: h("div", { class: "field" }, h("label", { for: input.id }, label), input) };
}

// The console's door: a one-time ticket, the sign-in page, or the console itself.

import * as api from "./api.js";
import { h } from "./dom.js";
import { forget, known } from "./store.js";
import { Shell } from "./shell.js";
import { loginPage } from "./views/login.js";

const RETRY_MS = [500, 1000, 2000, 4000, 8000, 15000];

const root = document.getElementById("app");
let shell = null;
let page = null;

/** Take a login ticket out of the address, before anything else can see or keep it. */
function takeTicket() {
  const found = /^#ticket=([^&]+)/.exec(location.hash);
  if (found === null) return null;
  history.replaceState(null, "", location.pathname);
  return decodeURIComponent(found[1]);
}

async function begin(ticket) {
  let trouble = null;
  if (ticket !== null) {
    try {
      await api.signIn({ ticket });
    } catch (error) {
      trouble = error;
    }
  }
  const me = await askWhoIAm();
  known.passwordSet = me.password_set;
  if (me.signed_in) showConsole();
  else showLogin(trouble === null ? {} : { trouble, byTicket: true });
}

async function askWhoIAm() {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await api.me();
    } catch (error) {
      showWaiting(error);
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)]));
    }
  }
}

function showWaiting(error) {
  if (root.querySelector(".waiting") !== null) return;
  root.replaceChildren(
    h(
      "main",
      { class: "waiting" },
      h("h1", {}, "No answer"),
      h("p", {}, `${error.message}. ${api.advice(error)}`),
    ),
  );
}

function showConsole() {
  endPage();
  shell = new Shell(root, { signedOut: expired, leave });
  shell.start();
}

function showLogin(why) {
  endPage();
  document.title = "Sign in · punktfunk";
  page = loginPage(root, { ...why, done: showConsole });
}

function endPage() {
  shell?.end();
  shell = null;
  page?.end();
  page = null;
  for (const dialog of document.querySelectorAll("dialog")) dialog.close();
  document.getElementById("toasts").replaceChildren();
  root.replaceChildren();
}

/** The host no longer takes this browser's cookie. */
async function expired(hostWasGone) {
  if (shell === null) return;
  endPage();
  forget();
  const me = await askWhoIAm();
  known.passwordSet = me.password_set;
  if (me.signed_in) showConsole();
  else showLogin({ expired: true, restarted: hostWasGone });
}

/** The person signs out. */
async function leave() {
  await api.signOut();
  endPage();
  forget();
  const me = await askWhoIAm();
  known.passwordSet = me.password_set;
  showLogin({ left: true });
}

api.whenSignedOut(() => void expired(false));
addEventListener("hashchange", () => {
  const ticket = takeTicket();
  if (ticket !== null) {
    endPage();
    void begin(ticket);
  }
});
void begin(takeTicket());

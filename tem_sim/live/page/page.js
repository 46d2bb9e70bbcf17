// A user's notifications as they arrive, each shown once, whatever becomes of the connection meanwhile.

import { api } from "/api.js";
import { session } from "/connection.js";
import { $ } from "/elements.js";
import { inbox } from "/inbox.js";
import { kept } from "/kept.js";

let counting = null;

function tell(state, title, why = "", until = null) {
  clearInterval(counting);
  $("countdown").hidden = until === null;
  if (until !== null) {
    countDown(until);
    counting = setInterval(() => countDown(until), 250);
  }
  $("connection").dataset.state = state;
  $("state").textContent = title;
  $("why").textContent = why;
  $("why").hidden = why === "";
  $("now").hidden = state !== "waiting";
  const known = inbox.userId !== null;
  $("user").hidden = !known;
  $("user").textContent = `User ${inbox.userId}`;
  const signedOut = state === "idle" || state === "refused";
  $("sign-in").hidden = !signedOut;
  $("leave").hidden = signedOut;
  $("inbox").hidden = !known;
  $("submit").hidden = !known || signedOut;
}

function countDown(until) {
  $("countdown").textContent = `in ${Math.max(0, Math.ceil((until - Date.now()) / 1000))} s`;
}

async function onSubmit(event) {
  event.preventDefault();
  const [button, sent] = [event.currentTarget.querySelector("button"), $("sent")];
  button.disabled = true;
  try {
    const eventId = await api.submit($("kind").value, $("payload").value);
    sent.className = "";
    sent.textContent = `Event ${eventId} is taken in.`;
  } catch (error) {
    sent.className = "bad";
    sent.textContent = `Not sent: ${error.message}`;
  }
  button.disabled = false;
}

function onSignIn(event) {
  event.preventDefault();
  const token = $("token").value.trim();
  $("token").value = "";
  session.start(token);
}

// The token is taken out of the address, where others could read it over a shoulder or in the history.
function tokenOfAddress() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token !== null) history.replaceState(null, "", location.pathname);
  return token;
}

function begin() {
  session.tell = tell;
  $("sign-in").addEventListener("submit", onSignIn);
  $("submit").addEventListener("submit", onSubmit);
  $("leave").addEventListener("click", () => session.stop());
  $("now").addEventListener("click", () => session.connect());
  // The network is back: no reason to wait any longer.
  window.addEventListener("online", () => api.token !== null && session.socket === null && session.connect());
  window.addEventListener("hashchange", () => {
    const token = tokenOfAddress();
    if (token !== null) session.start(token);
  });
  const fresh = tokenOfAddress();
  const token = fresh ?? kept.read("token");
  const user = kept.read("user");
  if (fresh === null && token !== null && user !== null) {
    api.token = token;
    inbox.open(user);
  }
  if (token === null) tell("idle", "Not connected", "Give a token to see your notifications.");
  else session.start(token);
}

begin();

"use strict";

// A user's notifications as they arrive, each shown once, whatever becomes of the connection meanwhile.

// Waiting before the k-th try in a row: anything up to this, so that clients that were cut off together do not come
// back together (full jitter).
const FIRST_WAIT_S = 0.5;
const LONGEST_WAIT_S = 30;
// A gateway that is full is asked less soon.
const FULL_WAIT_S = 5;
// Only a connection that has lasted so long is a success after which counting begins anew.
const GOOD_AFTER_S = 5;
// The gateway promises a sign of life in so many seconds; it has this many times as long, and a little more.
const PATIENCE = 2.5;
const ANSWER_WITHIN_S = 10;
// What one tab keeps, to show it again after a reload and to know what it has shown.
const KEPT = 500;

const REFUSED = new Set([4400, 4401]);
const TOO_MANY = 4429;
const REASONS = {
  1001: "The gateway has stopped.",
  1006: "The gateway cannot be reached.",
  1011: "The gateway has heard nothing from this page.",
  1013: "This page was too slow.",
  4408: "The gateway has waited for the token in vain.",
};

const $ = (id) => document.getElementById(id);

// --- what stays in this tab

const kept = {
  read(name) {
    try {
      return JSON.parse(sessionStorage.getItem(name));
    } catch {
      return null;
    }
  },
  write(name, value) {
    try {
      if (value === null) sessionStorage.removeItem(name);
      else sessionStorage.setItem(name, JSON.stringify(value));
    } catch {
      // Full, or not allowed: then a reload begins anew.
    }
  },
};

// --- the notifications

const inbox = {
  userId: null,
  count: 0,
  shown: [],
  keys: new Set(),
  arrived: [],
  timer: null,

  open(userId) {
    if (userId === this.userId) return;
    const before = kept.read(`shown:${userId}`) ?? { count: 0, shown: [] };
    Object.assign(this, { userId, count: before.count, shown: before.shown });
    this.keys = new Set(this.shown.map((note) => note.dedupe_key));
    $("list").replaceChildren(...this.shown.map(row).reverse());
    this.tell();
  },

  close() {
    clearTimeout(this.timer);
    Object.assign(this, { userId: null, count: 0, shown: [], keys: new Set(), arrived: [], timer: null });
    $("list").replaceChildren();
  },

  // Many that come together are shown together.
  take(note, acknowledge) {
    this.arrived.push([note, acknowledge]);
    this.timer ??= setTimeout(() => this.show(), 0);
  },

  show() {
    const arrived = this.arrived;
    Object.assign(this, { arrived: [], timer: null });
    let fresh = 0;
    for (const [note] of arrived) {
      // Without a key nobody can tell whether it was shown before.
      if (note.dedupe_key !== null && this.keys.has(note.dedupe_key)) continue;
      this.keys.add(note.dedupe_key);
      this.shown.push(note);
      this.count += 1;
      fresh += 1;
      $("list").prepend(row(note));
    }
    for (const old of this.shown.splice(0, Math.max(0, this.shown.length - KEPT))) {
      this.keys.delete(old.dedupe_key);
      $("list").lastElementChild.remove();
    }
    kept.write(`shown:${this.userId}`, { count: this.count, shown: this.shown });
    if (fresh > 0) $("news").textContent = `${plural(fresh, "new notification")}`;
    this.tell();
    // Only now: what is acknowledged is never sent again.
    for (const [, acknowledge] of arrived) acknowledge();
  },

  tell() {
    $("count").textContent = this.count === 0 ? "No notifications" : plural(this.count, "notification");
    $("empty").hidden = this.count > 0;
    $("older").hidden = this.count <= this.shown.length;
    $("older").textContent = `The newest ${this.shown.length} are shown.`;
  },
};

function plural(count, what) {
  return `${count.toLocaleString("en")} ${what}${count === 1 ? "" : "s"}`;
}

function sentence(text) {
  return `${text[0].toUpperCase()}${text.slice(1)}${text.endsWith(".") ? "" : "."}`;
}

function made(tag, text = "", className = "") {
  const element = document.createElement(tag);
  // As text, never as HTML: what is in an event is anybody's.
  element.textContent = text;
  if (className) element.className = className;
  return element;
}

function row(note) {
  const item = document.createElement("li");
  const details = made("details");
  const summary = made("summary");
  const at = new Date(note.created_at * 1000);
  const time = made("time", at.toLocaleTimeString());
  time.dateTime = at.toISOString();
  time.title = at.toLocaleString();
  const title = made("span", `Event ${note.event_id}`);
  title.append(made("span", " was processed", "on-wide"));
  summary.append(title, time);
  const story = made("div", "", "story");
  details.append(summary, story);
  details.addEventListener("toggle", () => details.open && tellStory(note.event_id, story));
  item.append(details);
  return item;
}

async function tellStory(eventId, story) {
  story.textContent = "Asking the API …";
  try {
    const answer = await fetch(`/events/${eventId}`, { headers: { Authorization: `Bearer ${session.token}` } });
    const event = await answer.json();
    if (!answer.ok) throw new Error(event.detail ?? answer.statusText);
    const table = made("table");
    for (const move of event.transitions) {
      const line = table.insertRow();
      line.append(
        made("td", `${(move.at - event.created_at).toFixed(2)} s`),
        made("td", move.after),
        made("td", `${move.cause}, ${move.actor}`),
      );
    }
    story.replaceChildren(
      made("p", `Kind ${event.kind}, attempts: ${event.attempt_no}`),
      made("pre", JSON.stringify(event.payload, null, 1)),
      table,
    );
  } catch (error) {
    story.textContent = `The API does not say: ${error.message}`;
  }
}

// --- the connection

const session = {
  token: null,
  gateway: null,
  socket: null,
  tries: 0,
  refusal: null,
  heartbeat: null,
  silence: null,
  retry: null,
  counting: null,
  since: 0,

  start(token) {
    if (this.token !== null && token !== this.token) inbox.close();
    this.token = token;
    kept.write("token", token);
    this.tries = 0;
    this.connect();
  },

  stop() {
    this.drop();
    Object.assign(this, { token: null, refusal: null });
    kept.write("token", null);
    kept.write("user", null);
    inbox.close();
    tell("idle", "Not connected");
  },

  // Forget the socket, if there is one: what comes of it from now on is nothing to us.
  drop() {
    const socket = this.socket;
    this.socket = null;
    socket?.close();
    clearTimeout(this.silence);
    clearTimeout(this.retry);
    clearInterval(this.counting);
    $("countdown").hidden = true;
  },

  async connect() {
    this.drop();
    this.since = 0;
    this.refusal = null;
    tell("connecting", "Connecting …");
    const token = this.token;
    try {
      this.gateway ??= (await (await fetch("/config.json")).json()).gateway_url;
    } catch {
      if (token === this.token) this.wait("The API cannot be reached.");
      return;
    }
    // Somebody else may have begun meanwhile.
    if (token === this.token && this.socket === null) this.open();
  },

  open() {
    const socket = new WebSocket(this.gateway);
    this.socket = socket;
    const mine = (act) => (event) => socket === this.socket && act(event);
    socket.onopen = mine(() => socket.send(JSON.stringify({ type: "hello", token: this.token })));
    socket.onmessage = mine((event) => this.hear(socket, event.data));
    socket.onclose = mine((event) => this.lose(event.code, event.reason));
    this.expect(ANSWER_WITHIN_S, "The gateway does not answer.");
  },

  hear(socket, text) {
    const message = JSON.parse(text);
    if (message.type === "welcome") this.welcome(message);
    if (message.type === "notification") {
      inbox.take(message, () => {
        if (message.dedupe_key !== null && socket.readyState === WebSocket.OPEN) {
          socket.send(JSON.stringify({ type: "ack", event_id: message.event_id }));
        }
      });
    }
    if (message.type === "error") this.refusal = message.message;
    this.listen();
  },

  welcome(message) {
    this.since = Date.now();
    this.heartbeat = message.heartbeat_s;
    inbox.open(message.user_id);
    kept.write("user", message.user_id);
    tell("connected", "Connected", "Notifications arrive by themselves.");
  },

  // A connection may be dead without anybody saying so: then only the silence tells.
  listen() {
    clearTimeout(this.silence);
    if (this.heartbeat !== null) this.expect(PATIENCE * this.heartbeat + 1, "The gateway has fallen silent.");
  },

  expect(withinS, otherwise) {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => {
      this.drop();
      this.wait(otherwise);
    }, withinS * 1000);
  },

  lose(code, reason) {
    this.drop();
    const why = sentence(this.refusal ?? REASONS[code] ?? (reason || `The connection was closed (${code})`));
    if (REFUSED.has(code)) {
      kept.write("token", null);
      kept.write("user", null);
      tell("refused", "Refused", why);
      return;
    }
    this.wait(why, code === TOO_MANY ? FULL_WAIT_S : 0);
  },

  wait(why, atLeastS = 0) {
    if (this.since && Date.now() - this.since > GOOD_AFTER_S * 1000) this.tries = 0;
    const mostS = Math.min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** this.tries);
    const waitS = atLeastS + Math.random() * mostS;
    this.tries += 1;
    const until = Date.now() + waitS * 1000;
    tell("waiting", "Reconnecting", why);
    const count = () => {
      $("countdown").textContent = `in ${Math.max(0, Math.ceil((until - Date.now()) / 1000))} s`;
    };
    count();
    $("countdown").hidden = false;
    this.counting = setInterval(count, 250);
    this.retry = setTimeout(() => this.connect(), waitS * 1000);
  },
};

function tell(state, title, why = "") {
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

// --- a test event

const draft = {
  key: null,
  text: null,

  // An event that was not answered may be durable: sent again with the same key, it is the same event.
  keyFor(text) {
    if (text !== this.text) Object.assign(this, { text, key: `page-${crypto.randomUUID()}` });
    return this.key;
  },

  done() {
    this.text = null;
  },
};

function parsed(payload) {
  try {
    return JSON.parse(payload);
  } catch (error) {
    throw new Error(`the payload is not JSON (${error.message})`);
  }
}

async function submit(kind, payload) {
  const body = JSON.stringify({ kind, payload: parsed(payload) });
  const headers = {
    Authorization: `Bearer ${session.token}`,
    "Content-Type": "application/json",
    "Idempotency-Key": draft.keyFor(body),
  };
  const answer = await fetch("/events", { method: "POST", headers, body });
  const said = await answer.json();
  if (!answer.ok) {
    if (answer.status < 500) draft.done();
    throw new Error(said.detail ?? `${answer.status} ${answer.statusText}`);
  }
  draft.done();
  return said.event_id;
}

async function onSubmit(event) {
  event.preventDefault();
  const [button, sent] = [event.currentTarget.querySelector("button"), $("sent")];
  button.disabled = true;
  try {
    const eventId = await submit($("kind").value, $("payload").value);
    sent.className = "";
    sent.textContent = `Event ${eventId} is taken in.`;
  } catch (error) {
    sent.className = "bad";
    const why = error instanceof TypeError ? "The API cannot be reached." : error.message;
    sent.textContent = `Not sent: ${why}`;
  }
  button.disabled = false;
}

// --- beginning

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
  $("sign-in").addEventListener("submit", onSignIn);
  $("submit").addEventListener("submit", onSubmit);
  $("leave").addEventListener("click", () => session.stop());
  $("now").addEventListener("click", () => session.connect());
  // The network is back: no reason to wait any longer.
  window.addEventListener("online", () => session.token !== null && session.socket === null && session.connect());
  window.addEventListener("hashchange", () => {
    const token = tokenOfAddress();
    if (token !== null) session.start(token);
  });
  const fresh = tokenOfAddress();
  const token = fresh ?? kept.read("token");
  const user = kept.read("user");
  if (fresh === null && user !== null) inbox.open(user);
  if (token === null) tell("idle", "Not connected", "Give a token to see your notifications.");
  else session.start(token);
}

begin();

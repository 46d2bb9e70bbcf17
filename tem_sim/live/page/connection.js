// The connection to the gateway: made, lost, and made again without being asked.

import { api } from "/api.js";
import { inbox } from "/inbox.js";
import { kept } from "/kept.js";

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

const REFUSED = new Set([4400, 4401]);
const TOO_MANY = 4429;
const REASONS = {
  1001: "The gateway has stopped.",
  1006: "The gateway cannot be reached.",
  1011: "The gateway has heard nothing from this page.",
  1013: "This page was too slow.",
  4408: "The gateway has waited for the token in vain.",
};

export const session = {
  // Told what the connection is at: a state, a title, why, and when (ms) it will be tried again.
  tell: () => {},
  gateway: null,
  socket: null,
  tries: 0,
  refusal: null,
  heartbeat: null,
  silence: null,
  retry: null,
  since: 0,

  start(token) {
    if (token !== api.token) inbox.close();
    api.token = token;
    kept.write("token", token);
    this.tries = 0;
    this.connect();
  },

  stop() {
    this.drop();
    this.refusal = null;
    api.token = null;
    kept.write("token", null);
    kept.write("user", null);
    inbox.close();
    this.tell("idle", "Not connected");
  },

  // Forget the socket, if there is one: what comes of it from now on is nothing to us.
  drop() {
    const socket = this.socket;
    this.socket = null;
    socket?.close();
    clearTimeout(this.silence);
    clearTimeout(this.retry);
  },

  async connect() {
    this.drop();
    this.since = 0;
    this.refusal = null;
    this.tell("connecting", "Connecting …");
    const token = api.token;
    try {
      this.gateway ??= (await (await fetch("/config.json")).json()).gateway_url;
    } catch {
      if (token === api.token) this.wait("The API cannot be reached.");
      return;
    }
    // Somebody else may have begun meanwhile.
    if (token === api.token && this.socket === null) this.open();
  },

  open() {
    const socket = new WebSocket(this.gateway);
    this.socket = socket;
    const mine = (act) => (event) => socket === this.socket && act(event);
    socket.onopen = mine(() => socket.send(JSON.stringify({ type: "hello", token: api.token })));
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
    this.tell("connected", "Connected", "Notifications arrive by themselves.");
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
      api.token = null;
      kept.write("token", null);
      kept.write("user", null);
      this.tell("refused", "Refused", why);
      return;
    }
    this.wait(why, code === TOO_MANY ? FULL_WAIT_S : 0);
  },

  wait(why, atLeastS = 0) {
    if (this.since && Date.now() - this.since > GOOD_AFTER_S * 1000) this.tries = 0;
    const mostS = Math.min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** this.tries);
    const waitS = atLeastS + Math.random() * mostS;
    this.tries += 1;
    this.tell("waiting", "Reconnecting", why, Date.now() + waitS * 1000);
    this.retry = setTimeout(() => this.connect(), waitS * 1000);
  },
};

function sentence(text) {
  return `${text[0].toUpperCase()}${text.slice(1)}${text.endsWith(".") ? "" : "."}`;
}

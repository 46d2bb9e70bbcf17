// What the page asks of the Event API, in the name of the token's user.

export const api = {
  token: null,

  async call(path, options = {}) {
    const headers = { Authorization: `Bearer ${this.token}`, ...options.headers };
    let answer;
    try {
      answer = await fetch(path, { ...options, headers });
    } catch {
      throw new Error("the API cannot be reached");
    }
    const said = await answer.json();
    if (!answer.ok) throw Object.assign(new Error(said.detail ?? answer.statusText), { status: answer.status });
    return said;
  },

  event(eventId) {
    return this.call(`/events/${eventId}`);
  },

  // Returns the id of the event once it is durable.
  async submit(kind, payload) {
    const body = JSON.stringify({ kind, payload: parsed(payload) });
    const headers = { "Content-Type": "application/json", "Idempotency-Key": draft.keyFor(body) };
    try {
      const said = await this.call("/events", { method: "POST", headers, body });
      draft.done();
      return said.event_id;
    } catch (error) {
      if (error.status < 500) draft.done();
      throw error;
    }
  },
};

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

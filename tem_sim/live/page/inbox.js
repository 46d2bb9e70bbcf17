// The notifications that this tab has shown, each once.

import { api } from "/api.js";
import { $, made } from "/elements.js";
import { kept } from "/kept.js";

// So many are kept, to be there after a reload and to be known when they come again.
const KEPT = 500;

export const inbox = {
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
    const event = await api.event(eventId);
    const table = made("table");
    for (const move of event.transitions) {
      table.insertRow().append(
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
    story.textContent = `Not known: ${error.message}.`;
  }
}

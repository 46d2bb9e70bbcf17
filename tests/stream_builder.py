"""Watched runs built by hand: what each thread did and what its commits changed, for tests of what reads the stream.

`Seen` keeps rows as the store would. Each step of a story is the transaction that the pipeline makes, with all its
statements; keywords set columns otherwise than the pipeline would, as a bug does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from frame_builder import story

from tem_sim.frames import Run

Row = dict[str, Any]

LEASE_S = 60.0
_HELD = "WHERE processing_state.event_id = ? AND processing_state.status = 'PROCESSING' AND processing_state.attempt_no"
FENCED = f"{_HELD} = ? AND processing_state.lease_owner = ?"
CLAIM = "UPDATE processing_state SET status='PROCESSING' WHERE event_id IN (SELECT event_id) RETURNING attempt_no"
REQUEUE = "UPDATE processing_state SET status='QUEUED', cause='retry' WHERE event_id IN (SELECT event_id)"


def finish(status: str, cause: str, where: str = FENCED) -> str:
    """Return the text of a write that ends an attempt."""
    return f"UPDATE processing_state SET status='{status}', cause='{cause}' {where}"


class Seen:
    """A run in the making. Times are seconds; `now` is the end of what was told so far."""

    def __init__(self, **sections: Any) -> None:
        self.scenario = story(store={"watch": True}, **sections).scenario
        self.rows: dict[int, Row] = {}
        self.steps: list[Row] = []
        self.changes: list[Row] = []
        self.notes: dict[int, Row] = {}
        self.now = 0.0
        self._txns = 0

    # --- the plain parts

    def at(self, t_s: float) -> Seen:
        """Let what follows happen at this time."""
        self.now = t_s
        return self

    def step(self, thread: str, kind: str, **more: Any) -> Row:
        """Note a step."""
        row = {
            "step": len(self.steps) + 1,
            "t_s": self.now,
            "clock_s": self.now,
            "actor": thread.partition("/")[0],
            "thread": thread,
            "kind": kind,
            "label": "",
            "sql": "",
            "rows": -1,
            "event_id": 0,
            "txn": 0,
            "waited_s": 0.0,
            "error": "",
            **more,
        }
        self.steps.append(row)
        return row

    def begin(self, thread: str) -> int:
        """Open a transaction and return its number."""
        self._txns += 1
        self.step(thread, "begin", txn=self._txns)
        return self._txns

    def write(
        self, thread: str, txn: int, table: str, before: Row | None, after: Row | None, sql: str, **more: Any
    ) -> None:
        """Execute a statement that changes one row."""
        step = self.step(thread, "statement", txn=txn, sql=sql, rows=1, **more)
        row = after or before or {}
        self.changes.append(
            {
                "change": len(self.changes) + 1,
                "step": step["step"],
                "txn": txn,
                "clock_s": step["clock_s"],
                "actor": step["actor"],
                "thread": thread,
                "label": step["label"],
                "table": table,
                "op": "insert" if before is None else "delete" if after is None else "update",
                "event_id": row.get("id" if table == "event" else "event_id", 0),
                "before": "" if before is None else json.dumps(before),
                "after": "" if after is None else json.dumps(after),
            }
        )

    def commit(self, thread: str, txn: int) -> None:
        """Commit: what the transaction changed becomes part of the stream."""
        step = self.step(thread, "commit", txn=txn)
        for change in self.changes:
            if change["txn"] == txn:
                change.update(commit_step=step["step"], t_s=self.now)

    def change(self, thread: str, event_id: int, sql: str, label: str = "", **columns: Any) -> Seen:
        """Change an event's row in a transaction of its own, any way you like."""
        txn = self.begin(thread)
        self.set(thread, txn, event_id, sql, label, **columns)
        self.commit(thread, txn)
        return self

    def set(self, thread: str, txn: int, event_id: int, sql: str, label: str = "", **columns: Any) -> None:
        """Change an event's row within a transaction."""
        before = self.rows[event_id]
        after = {**before, **columns}
        self.write(thread, txn, "processing_state", before, after, sql, label=label)
        self.rows[event_id] = after

    def wake(self, thread: str, **more: Any) -> Seen:
        """Send a wake-up."""
        self.step(thread, "wake", rows=1, **more)
        return self

    def task(self, thread: str) -> Seen:
        """Begin a task."""
        self.step(thread, "task")
        return self

    def done(self, thread: str) -> Seen:
        """End a task well."""
        self.step(thread, "task_done")
        return self

    # --- what the pipeline does

    def _moved(self, event_id: int, cause: str, actor: str) -> Row:
        row = self.rows[event_id]
        return {"version": row["version"] + 1, "changed_at": self.now, "changed_by": actor, "cause": cause}

    def submit(self, event_id: int, wakes: bool = True, **columns: Any) -> Seen:
        """Take an event in."""
        thread = f"api/request-{event_id}"
        row: Row = {
            "event_id": event_id,
            "status": "QUEUED",
            "retry_count": 0,
            "crash_count": 0,
            "replay_count": 0,
            "attempt_no": 0,
            "version": 1,
            "last_error": None,
            "last_delay_s": None,
            "next_retry_at": None,
            "lease_owner": None,
            "lease_expires_at": None,
            "queued_at": self.now,
            "started_at": None,
            "woken_at": self.now,
            "life_began_at": self.now,
            "finished_at": None,
            "changed_at": self.now,
            "changed_by": "api",
            "cause": "submit",
            **columns,
        }
        txn = self.begin(thread)
        about = {"id": event_id, "idempotency_key": f"event-{event_id}", "user_id": 1, "created_at": self.now}
        self.write(thread, txn, "event", None, about, "INSERT INTO event")
        self.write(thread, txn, "processing_state", None, row, "INSERT INTO processing_state", label="lifecycle.submit")
        self.rows[event_id] = row
        self.commit(thread, txn)
        return self.wake(thread) if wakes else self

    def claim(self, event_id: int, thread: str = "worker-1/0", sql: str = CLAIM, **columns: Any) -> Seen:
        """Claim an event."""
        held = {
            "status": "PROCESSING",
            "attempt_no": self.rows[event_id]["attempt_no"] + 1,
            "lease_owner": thread,
            "lease_expires_at": self.now + LEASE_S,
            **self._moved(event_id, "claim", thread),
        }
        return self.change(thread, event_id, sql, "claims.claim", **{**held, **columns})

    def call(self, event_id: int, thread: str = "worker-1/0") -> Seen:
        """Call the handler, which comes back."""
        self.step(thread, "handle", event_id=event_id)
        self.step(thread, "handled", event_id=event_id)
        return self

    def end(
        self, event_id: int, status: str, cause: str, thread: str = "worker-1/0", sql: str = "", **columns: Any
    ) -> Seen:
        """End an attempt; `record` holds columns of the attempt's record, None for none at all."""
        record = columns.pop("record", {})
        ended = {
            "status": status,
            "lease_owner": None,
            "lease_expires_at": None,
            "next_retry_at": None,
            **self._moved(event_id, cause, thread),
            **columns,
        }
        before = self.rows[event_id]
        txn = self.begin(thread)
        self.set(thread, txn, event_id, sql or finish(status, cause), "settle.settle", **ended)
        if record is not None:
            row = {
                "seq": len(self.changes),
                "event_id": event_id,
                "attempt_no": before["attempt_no"],
                "worker": before["lease_owner"],
                "started_at": self.now,
                "finished_at": self.now,
                "outcome": {"ok": "ok", "error": "error", "exhausted": "error"}.get(cause, "lost"),
                "delay_s": ended.get("last_delay_s") if cause == "error" else None,
                **record,
            }
            self.write(thread, txn, "attempt", None, row, "INSERT INTO attempt")
        if cause == "ok" and columns.get("status", status) == "PROCESSED":
            self.owe(thread, txn, event_id)
        self.commit(thread, txn)
        return self

    def owe(self, thread: str, txn: int, event_id: int) -> None:
        """Write the outbox row."""
        note = {"event_id": event_id, "user_id": 1, "dedupe_key": f"event-{event_id}", "created_at": self.now}
        note |= {"published_at": None, "acked_at": None}
        self.write(thread, txn, "notification", None, note, "INSERT INTO notification")
        self.notes[event_id] = note

    def ok(self, event_id: int, thread: str = "worker-1/0", **more: Any) -> Seen:
        """Succeed."""
        return self.end(event_id, "PROCESSED", "ok", thread, **{"finished_at": self.now, **more})

    def error(self, event_id: int, thread: str = "worker-1/0", delay_s: float = 10.0, **more: Any) -> Seen:
        """Fail, and be tried again after the delay."""
        failures = self.rows[event_id]["retry_count"] + 1
        booked = {"retry_count": failures, "last_delay_s": delay_s, "next_retry_at": self.now + delay_s}
        return self.end(event_id, "FAILED", "error", thread, **{**booked, **more})

    def exhausted(self, event_id: int, thread: str = "worker-1/0", **more: Any) -> Seen:
        """Fail for the last time."""
        ended = {"retry_count": self.rows[event_id]["retry_count"] + 1, "finished_at": self.now}
        return self.end(event_id, "EXTINCT", "exhausted", thread, **{**ended, **more})

    def retry(self, event_id: int, thread: str = "beat/retry", wakes: bool = True, **columns: Any) -> Seen:
        """Queue a due event, and wake a worker."""
        self.task(thread)
        queued = {"status": "QUEUED", "next_retry_at": None, "queued_at": self.now, "woken_at": self.now}
        moved = self._moved(event_id, "retry", "beat")
        self.change(thread, event_id, REQUEUE, "lifecycle.requeue_due", **{**queued, **moved, **columns})
        if wakes:
            self.wake(thread)
        return self.done(thread)

    def rescue(self, event_id: int, thread: str = "beat/rescue", **columns: Any) -> Seen:
        """Take a lease back that has run out."""
        self.task(thread)
        back = {"queued_at": self.now, "woken_at": self.now, "crash_count": self.rows[event_id]["crash_count"] + 1}
        sql = finish("QUEUED", "rescue", f"{_HELD} = ?")
        self.end(event_id, "QUEUED", "rescue", thread, sql, **{**back, **columns})
        return self.wake(thread).done(thread)

    # --- the run

    def run(
        self, end_s: float = 1000.0, notifications: list[Row] | None = None, attempts: list[Row] | None = None
    ) -> Run:
        """Return the run."""
        events = [
            {
                "event_id": event_id,
                "user_id": 1,
                "kind": "normal",
                "submitted_s": row["life_began_at"],
                "next_retry_s": row["next_retry_at"],
                "finished_s": row["finished_at"],
                **{name: row[name] for name in ("status", "retry_count", "crash_count", "attempt_no", "replay_count")},
            }
            for event_id, row in self.rows.items()
        ]
        told = story()
        told.scenario = self.scenario
        told.events, told.steps, told.changes = events, self.steps, self.changes
        told.transitions = [*self._transitions()]
        told.notifications, told.attempts = notifications or [], attempts or []
        return told.run(end_s)

    def _transitions(self) -> Iterator[Row]:
        """Yield what the store's own log says of the changes."""
        for change in self.changes:
            before, after = (json.loads(change[image] or "{}") for image in ("before", "after"))
            if change["table"] != "processing_state" or before.get("status") == after.get("status"):
                continue
            yield {
                "seq": change["change"],
                "event_id": change["event_id"],
                "at_s": after["changed_at"],
                "before": before.get("status", ""),
                "after": after["status"],
                "cause": after["cause"],
                "actor": change["actor"],
                "attempt_no": after["attempt_no"],
                "retry_count": after["retry_count"],
            }


def seen(**sections: Any) -> Seen:
    """Begin a watched run; sections as in `story`."""
    return Seen(**sections)

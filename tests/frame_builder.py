"""Runs built by hand from tiny stories, for tests of what reads frames.

Each step of a story keeps all frames consistent, as the store would: `story().event(1).claim(1.0).ok(1.1)`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from tem_sim.frames import SCHEMAS, Run, conform, digest

Row = dict[str, Any]

SCENARIO: Row = {
    "scenario": "story",
    "seed": 1,
    "horizon": 1000,
    "arrivals": [{"kind": "burst", "at": 0, "events": 1}],
    "pipeline": {
        "backoff": {"growth": "exponential", "base": 10, "factor": 2, "jitter": "none", "max_retries": 2},
        "lease": 60,
        "sweep_after": 60,
    },
    "workers": {"count": 2, "concurrency": 2},
    "handler": {"service_time": 0.02, "fail_time": 0.05},
}


@dataclass
class Track:
    """One event's story so far: its row as the store would hold it."""

    story: Story
    row: Row
    attempt: Row | None = None

    def move(self, at_s: float, after: str, cause: str, actor: str, **changes: Any) -> Track:
        before = self.row["status"] or ""
        self.row.update(status=after, **changes)
        self.story.transitions.append(
            {
                "seq": len(self.story.transitions),
                "event_id": self.row["event_id"],
                "at_s": at_s,
                "before": before,
                "after": after,
                "cause": cause,
                "actor": actor,
                "attempt_no": self.row["attempt_no"],
                "retry_count": self.row["retry_count"],
            }
        )
        return self

    def claim(self, at_s: float, worker: str = "worker-1") -> Track:
        attempt_no = self.row["attempt_no"] + 1
        self.attempt = {
            "event_id": self.row["event_id"],
            "attempt_no": attempt_no,
            "worker": worker,
            "claimed_s": at_s,
            "outcome": "unfinished",
        }
        self.story.attempts.append(self.attempt)
        return self.move(at_s, "PROCESSING", "claim", worker, attempt_no=attempt_no)

    def end(self, at_s: float, outcome: str, started: bool = True, **more: Any) -> None:
        assert self.attempt is not None, "no attempt is open"
        self.attempt.update(finished_s=at_s, outcome=outcome, **more)
        if started:
            self.attempt.setdefault("started_s", self.attempt["claimed_s"])

    @property
    def holder(self) -> str:
        assert self.attempt is not None, "no attempt is open"
        return str(self.attempt["worker"])

    def ok(self, at_s: float, shown: int | None = 1, committed_s: float | None = None) -> Track:
        """`shown=None`: no notification was ever written; `committed_s`: settled later than handled."""
        self.end(at_s, "ok", effect_s=at_s)
        if shown is not None:
            self.told(at_s, shown)
        settled_s = at_s if committed_s is None else committed_s
        return self.move(settled_s, "PROCESSED", "ok", self.holder, finished_s=at_s)

    def told(self, at_s: float, shown: int = 1, received: int | None = None, acked: bool | None = None) -> Track:
        times = {"published_s": at_s, "delivered_s": at_s} if shown else {}
        if acked if acked is not None else shown:
            times["acked_s"] = at_s
        self.story.notifications.append(
            {
                "event_id": self.row["event_id"],
                "user_id": self.row["user_id"],
                "dedupe_key": f"event-{self.row['event_id']}",
                "created_s": at_s,
                "shown": shown,
                "received": shown if received is None else received,
                **times,
            }
        )
        return self

    def error(self, at_s: float, delay_s: float) -> Track:
        self.end(at_s, "error", error="Refused: no", delay_s=delay_s)
        failures = self.row["retry_count"] + 1
        due = {"next_retry_s": at_s + delay_s, "last_error": "Refused: no", "retry_count": failures}
        return self.move(at_s, "FAILED", "error", self.holder, **due)

    def exhausted(self, at_s: float) -> Track:
        self.end(at_s, "error", error="Refused: no")
        failures = self.row["retry_count"] + 1
        ended = {"finished_s": at_s, "last_error": "Refused: no", "retry_count": failures}
        return self.move(at_s, "EXTINCT", "exhausted", self.holder, **ended)

    def retry(self, at_s: float) -> Track:
        return self.move(at_s, "QUEUED", "retry", "beat", next_retry_s=None)

    def rescue(self, at_s: float) -> Track:
        self.end(at_s, "lost", started=False, error="lease expired")
        return self.move(at_s, "QUEUED", "rescue", "beat", crash_count=self.row["crash_count"] + 1)

    def crashed(self, at_s: float) -> Track:
        self.end(at_s, "lost", started=False, error="lease expired")
        return self.move(at_s, "EXTINCT", "crashed", "beat", crash_count=self.row["crash_count"] + 1, finished_s=at_s)

    def expired(self, at_s: float) -> Track:
        self.end(at_s, "expired", started=False)
        return self.move(at_s, "EXTINCT", "expired", self.holder, finished_s=at_s)

    def released(self, at_s: float) -> Track:
        self.end(at_s, "released", started=False)
        return self.move(at_s, "QUEUED", "release", self.holder)

    def replay(self, at_s: float) -> Track:
        again = {"retry_count": 0, "crash_count": 0, "replay_count": self.row["replay_count"] + 1}
        return self.move(at_s, "QUEUED", "replay", "operator", finished_s=None, **again)


@dataclass
class Story:
    """All that happened; sections of the scenario given as keywords replace or extend those of `SCENARIO`."""

    scenario: Row = field(default_factory=lambda: dict(SCENARIO))
    events: list[Row] = field(default_factory=list)
    attempts: list[Row] = field(default_factory=list)
    transitions: list[Row] = field(default_factory=list)
    notifications: list[Row] = field(default_factory=list)
    samples: list[Row] = field(default_factory=list)
    wakeups: list[Row] = field(default_factory=list)
    messages: list[Row] = field(default_factory=list)
    faults: list[Row] = field(default_factory=list)
    steps: list[Row] = field(default_factory=list)
    changes: list[Row] = field(default_factory=list)

    def event(self, event_id: int, at_s: float = 0.0, kind: str = "normal") -> Track:
        """Submit an event."""
        row: Row = {
            "event_id": event_id,
            "user_id": 100 + event_id,
            "kind": kind,
            "submitted_s": at_s,
            "status": "",
            "retry_count": 0,
            "crash_count": 0,
            "attempt_no": 0,
            "replay_count": 0,
        }
        self.events.append(row)
        return Track(self, row).move(at_s, "QUEUED", "submit", "api")

    def fault(self, start_s: float, end_s: float, kind: str = "outage", landed: int = 1) -> Story:
        self.faults.append(
            {
                "fault_id": len(self.faults),
                "kind": kind,
                "target": "handler",
                "start_s": start_s,
                "end_s": end_s,
                "landed": landed,
                "shade": "tab:red",
            }
        )
        return self

    def wake(self, t_s: float, actor: str, task: str, first_id: int = 0, sent: int = 1, lost: int = 0) -> Story:
        sender = {"t_s": t_s, "actor": actor, "task": task, "first_id": first_id}
        self.wakeups.append({**sender, "sent": sent, "lost": lost})
        return self

    def delivered(self, delivered_s: float, message: int, worker: str = "worker-1", fate: str = "acked") -> Story:
        whose = {"delivered_s": delivered_s, "message": message, "worker": worker}
        self.messages.append({**whose, "redelivered": 0, "settled_s": delivered_s, "fate": fate})
        return self

    def run(self, end_s: float = 1000.0, status: Any = "complete") -> Run:
        """Return the run that this story tells."""
        frames: dict[str, Any] = {name: _frame(name, getattr(self, name)) for name in SCHEMAS}
        return Run(
            scenario_dict=self.scenario,
            seed=1,
            mode="sim",
            status=status,
            store="sqlite",
            end_s=float(end_s),
            digest=digest(frames["transitions"]),
            versions={"tem_sim": "0"},
            **frames,
        )


def story(**sections: Any) -> Story:
    """Begin a story; mappings given are merged into the scenario's sections, other values replace them."""
    scenario = dict(SCENARIO)
    for name, section in sections.items():
        merged = {**scenario.get(name, {}), **section} if isinstance(section, dict) else section
        scenario[name] = merged
    return Story(scenario)


def _frame(name: str, rows: list[Row]) -> pd.DataFrame:
    return conform(name, {column.name: [row.get(column.name) for row in rows] for column in SCHEMAS[name]})


def tamper(run: Run, frame: str, row: int, **cells: Any) -> Run:
    """Return the run with cells of one row changed and nothing else, as a bug might have left it."""
    columns = {name: run_column.astype(object) for name, run_column in getattr(run, frame).items()}
    for name, value in cells.items():
        columns[name].iloc[row] = value
    return replace(run, **{frame: conform(frame, {k: v.tolist() for k, v in columns.items()})})


def without(run: Run, frame: str, row: int) -> Run:
    """Return the run with one row of one frame gone."""
    kept = getattr(run, frame).drop(index=row)
    return replace(run, **{frame: conform(frame, kept)})

"""What a race broke: judged from its committed row changes and what its threads returned, with no frame in between."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tem_sim.pipeline.lifecycle import Submitted
from tem_sim.pipeline.settle import Settled
from tem_sim.pipeline.states import LEGAL_EDGES, Cause, State
from tem_sim.races.arena import Played, Stage

Row = Mapping[str, Any]

# In the words of the report.
INVARIANTS = {
    "illegal_edge": "a row took an edge that the state machine does not have",
    "foreign_write": "a worker changed a row that it did not hold, or not by that claim",
    "early_rescue": "a row was taken back while its lease was good",
    "lost_increment": "a failure was recorded that retry_count does not have",
    "extra_increment": "retry_count has a failure that nobody recorded",
    "wrong_extinct": "a row became EXTINCT before its retries were spent",
    "double_claim": "two workers hold the same attempt",
    "attempt_missing": "a worker's attempt ended and left no record",
    "attempt_twice": "an attempt was recorded twice by the same worker",
    "false_record": "an attempt was recorded as lost that its worker had ended",
    "notification_missing": "a row became PROCESSED and its user is owed nothing",
    "notification_unearned": "a user is owed a notification of an event that is not PROCESSED",
    "unpublished": "a notification that was owed was not published, or not noted",
    "event_twice": "one submission became two events, or its answers disagree",
}
_WORKED = frozenset({"ok", "error", "superseded"})
# Differs from run to run on PostgreSQL, where numbers that were rolled back are not given out again.
_VOLATILE = "seq"


class Change(NamedTuple):
    """One committed change of a row, and whose it was."""

    thread: str
    label: str
    commit: int
    table: str
    op: str
    before: Row
    after: Row


@dataclass(slots=True)
class _Ledger:
    """The rows as committed: the states by event, and the logs."""

    states: dict[int, Row] = field(default_factory=dict)
    notes: dict[int, Row] = field(default_factory=dict)
    events: dict[int, Row] = field(default_factory=dict)
    attempts: list[Row] = field(default_factory=list)

    def take(self, table: str, after: Row) -> None:
        if table == "processing_state":
            self.states[after["event_id"]] = after
        elif table == "notification":
            self.notes[after["event_id"]] = after
        elif table == "event":
            self.events[after["id"]] = after
        elif table == "attempt":
            self.attempts.append(after)

    def failures(self, event_id: int) -> int:
        return sum(row["event_id"] == event_id and row["outcome"] == "error" for row in self.attempts)


@dataclass(frozen=True, slots=True)
class Judged:
    """What was broken, by whom an error was raised, and what all of it came to."""

    broken: frozenset[str]
    failed: Mapping[str, str]
    # Equal where the rows end equal and the threads were told the same.
    outcome: str
    # Equal where also each step was the same.
    digest: str


def changes_of(played: Played) -> list[Change]:
    """Return the committed changes, in the order of commits, without what may differ between two runs."""
    found = []
    for _, _, commit, _, _, _, _, thread, label, table, op, _, before, after in played.changes:
        images = [json.loads(text) if text else {} for text in (before, after)]
        for image in images:
            image.pop(_VOLATILE, None)
        found.append(Change(thread, label, commit, table, op, *images))
    return found


def judge(stage: Stage, played: Played) -> Judged:
    """Judge one schedule."""
    ledger = _Ledger()
    for image in stage.images:
        ledger.take(image.table, image.after or {})
    before = dict(ledger.states), len(ledger.attempts)
    changes = changes_of(played)
    broken: set[str] = set()
    for at, change in enumerate(changes):
        broken.update(_wrong_change(stage, ledger, change))
        ledger.take(change.table, change.after)
        if at + 1 == len(changes) or changes[at + 1].commit != change.commit:
            broken.update(_wrong_ends(stage, ledger, changes[: at + 1], change.commit))
    broken.update(_wrong_counts(ledger, *before))
    for wrong in (_wrong_attempts, _wrong_claims, _wrong_notes, _wrong_submits):
        broken.update(wrong(stage, ledger, played))
    failed = {name: type(getattr(error, "orig", None) or error).__name__ for name, error in played.raised.items()}
    outcome = _hash([_end(ledger), sorted(failed.items()), _returned(played), Counter(played.published)])
    return Judged(frozenset(broken), failed, outcome, _hash([outcome, _steps(played), changes]))


# --- change by change


def _wrong_change(stage: Stage, ledger: _Ledger, change: Change) -> Iterator[str]:
    if change.table == "attempt" and change.op == "insert":
        yield from _wrong_record(ledger, change.after)
    if change.table != "processing_state" or change.op != "update":
        return
    before, after = change.before, change.after
    moves = before["status"] != after["status"]
    if moves and (State(before["status"]), State(after["status"])) not in LEGAL_EDGES:
        yield "illegal_edge"
    if after["retry_count"] < before["retry_count"]:
        yield "lost_increment"
    yield from _by_stranger(stage, change, moves)


def _by_stranger(stage: Stage, change: Change, moves: bool) -> Iterator[str]:
    before, after = change.before, change.after
    if change.label.startswith(("settle.", "claims.renew")):
        held = stage.prepared.held.get(change.thread)
        token = None if held is None else held.attempt_no
        if (before["status"], before["lease_owner"], before["attempt_no"]) != ("PROCESSING", change.thread, token):
            yield "foreign_write"
    elif after["cause"] in (Cause.RESCUE, Cause.CRASHED) and moves and before["status"] == State.PROCESSING:
        if before["lease_expires_at"] > after["changed_at"]:
            yield "early_rescue"
    elif after["cause"] == Cause.CLAIM and (before["status"] != "QUEUED" or after["attempt_no"] != _next(before)):
        yield "double_claim"


def _next(before: Row) -> int:
    return int(before["attempt_no"]) + 1


def _wrong_record(ledger: _Ledger, record: Row) -> Iterator[str]:
    same = [row for row in ledger.attempts if all(row[name] == record[name] for name in ("event_id", "attempt_no"))]
    if record["outcome"] == "lost" and any(row["outcome"] in ("ok", "error") for row in same):
        yield "false_record"
    if record["outcome"] in _WORKED and any(_alike(row, record) for row in same):
        yield "attempt_twice"


def _alike(row: Row, record: Row) -> bool:
    return bool(row["worker"] == record["worker"] and row["outcome"] in _WORKED)


def _wrong_ends(stage: Stage, ledger: _Ledger, changes: list[Change], commit: int) -> Iterator[str]:
    """Judge at a commit what is known only when all that it commits is."""
    limit = stage.race.max_retries
    for change in changes:
        if change.commit != commit or change.table != "processing_state":
            continue
        ended = change.after["status"] == State.EXTINCT and change.after["cause"] == Cause.EXHAUSTED
        if ended and ledger.failures(change.after["event_id"]) <= limit:
            yield "wrong_extinct"


# --- at the end


def _wrong_counts(ledger: _Ledger, states: Mapping[int, Row], attempts: int) -> Iterator[str]:
    recorded = Counter(row["event_id"] for row in ledger.attempts[attempts:] if row["outcome"] == "error")
    for event_id, row in ledger.states.items():
        counted = row["retry_count"] - states.get(event_id, {"retry_count": 0})["retry_count"]
        if counted < recorded[event_id]:
            yield "lost_increment"
        elif counted > recorded[event_id]:
            yield "extra_increment"


def _wrong_attempts(stage: Stage, ledger: _Ledger, played: Played) -> Iterator[str]:
    for thread, held in stage.prepared.held.items():
        if isinstance(played.returned.get(thread), Settled):
            own = (held.event_id, held.attempt_no, thread)
            recorded = [(row["event_id"], row["attempt_no"], row["worker"]) for row in ledger.attempts]
            if own not in recorded:
                yield "attempt_missing"


def _wrong_claims(stage: Stage, ledger: _Ledger, played: Played) -> Iterator[str]:
    tokens: Counter[tuple[int, int]] = Counter()
    for answer in played.returned.values():
        for claimed in answer if isinstance(answer, list) else ():
            if not isinstance(claimed, Submitted):
                tokens[claimed[0], claimed[1]] += 1
    if any(times > 1 for times in tokens.values()):
        yield "double_claim"


def _wrong_notes(stage: Stage, ledger: _Ledger, played: Played) -> Iterator[str]:
    if not stage.settings.outbox:
        return
    for event_id, row in ledger.states.items():
        is_owed, is_done = event_id in ledger.notes, row["status"] == State.PROCESSED
        if is_done and not is_owed:
            yield "notification_missing"
        if is_owed and not is_done:
            yield "notification_unearned"
    relays = [name for name in stage.race.threads if name.endswith("/relay") and name in played.returned]
    for event_id, note in ledger.notes.items():
        if relays and (note["published_at"] is None or event_id not in played.published):
            yield "unpublished"


def _wrong_submits(stage: Stage, ledger: _Ledger, played: Played) -> Iterator[str]:
    answers = [
        one
        for answer in played.returned.values()
        if isinstance(answer, list)
        for one in answer
        if isinstance(one, Submitted)
    ]
    if not answers:
        return
    ids = {answer.event_id for answer in answers}
    if len(ids) > 1 or sum(answer.created for answer in answers) != 1 or ids != set(ledger.events):
        yield "event_twice"


# --- what it came to


def _end(ledger: _Ledger) -> list[Any]:
    tables = (ledger.states, ledger.notes, ledger.events)
    return [*(sorted(table.items()) for table in tables), sorted(ledger.attempts, key=_by_event)]


def _by_event(row: Row) -> int:
    return int(row["event_id"])


def _returned(played: Played) -> list[Any]:
    return sorted((name, repr(answer)) for name, answer in played.returned.items())


def _steps(played: Played) -> list[Any]:
    """Return the steps without their times and without the labels that the dialect's texts differ in."""
    return [
        (thread, kind, label, sql, error) for _, _, _, _, thread, kind, label, sql, _, _, _, _, error in played.steps
    ]


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


Judge = Callable[[Stage, Played], Judged]

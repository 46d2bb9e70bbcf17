"""What is told to others, and when: wake-ups and notifications, each only of what has been committed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tem_sim.analysis.rules import rules
from tem_sim.analysis.stream import stream
from tem_sim.checks.offences import Offence, judged, of_change, of_step
from tem_sim.checks.verdict import Verdict, count
from tem_sim.pipeline.states import Cause, State

if TYPE_CHECKING:
    from tem_sim.analysis.rules import Rules
    from tem_sim.analysis.stream import Change, Step
    from tem_sim.frames import Run

# Edges into the queue of which nobody is told: what an open circuit gives back, its probe calls for again.
_UNTOLD = (Cause.RELEASE, Cause.REPLAY)


@dataclass(slots=True)
class _Task:
    """What one thread has committed and told since its task began."""

    queued: int = 0
    told: int = 0
    first: Change | None = None
    processed: set[int] = field(default_factory=set)


def wake_after_commit(run: Run) -> Verdict:
    """A wake-up is sent outside any transaction, after a commit that queued rows; a task that queued some sends one.

    A task that dies, fails or cannot reach the broker owes none: the sweep finds what it queued.
    """
    seen, rule = stream(run), rules(run)
    by_commit = _by_commit(seen.states)
    found = [one for steps in seen.threads.values() for one in _wakes(run, steps, by_commit, rule)]
    sent = count(sum(step.kind == "wake" for step in seen.steps), "wake-up call")
    return judged("wake_after_commit", run, found, f"each of {sent} came after the commit of what it announces")


def _by_commit(changes: list[Change]) -> dict[int, list[Change]]:
    found: defaultdict[int, list[Change]] = defaultdict(list)
    for change in changes:
        found[change.commit_step].append(change)
    return found


def _queues(change: Change) -> bool:
    """Whether a change puts a row in the queue, or notes that it is announced anew."""
    if change.now("status") != State.QUEUED:
        return False
    if not change.moves:
        return "woken_at" in change.differing()
    return change.now("cause") not in _UNTOLD


def _wakes(run: Run, steps: list[Step], by_commit: dict[int, list[Change]], rule: Rules) -> Iterator[Offence]:
    task, unasked = _Task(), rule.settings.concurrency_limit is not None or rule.settings.breaker is not None
    for step in steps:
        if step.kind in ("task", "task_failed", "killed"):
            task = _Task()
        for change in by_commit.get(step.step, ()):
            if _queues(change):
                task.queued += 1
                task.first = task.first or change
        if step.kind == "wake":
            task.told += 1
            if step.txn:
                yield of_step(step, "a wake-up sent inside a transaction")
            # Who leaves a place, or closes the circuit, calls others to rows that were queued long before.
            elif not task.queued and not unasked:
                yield of_step(step, "a wake-up before any commit that queued a row")
        elif step.kind == "task_done":
            if task.queued and not task.told and task.first is not None:
                yield of_change(run, task.first, "queued, and its task ended without a wake-up", "status", "queued_at")
            task = _Task()


def notify_after_commit(run: Run) -> Verdict:
    """A user is told only of an event whose PROCESSED is committed, and with an outbox once.

    With an outbox its row is written in the transaction that makes the event PROCESSED and in no other, and nothing is
    published that is not in it.
    """
    seen, rule = stream(run), rules(run)
    found = [*_published(run), *_told_before(run)]
    if rule.settings.outbox:
        found += [*_owed(run), *_shown_again(run)]
    told = count(sum(step.kind == "publish" for step in seen.steps), "publish", "publishes")
    return judged("notify_after_commit", run, found, f"each of {told} came after the commit of what it tells")


def _ids(step: Step) -> list[int]:
    """Return the events of which a publish tells."""
    return [int(word) for word in step.sql.replace(",", " ").split() if word.isdigit()]


def _published(run: Run) -> Iterator[Offence]:
    """Yield the publishes inside a transaction, before the commit, or past the outbox."""
    seen, outbox = stream(run), rules(run).settings.outbox
    processed = _commits(run, "processing_state", State.PROCESSED)
    written = _commits(run, "notification", None)
    for step in seen.steps:
        if step.kind != "publish":
            continue
        if step.txn:
            yield of_step(step, "published inside a transaction")
        for event_id in _ids(step):
            if processed.get(event_id, step.step) >= step.step:
                yield of_step(step, "published before its PROCESSED was committed", event_id)
            elif outbox and written.get(event_id, step.step) >= step.step:
                yield of_step(step, "published past the outbox", event_id)


def _commits(run: Run, table: str, status: State | None) -> dict[int, int]:
    """Return for each event the first commit that inserted its row in a table, or brought it to a status."""
    found: dict[int, int] = {}
    for change in stream(run).of(table):
        if change.op == "insert" if status is None else change.now("status") == status:
            found.setdefault(change.event_id, change.commit_step)
    return found


def _told_before(run: Run) -> Iterator[Offence]:
    """Yield the users that were shown a notification before its event's PROCESSED was committed, or without it."""
    done_s = {change.event_id: change.t_s for change in reversed(stream(run).states) if _is_done(change)}
    shown = run.notifications[run.notifications["shown"] > 0]
    for event_id, at_s in zip(shown["event_id"].tolist(), shown["delivered_s"].tolist(), strict=True):
        if not done_s.get(event_id, at_s + 1.0) <= at_s:
            problem = "shown before its PROCESSED was committed" if event_id in done_s else "shown and not PROCESSED"
            yield Offence(problem, event_id, at_s, "gateway", "gateway", "", "", "", 0, "")


def _is_done(change: Change) -> bool:
    return change.moves and change.now("status") == State.PROCESSED


def _owed(run: Run) -> Iterator[Offence]:
    """Yield the outbox rows without an event that became PROCESSED with them, and the other way round."""
    for changes in stream(run).transactions.values():
        done = {
            change.event_id: change for change in changes if change.table == "processing_state" and _is_done(change)
        }
        owed = {
            change.event_id: change for change in changes if change.table == "notification" and change.op == "insert"
        }
        for event_id in sorted(done.keys() - owed.keys()):
            yield of_change(run, done[event_id], "PROCESSED without an outbox row in its transaction")
        for event_id in sorted(owed.keys() - done.keys()):
            yield of_change(run, owed[event_id], "an outbox row without PROCESSED in its transaction", "event_id")


def _shown_again(run: Run) -> Iterator[Offence]:
    again = run.notifications[run.notifications["shown"] > 1]
    for event_id, times in zip(again["event_id"].tolist(), again["shown"].tolist(), strict=True):
        yield Offence(f"shown {times} times", event_id, 0.0, "gateway", "gateway", "", "", "", 0, "")

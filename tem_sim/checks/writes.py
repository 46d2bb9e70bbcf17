"""Writes that undo others, and rows that appear or vanish: each row's versions as a chain."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tem_sim.analysis.stream import stream
from tem_sim.checks.offences import Offence, judged, of_change, of_step
from tem_sim.checks.verdict import Verdict, count
from tem_sim.pipeline.states import Cause, State

if TYPE_CHECKING:
    from tem_sim.analysis.stream import Change
    from tem_sim.frames import Run

# What only grows, but for a replay, which begins anew with the first two.
_GROWING = ("retry_count", "crash_count", "replay_count", "attempt_no", "version")
_RESET_BY_REPLAY = frozenset({"retry_count", "crash_count"})
_BY_CLAIM = (Cause.OK, Cause.ERROR, Cause.EXHAUSTED, Cause.EXPIRED, Cause.RELEASE)
_KEYS = {"event": "id", "processing_state": "event_id", "notification": "event_id"}
# Rows of these tables are for ever; the logs keep more than one per event.
_FOR_EVER = ("event", "processing_state", "attempt", "notification")
_PAIR = ("event", "processing_state")


def lost_write(run: Run) -> Verdict:
    """No committed write is undone unseen: each change begins from what the one before left, and sets no count back.

    Nor does a worker end an attempt from what it read at its claim when another has changed the row since. Both
    statements are shown: the one that was lost, and the one that overwrote it.
    """
    found = [one for changes in _chains(run).values() for one in _broken_links(run, changes)]
    found += [one for changes in stream(run).rows.values() for one in _overwritten(run, changes)]
    total = count(len(stream(run).changes), "change")
    return judged("lost_write", run, found, f"each of {total} began from what the one before had left")


def _chains(run: Run) -> dict[tuple[str, Any], list[Change]]:
    """Return the changes of each row that can change more than once."""
    chains: defaultdict[tuple[str, Any], list[Change]] = defaultdict(list)
    for change in stream(run).changes:
        key = _KEYS.get(change.table)
        if key is not None:
            chains[change.table, (change.after or change.before or {}).get(key)].append(change)
    return chains


def _broken_links(run: Run, changes: list[Change]) -> Iterator[Offence]:
    for last, change in pairwise(changes):
        if change.before != last.after:
            before, after = change.before or {}, last.after or {}
            apart = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
            yield of_change(run, last, "lost: the next write did not begin from it", *apart)
            yield of_change(run, change, "begins from another row than the last write left", *apart)


def _overwritten(run: Run, changes: list[Change]) -> Iterator[Offence]:
    """Yield the pairs of a write that was undone and the one that undid it."""
    claimed: dict[str, int] = {}
    for at, change in enumerate(changes):
        if change.before is None or change.after is None:
            continue
        back = [name for name in _GROWING if change.now(name) < change.was(name) and not _by_replay(change, name)]
        if back:
            undone = _last_that_set(changes[:at], back[0])
            if undone is not None:
                yield of_change(run, undone, f"its {back[0]} was set back by another write", *back)
            yield of_change(run, change, f"sets {back[0]} back to what was read before", *back)
        if change.edge == (State.QUEUED, State.PROCESSING):
            claimed[change.thread] = at
        elif change.moves and change.now("cause") in _BY_CLAIM:
            between = [one for one in changes[claimed.get(change.thread, -1) + 1 : at] if _is_anothers(one, change)]
            if between:
                yield of_change(run, between[-1], "overwritten from what was read before it")
                yield of_change(run, change, "written from what was read at a claim, over another's change")


def _by_replay(change: Change, name: str) -> bool:
    return name in _RESET_BY_REPLAY and bool(change.now("cause") == Cause.REPLAY)


def _last_that_set(changes: list[Change], column: str) -> Change | None:
    return next((change for change in reversed(changes) if change.was(column) != change.now(column)), None)


def _is_anothers(one: Change, than: Change) -> bool:
    """Whether another thread changed what an ending write is made of."""
    return one.thread != than.thread and bool(one.differing() & {"status", "attempt_no", "retry_count", "lease_owner"})


def conserved_rows(run: Run) -> Verdict:
    """No row is deleted or written twice, an event and its state come together, and what was answered is in the store.

    The store ends as the stream says: what it holds and no watched transaction wrote came past the pipeline.
    """
    found = [*_deleted(run), *_made_twice(run), *_made_alone(run), *_answered(run), *_unseen(run)]
    events = count(len(stream(run).of("event")), "event")
    return judged("conserved_rows", run, found, f"{events} written, each with its state, and none lost since")


def _deleted(run: Run) -> Iterator[Offence]:
    changes = (change for change in stream(run).changes if change.op == "delete" and change.table in _FOR_EVER)
    return (of_change(run, change, f"deleted from {change.table}") for change in changes)


def _made_twice(run: Run) -> Iterator[Offence]:
    for (table, _), changes in _chains(run).items():
        inserts = [change for change in changes if change.op == "insert"]
        yield from (of_change(run, change, f"written a second time to {table}", "event_id") for change in inserts[1:])
    keys: set[object] = set()
    for change in stream(run).of("event"):
        key = change.now("idempotency_key")
        if key is not None and key in keys and change.op == "insert":
            yield of_change(run, change, "accepted twice under the same key", "id", "idempotency_key")
        keys.add(key)


def _made_alone(run: Run) -> Iterator[Offence]:
    for changes in stream(run).transactions.values():
        made = {table: {c.event_id: c for c in changes if c.table == table and c.op == "insert"} for table in _PAIR}
        for one, other in (_PAIR, _PAIR[::-1]):
            for event_id in sorted(made[one].keys() - made[other].keys()):
                yield of_change(run, made[one][event_id], f"{one} without {other} in its transaction", "event_id")


def _answered(run: Run) -> Iterator[Offence]:
    """Yield the answers of the API that speak of more new events than it had committed by then."""
    made: defaultdict[int, int] = defaultdict(int)
    for change in stream(run).of("event"):
        made[change.commit_step] += change.op == "insert"
    for thread, steps in stream(run).threads.items():
        if not thread.startswith("api/"):
            continue
        durable = 0
        for step in steps:
            durable = 0 if step.kind == "task" else durable + made.get(step.step, 0)
            if step.kind == "task_done" and step.rows > durable:
                yield of_step(step, f"answered {step.rows} accepted with {durable} in the store")


def _unseen(run: Run) -> Iterator[Offence]:
    """Yield the rows that differ, at the end of the run, from the last image of them."""
    if run.status != "complete":
        return
    rows = stream(run).rows
    events = run.events
    columns = ("event_id", "status", "retry_count", "attempt_no")
    for event_id, *values in zip(*(events[name].tolist() for name in columns), strict=True):
        changes = rows.get(event_id)
        if not changes:
            yield Offence("a row that nobody was seen to write", event_id, run.end_s, "", "", "", "", "", 0, "")
        elif [changes[-1].now(name) for name in columns[1:]] != [str(values[0]), *values[1:]]:
            yield of_change(run, changes[-1], "the store ends with another row than its last change left")

"""What becomes of a row that several workers hold at once, read off the watched stream: which of their writes got lost.

A worker that outlives its lease does not know that its row was given to another. Both finish it, and what each of them
writes rests on what it read before. Which of these writes stand is up to the write guard and the isolation level.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from tem_sim.analysis.stream import stream
from tem_sim.pipeline.settings import WriteGuard
from tem_sim.pipeline.states import Cause, State

if TYPE_CHECKING:
    from tem_sim.analysis.stream import Change, Step, Stream
    from tem_sim.frames import Run

SETTLES = "settle."
# Guards whose failures are counted in a transaction of their own.
COUNTED_APART = (WriteGuard.STALE, WriteGuard.REFRESH)
_BY_RESCUE = (Cause.RESCUE, Cause.CRASHED)


class Held(NamedTuple):
    """One call of the handler that was seen through to its end: which event, by which thread, from when to when."""

    event_id: int
    thread: str
    from_s: float
    until_s: float


class Settling(NamedTuple):
    """What a worker did with one outcome: from the end of its call to the last of its settling's steps.

    `errors` are statements and commits that the store refused, `waited_s` the time spent waiting for others' locks.
    """

    thread: str
    from_s: float
    took_s: float
    waited_s: float
    rollbacks: int
    errors: int


def lost_increments(run: Run) -> list[Change]:
    """Return the finishing writes of a failure that left the row's count lower than they should have.

    Where failures are counted in a transaction before (`stale`, `refresh`), such a write must not lower the count; with
    the other guards it must raise it.
    """
    apart = run.scenario.pipeline.write_guard in COUNTED_APART
    return [change for change in stream(run).states if _fails(change) and _gain(change) < (0 if apart else 1)]


def _fails(change: Change) -> bool:
    """Whether a change is the finishing write of a failed attempt."""
    if not change.label.startswith(SETTLES) or not change.moves or change.before is None:
        return False
    return change.now("status") in (State.FAILED, State.EXTINCT)


def _gain(change: Change) -> int:
    return int(change.now("retry_count") - change.was("retry_count"))


def extra_counts(run: Run) -> dict[int, int]:
    """Return by event how many failures its retry_count has beyond those that were recorded as its attempts' ends."""
    recorded = _recorded_failures(run)
    counts = zip(run.events["event_id"].tolist(), run.events["retry_count"].tolist(), strict=True)
    return {event: number - recorded[event] for event, number in counts if recorded[event] < number}


def _recorded_failures(run: Run) -> Counter[int]:
    records = stream(run).of("attempt")
    return Counter(record.event_id for record in records if record.now("outcome") == "error")


def wrong_extinct(run: Run) -> list[int]:
    """Return the events that were given up with another number of recorded failures than the policy allows."""
    return [change.event_id for change in wrongly_given_up(run)]


def wrongly_given_up(run: Run) -> list[Change]:
    """Return the changes by which they were; see `wrong_extinct`."""
    allowed = run.scenario.policy().max_retries
    if allowed is None:
        return []
    failures = _recorded_failures(run)
    return [
        change
        for change in stream(run).states
        if change.moves and change.now("status") == State.EXTINCT and change.now("cause") == Cause.EXHAUSTED
        if failures[change.event_id] != allowed + 1
    ]


def foreign_ends(run: Run) -> list[Change]:
    """Return the changes that ended an attempt in a row which another worker held at that moment."""
    return [
        change
        for change in stream(run).states
        if change.was("status") == State.PROCESSING
        and change.moves
        and change.now("cause") not in _BY_RESCUE
        and change.was("lease_owner") != change.thread
    ]


def calls(run: Run) -> list[Held]:
    """Return the handler's calls."""
    found = []
    for name, steps in stream(run).threads.items():
        began: Step | None = None
        for step in steps:
            if step.kind == "handle":
                began = step
            elif step.kind == "handled" and began is not None:
                found.append(Held(step.event_id, name, began.t_s, step.t_s))
                began = None
    return found


def workers_per_row(run: Run) -> float:
    """Return how many workers a row had on average while it had any; NaN where nothing was called."""
    rows: dict[int, list[Held]] = {}
    for call in calls(run):
        rows.setdefault(call.event_id, []).append(call)
    held_s = sum(call.until_s - call.from_s for of in rows.values() for call in of)
    covered_s = sum(_covered_s(of) for of in rows.values())
    return held_s / covered_s if covered_s else float("nan")


def _covered_s(of: list[Held]) -> float:
    total_s, until_s = 0.0, float("-inf")
    for call in sorted(of, key=lambda call: call.from_s):
        total_s += max(0.0, call.until_s - max(call.from_s, until_s))
        until_s = max(until_s, call.until_s)
    return total_s


def settlings(run: Run) -> list[Settling]:
    """Return what each settling took, worker by worker, in their order."""
    return [one for name, steps in stream(run).threads.items() for one in _settlings_of(name, steps)]


def _settlings_of(name: str, steps: list[Step]) -> list[Settling]:
    found: list[Settling] = []
    ended_s: float | None = None
    mine: list[Step] = []
    for step in steps:
        if step.label.startswith(SETTLES) and ended_s is not None:
            mine.append(step)
        elif step.kind in ("handled", "task_done", "task_failed"):
            if mine and ended_s is not None:
                found.append(_settling(name, ended_s, mine))
            ended_s, mine = step.t_s if step.kind == "handled" else None, []
    return found


def _settling(name: str, ended_s: float, mine: list[Step]) -> Settling:
    return Settling(
        thread=name,
        from_s=ended_s,
        took_s=mine[-1].t_s - ended_s,
        waited_s=sum(step.waited_s for step in mine),
        rollbacks=sum(step.kind == "rollback" for step in mine),
        errors=sum(bool(step.error) for step in mine),
    )


# --- one of them, to read


def _last_read(change: Change, seen: Stream) -> Step | None:
    reads = [
        step
        for step in seen.threads[change.thread]
        if step.txn == change.txn and step.step < change.step and step.reads and "processing_state" in step.sql
    ]
    return reads[0] if reads else None


def story(run: Run, change: Change) -> list[str]:
    """Return what its workers did to the row around a write that did harm, a line per step.

    They are its author and those who changed the row between the author's read and its write.
    """
    seen = stream(run)
    read = _last_read(change, seen)
    first = change.step if read is None else read.step
    others = {
        other.thread
        for other in seen.rows[change.event_id]
        if first < other.commit_step < change.step and other.thread != change.thread
    }
    threads = [change.thread, *sorted(others)]
    begins = min(_began(seen.threads[name], first) for name in threads)
    steps = [
        step
        for step in seen.steps
        if begins <= step.step <= change.commit_step and step.thread in threads and step.kind != "connect"
    ]
    raised = {one.step: one for one in seen.rows[change.event_id]}
    return [_line(step, raised.get(step.step)) for step in steps]


def _began(steps: list[Step], before: int) -> int:
    """Return the step at which a thread's call ended whose settling was under way at a step."""
    ended = [step.step for step in steps if step.kind == "handled" and step.step <= before]
    return ended[-1] if ended else before


def _line(step: Step, change: Change | None) -> str:
    what = " ".join([step.kind, *_verb(step.sql)]) if step.kind == "statement" else step.kind
    effect = ""
    if change is not None and change.before is not None:
        effect = f"  retry_count {change.was('retry_count')} → {change.now('retry_count')}"
        effect += f", {change.was('status')} → {change.now('status')}" if change.moves else ""
    return f"{step.t_s:9.4f} s  {step.thread:<12} {what}{effect}"


def _verb(sql: str) -> list[str]:
    words = sql.replace(" OR FAIL", "").split()
    table = next((words[n + 1] for n, word in enumerate(words[:-1]) if word in ("FROM", "INTO", "UPDATE")), "")
    return [words[0], table] if words else []

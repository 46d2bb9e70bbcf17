"""The state machine as the row images show it: which edges rows took, which were tried, and the shape of each row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tem_sim.analysis.rules import ROUNDING_S, rules
from tem_sim.analysis.stream import stream
from tem_sim.checks.offences import Offence, judged, of_change, of_step
from tem_sim.checks.verdict import Verdict, count
from tem_sim.pipeline.settings import WriteGuard
from tem_sim.pipeline.states import CAUSES, State

if TYPE_CHECKING:
    from tem_sim.analysis.stream import Change, Step
    from tem_sim.frames import Run

# What may change of a row that stays in its state: a sweep's note, the lease's renewal, the mark of a suspect.
_MAY_CHANGE: dict[str, frozenset[str]] = {
    State.QUEUED: frozenset({"woken_at"}),
    State.PROCESSING: frozenset({"lease_expires_at", "started_at"}),
}
# The first version and its fix count a failure in a transaction of its own, before the write that ends the attempt.
COUNTS_APART = (WriteGuard.STALE, WriteGuard.REFRESH)
_COUNTED = frozenset({"retry_count", "last_error", "version"})
# Guards that keep a late worker from even trying an illegal edge; under the others the store's refusal is the guard.
GUARDED = (WriteGuard.FENCED, WriteGuard.VERSION)
_NEEDS: dict[str, tuple[str, ...]] = {
    State.QUEUED: (),
    State.PROCESSING: ("lease_owner", "lease_expires_at"),
    State.FAILED: ("next_retry_at",),
    State.PROCESSED: ("finished_at",),
    State.EXTINCT: ("finished_at",),
}
_COLUMNS = sorted({name for names in _NEEDS.values() for name in names})


def image_edges(run: Run) -> list[Offence]:
    """Find the changes of rows that take no legal edge, and the statements by which one was tried and refused."""
    guard = rules(run).settings.write_guard
    counted = _COUNTED if guard in COUNTS_APART else frozenset[str]()
    found = [of_change(run, *wrong) for change in stream(run).states if (wrong := _wrong_edge(change, counted))]
    return found + [of_step(step, "an illegal edge was tried and refused by the store") for step in _refused(run)]


def _wrong_edge(change: Change, counted: frozenset[str]) -> tuple[Change, str] | None:
    """Return the change with what is wrong with it; deletions are another check's."""
    if change.after is None:
        return None
    before, after = change.edge
    if not change.moves:
        strange = change.differing() - _MAY_CHANGE.get(str(after), frozenset()) - counted
        return (change, f"{after} changed and took no edge") if strange else None
    causes = CAUSES.get((None if before is None else State(before), State(str(after))), frozenset())
    if change.now("cause") not in causes:
        return change, f"illegal edge {before or 'none'} to {after} ({change.now('cause')})"
    return None


def _refused(run: Run) -> Iterator[Step]:
    """Yield the updates of rows that the store's rule of edges refused, where the guard should have come before."""
    return (step for step in _broken_rules(run) if "shape" not in step.error and "counts" not in step.error)


def _broken_rules(run: Run) -> Iterator[Step]:
    """Yield the statements on rows that a CHECK refused; inserts fail of keys that are taken, which is no offence."""
    if rules(run).settings.write_guard not in GUARDED:
        return
    for step in stream(run).steps:
        if step.kind == "statement" and _is_refusal(step.error) and _updates_rows(step.sql):
            yield step


def _is_refusal(error: str) -> bool:
    """Whether a CHECK said no: SQLite's driver has one error for all constraints, PostgreSQL's one for each kind."""
    return error.startswith(("IntegrityError", "CheckViolation"))


def _updates_rows(sql: str) -> bool:
    head = sql.partition(" SET ")[0]
    return "UPDATE" in head and "processing_state" in head


def row_shape(run: Run) -> Verdict:
    """A row has what its state calls for and nothing else, and each claim's lease is as long as the settings say.

    PROCESSING has a lease, FAILED a time of its next retry, what is terminal the time of its end.
    """
    found = [of_change(run, change, *wrong) for change in stream(run).states if (wrong := _wrong_shape(change))]
    lease_s = rules(run).settings.lease_s
    if lease_s is not None:
        found += [
            of_change(run, change, f"its lease is not {lease_s:g} s long", "lease_owner", "lease_expires_at")
            for change in stream(run).states
            if change.edge == (State.QUEUED, State.PROCESSING) and not _is_leased(change, lease_s)
        ]
    found += [
        of_step(step, "a row without its shape was refused by the store")
        for step in _broken_rules(run)
        if "shape" in step.error or "counts" in step.error
    ]
    return judged("row_shape", run, found, f"all of {count(len(stream(run).states), 'image')} have their shape")


def _wrong_shape(change: Change) -> tuple[str, ...] | None:
    """Return the problem of a row's new image and the columns that show it."""
    if change.after is None:
        return None
    status = str(change.now("status"))
    needed = _NEEDS[status]
    wrong = [name for name in _COLUMNS if (change.now(name) is not None) != (name in needed)]
    if wrong:
        words = [f"{'without' if name in needed else 'with'} {name}" for name in wrong]
        return f"{status} {' and '.join(words)}", "status", *wrong
    counts = ("retry_count", "crash_count", "attempt_no", "replay_count")
    below = [name for name in counts if change.now(name) < 0]
    return (f"{' and '.join(below)} below zero", *below) if below else None


def _is_leased(change: Change, lease_s: float) -> bool:
    until = change.now("lease_expires_at")
    return until is not None and abs(until - change.at_s - lease_s) <= ROUNDING_S + 1e-9 * abs(until)

"""Who may move a row that is being worked on: its holder, by its token, or the rescue once the lease has run out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tem_sim.analysis.rules import ROUNDING_S, rules
from tem_sim.analysis.stream import stream
from tem_sim.checks.edges import COUNTS_APART
from tem_sim.checks.offences import Offence, judged, of_change, of_step
from tem_sim.checks.verdict import Verdict, count
from tem_sim.pipeline.settings import WriteGuard
from tem_sim.pipeline.states import Cause, State

if TYPE_CHECKING:
    from tem_sim.analysis.stream import Change, Step
    from tem_sim.frames import Run

_BY_RESCUE = (Cause.RESCUE, Cause.CRASHED)
_CLAIM = (State.QUEUED, State.PROCESSING)
_HOLDERS = ("status", "lease_owner", "attempt_no", "lease_expires_at")
# What stands in a finishing write's WHERE, by the guard that promises it.
_FENCE = {WriteGuard.FENCED: "attempt_no", WriteGuard.VERSION: "version"}
_SETS_STATUS = re.compile(r"\bstatus\s*=\s*'(\w+)'")
_SETS_CAUSE = re.compile(r"\bcause\s*=\s*'(\w+)'")


def attribution(run: Run) -> Verdict:
    """A row that is PROCESSING is moved by its holder, or by the rescue once its lease has run out, and nobody else.

    A claim is made in the claimer's own name, and a finished attempt is recorded under the token that the row had.
    """
    states = stream(run).states
    apart = rules(run).settings.write_guard in COUNTS_APART
    found = [of_change(run, change, problem, *_HOLDERS) for change in states for problem in _strangers(change, apart)]
    found += _wrong_records(run)
    moves = sum(change.was("status") == State.PROCESSING and change.moves for change in states)
    fine = f"each of {count(moves, 'end')} was by its row's holder, or by the rescue after the lease"
    return judged("attribution", run, found, fine)


def _strangers(change: Change, counts_apart: bool) -> Iterator[str]:
    """Yield what is wrong about who made a change."""
    if change.edge == _CLAIM and change.now("lease_owner") != change.thread:
        yield "claimed in another's name"
    if change.was("status") != State.PROCESSING or change.after is None:
        return
    owner = change.was("lease_owner")
    if not change.moves:
        changed = change.differing()
        if changed & {"lease_owner", "attempt_no"}:
            yield "taken over from its holder"
        elif owner != change.thread and (counts_apart or changed & {"lease_expires_at", "started_at"}):
            yield "changed by another than its holder"
    elif change.now("cause") in _BY_RESCUE:
        expires = change.was("lease_expires_at")
        if expires is None or expires > max(change.at_s, change.clock_s) + ROUNDING_S:
            yield "taken back before its lease ran out"
    elif owner != change.thread:
        yield "ended by another than its holder"


def _wrong_records(run: Run) -> list[Offence]:
    """Find ends that are recorded under another token or worker than the row had."""
    found = []
    for changes in stream(run).transactions.values():
        records = {change.event_id: change for change in changes if change.table == "attempt" and change.op == "insert"}
        for change in changes:
            if change.table != "processing_state" or change.was("status") != State.PROCESSING or not change.moves:
                continue
            record = records.get(change.event_id)
            if record is None:
                found.append(of_change(run, change, "ended without a record of its attempt", *_HOLDERS))
            elif record.now("attempt_no") != change.was("attempt_no"):
                found.append(of_change(run, record, "recorded under another token than the row's", "attempt_no"))
            elif record.now("worker") != change.was("lease_owner"):
                found.append(of_change(run, record, "recorded in another's name", "worker"))
    return found


def fencing(run: Run) -> Verdict:
    """A claim raises the row's token by one, nothing else changes it, and each finishing write asks for it.

    A finishing write whose WHERE leaves the token out is reported even where it did no harm. Of write guards that
    promise none only the token itself is judged.
    """
    guard = rules(run).settings.write_guard
    found = [
        of_change(run, change, problem, "status", "attempt_no")
        for change in stream(run).states
        if (problem := _wrong_token(change))
    ]
    fence = _FENCE.get(guard)
    writes = _finishing_writes(run) if fence else {}
    for sql, (step, times) in writes.items():
        if fence and fence not in _condition(sql):
            found.append(of_step(step, f"finishing write without {fence} in its WHERE, {count(times, 'time')}"))
    claims = count(sum(change.edge == _CLAIM for change in stream(run).states), "claim")
    asked = f"{count(len(writes), 'finishing write')} ask for it" if fence else f"write_guard: {guard} asks for none"
    return judged("fencing", run, found, f"each of {claims} raised the token by one; {asked}")


def _wrong_token(change: Change) -> str:
    """Return what is wrong with a change's token; empty when nothing is."""
    if change.after is None:
        return ""
    if change.before is None:
        return "created with a token" if change.now("attempt_no") else ""
    raised = change.now("attempt_no") - change.was("attempt_no")
    if change.edge == _CLAIM:
        return "" if raised == 1 else "claimed without raising the token by one"
    return "the token changed without a claim" if raised else ""


def _finishing_writes(run: Run) -> dict[str, tuple[Step, int]]:
    """Return each statement's text that moves rows out of PROCESSING, with its first step and how often it ran."""
    seen = stream(run)
    by_effect = {change.step for change in seen.states if change.was("status") == State.PROCESSING and change.moves}
    found: dict[str, tuple[Step, int]] = {}
    for step in seen.steps:
        if step.kind == "statement" and (step.step in by_effect or _finishes(step.sql)):
            first, times = found.get(step.sql, (step, 0))
            found[step.sql] = first, times + 1
    return found


def _finishes(sql: str) -> bool:
    """Whether a statement's text says that it ends attempts, whether or not it found any."""
    if "UPDATE" not in sql or "processing_state" not in sql:
        return False
    changes = sql.partition(" SET ")[2].partition(" WHERE ")[0]
    status = _SETS_STATUS.search(changes)
    if status is None:
        return False
    if status.group(1) in (State.PROCESSED, State.FAILED, State.EXTINCT):
        return True
    cause = _SETS_CAUSE.search(changes)
    return cause is not None and cause.group(1) in (*_BY_RESCUE, Cause.RELEASE)


def _condition(sql: str) -> str:
    """Return the WHERE of an UPDATE, without what it returns."""
    return sql.partition(" SET ")[2].partition(" WHERE ")[2].partition(" RETURNING ")[0]

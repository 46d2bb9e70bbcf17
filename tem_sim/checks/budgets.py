"""How often an event may fail or lose its worker, counted from the edges its row took and not from its counters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tem_sim.analysis.rules import ROUNDING_S, rules
from tem_sim.analysis.stream import stream
from tem_sim.checks.edges import COUNTS_APART
from tem_sim.checks.offences import judged, of_change
from tem_sim.checks.verdict import Verdict, count
from tem_sim.pipeline.states import Cause, State

if TYPE_CHECKING:
    from tem_sim.analysis.rules import Rules
    from tem_sim.analysis.stream import Change
    from tem_sim.frames import Run

_FAILURES = (Cause.ERROR, Cause.EXHAUSTED)
_COUNTS = ("status", "retry_count", "crash_count")


def retry_accounting(run: Run) -> Verdict:
    """`retry_count` grows by exactly one with each failure and changes with nothing else but a replay, which clears it.

    Where the write guard counts a failure in a transaction of its own, that one counts, and only its holder may.
    """
    apart = rules(run).settings.write_guard in COUNTS_APART
    found = [
        of_change(run, change, problem, *_COUNTS)
        for changes in stream(run).rows.values()
        for change, problem in _miscounted(changes, apart)
    ]
    failures = count(sum(change.now("cause") in _FAILURES and change.moves for change in stream(run).states), "failure")
    return judged("retry_accounting", run, found, f"each of {failures} was counted once, and nothing else was")


def _miscounted(changes: list[Change], apart: bool) -> Iterator[tuple[Change, str]]:
    counted = False
    for change in changes:
        if change.after is None:
            continue
        before, after = change.was("retry_count") or 0, change.now("retry_count")
        if not change.moves:
            if after != before:
                counted = apart and after == before + 1 and change.was("lease_owner") == change.thread
                if not counted:
                    yield change, "counted without a failure"
            continue
        failed = change.now("cause") in _FAILURES
        fresh = change.before is None or change.now("cause") == Cause.REPLAY
        expected = 0 if fresh else before + (failed and not counted)
        if after != expected:
            yield change, f"{after - before:+d} where {expected - before:+d} was due"
        counted = False


def extinct_budget(run: Run) -> Verdict:
    """An event ends EXTINCT exactly when its budget of failures, crashes or time is spent, not before and not later."""
    rule = rules(run)
    found = []
    for changes in stream(run).rows.values():
        life = _Life()
        for change in changes:
            life.take(change)
            problem = _wrong_end(change, life, rule) if change.moves and change.after is not None else ""
            if problem:
                found.append(of_change(run, change, problem, *_COUNTS))
    ends = count(sum(change.now("status") == State.EXTINCT and change.moves for change in stream(run).states), "event")
    return judged(
        "extinct_budget", run, found, f"{ends} EXTINCT, each with its budget spent, and none was spent unseen"
    )


@dataclass(slots=True)
class _Life:
    """What an event has suffered since its submission or last replay."""

    failures: int = 0

    def take(self, change: Change) -> None:
        """Count what a change says."""
        if change.now("cause") == Cause.REPLAY and change.moves:
            self.failures = 0
        elif change.moves and change.was("status") == State.PROCESSING and change.now("cause") in _FAILURES:
            self.failures += 1


def _wrong_end(change: Change, life: _Life, rule: Rules) -> str:
    """Return why the event should not have taken this edge; empty where it should."""
    settings, cause = rule.settings, change.now("cause")
    most, crashes = settings.policy.max_retries, settings.crash_budget
    if cause == Cause.ERROR and most is not None and life.failures > most:
        return f"to be tried again after {life.failures} failures, where {most} retries are allowed"
    budget_s = settings.policy.budget_s
    if cause == Cause.ERROR and budget_s is not None:
        # A row without a due time has lost its shape, which is for another check to say.
        next_s = (change.now("next_retry_at") or 0.0) - change.now("life_began_at")
        return f"to be tried again at an age of {next_s:g} s, past its budget" if next_s > budget_s + ROUNDING_S else ""
    if cause == Cause.EXHAUSTED:
        return _wrongly_exhausted(life, most, in_time=budget_s is not None)
    if cause in (Cause.RESCUE, Cause.CRASHED):
        return _wrongly_rescued(change, crashes)
    if cause == Cause.EXPIRED:
        age_s = change.at_s - change.now("life_began_at")
        if settings.deadline_s is None or age_s < settings.deadline_s - rule.skew_s - ROUNDING_S:
            return f"expired at an age of {age_s:g} s, before its deadline"
    return ""


def _wrongly_rescued(change: Change, crashes: int | None) -> str:
    """Return what is wrong with the crashes of a row whose lease was lost.

    The first loss counts; from then on one counts only where the event was in its handler, which the row says.
    """
    cause, before, lost = change.now("cause"), change.was("crash_count") or 0, change.now("crash_count")
    blamed = before == 0 or change.was("started_at") is not None
    if lost != before + blamed:
        return f"{lost} crashes counted after {before}, where {'one more' if blamed else 'no more'} was due"
    if cause == Cause.RESCUE and crashes is not None and lost > crashes:
        return f"rescued after {lost} crashes, where {crashes} are allowed"
    if cause == Cause.CRASHED and (crashes is None or lost != crashes + 1):
        return f"given up after {lost} crashes, where {'any number' if crashes is None else crashes} are allowed"
    return ""


def _wrongly_exhausted(life: _Life, most: int | None, *, in_time: bool) -> str:
    if most is not None and life.failures == most + 1:
        return ""
    if in_time and (most is None or life.failures <= most):
        return ""
    allowed = "any number of" if most is None else most
    return f"given up after {life.failures} failures, where {allowed} retries are allowed"

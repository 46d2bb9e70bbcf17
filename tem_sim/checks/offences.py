"""What checks of the watched stream have in common: a row per offence that says who, when, by what statement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from tem_sim.analysis.stream import stream
from tem_sim.checks.verdict import Verdict, count, verdict

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.analysis.stream import Change, Step
    from tem_sim.frames import Run

NOT_WATCHED = "the run was not watched (store.watch: off), so nobody saw who did what"
# Statements are cut here: what is left out stands in the frame `steps` under the step's number.
_SQL_SHOWN = 240
# What is shown of a row when no column is named.
_SHOWN = ("status", "attempt_no", "lease_owner", "retry_count")


class Offence(NamedTuple):
    """One thing that must not be: who did it, when by true time, by what statement, and the values before and after."""

    problem: str
    event_id: int
    t_s: float
    actor: str
    thread: str
    label: str
    old: str
    new: str
    step: int
    sql: str


def of_change(run: Run, change: Change, problem: str, *columns: str) -> Offence:
    """Return the offence that a change is; `columns` are those whose values tell."""
    shown = columns or _SHOWN
    return Offence(
        problem=problem,
        event_id=change.event_id,
        t_s=change.t_s,
        actor=change.actor,
        thread=change.thread,
        label=change.label,
        old=_told(change.before, shown),
        new=_told(change.after, shown),
        step=change.step,
        sql=_cut(stream(run).sql(change)),
    )


def of_step(step: Step, problem: str, event_id: int = 0) -> Offence:
    """Return the offence that a step is."""
    return Offence(
        problem=problem,
        event_id=event_id,
        t_s=step.t_s,
        actor=step.actor,
        thread=step.thread,
        label=step.label,
        old="",
        new=step.error,
        step=step.step,
        sql=_cut(step.sql),
    )


def _told(row: dict[str, object] | None, columns: Iterable[str]) -> str:
    if row is None:
        return "no row"
    return " ".join(f"{name}={_value(row.get(name))}" for name in columns)


def _value(value: object) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _cut(sql: str) -> str:
    return sql if len(sql) <= _SQL_SHOWN else f"{sql[: _SQL_SHOWN - 1]}…"


def table(found: Sequence[Offence]) -> pd.DataFrame:
    """Return the offences as a table."""
    import pandas as pd

    return pd.DataFrame(found, columns=list(Offence._fields))


def judged(name: str, run: Run, found: Sequence[Offence], fine: str) -> Verdict:
    """Return false with the offences, true with the sentence `fine`; unknown for a run that nobody watched."""
    if not stream(run).watched:
        return verdict(name, "unknown", NOT_WATCHED)
    if not found:
        return verdict(name, "true", fine)
    return verdict(name, "false", summed(found), table(found))


def summed(found: Sequence[Offence]) -> str:
    """Say how often each problem was found, and who did the first."""
    parts = ", ".join(f"{number:,} × {problem}" for problem, number in Counter(one.problem for one in found).items())
    first = found[0]
    by = first.label or first.thread
    where = f" on event {first.event_id}" if first.event_id else ""
    return f"{count(len(found), 'offence')}: {parts}; first by {first.thread} in {by} at {first.t_s:.6f} s{where}"

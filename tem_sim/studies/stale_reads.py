"""Stale reads: what each write guard saves when several workers hold one row, and what it costs.

A worker whose call outlives its lease goes on as if the row were its own, while another has it. Statement by statement,
on real connections, it is seen whose writes stand: for each guard, isolation level and length of the calls.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from tem_sim.analysis import stale_reads as seen
from tem_sim.analysis.result import Result
from tem_sim.analysis.statistics import mean_interval, wilson
from tem_sim.checks.verdict import count
from tem_sim.pipeline.settings import WriteGuard
from tem_sim.scenario.models import Scenario
from tem_sim.scenario.store import Store
from tem_sim.studies.replications import Replications, replicate

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.analysis.stream import Change
    from tem_sim.frames import Run
    from tem_sim.studies.progress import Progress

GUARDS = tuple(str(guard) for guard in WriteGuard)
ISOLATIONS = ("read_committed", "snapshot", "serializable")
# The mean length of a call, in leases.
CALLS = (0.1, 0.75, 1.5)
SEEDS = 20
# What must not happen to a row, in words; then what is no harm by itself.
HARMS: dict[str, str] = {
    "lost_increments": "lose an increment",
    "wrong_extinct": "give an event up wrongly",
    "foreign_ends": "have a row ended by another than its holder",
    "extra_counts": "count a failure that is no attempt's end",
}
OTHERS: dict[str, str] = {
    "superseded": "have an attempt superseded",
    "duplicate_effects": "have an effect twice",
}
MEASURES = {**HARMS, **OTHERS}
COSTS = ("statements_per_event", "rollbacks_per_event", "refused_per_event", "settle_ms", "lock_wait_ms")
# The harms that one write does, the first that there is to be read.
READ: dict[str, Callable[[Run], list[Change]]] = {
    "lost_increments": seen.lost_increments,
    "wrong_extinct": seen.wrongly_given_up,
    "foreign_ends": seen.foreign_ends,
}
# Of the stories that there are the shortest is told, out of the first so many seeds that have one.
MOST_READ = 3


@dataclass(frozen=True, slots=True)
class Readable:
    """One harm, of `READ`, that can be read: `scenario` shows it under its own seed, `lines` are its steps."""

    scenario: Scenario
    event_id: int
    harm: str
    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class StaleReads(Result):
    """Columns: guard, isolation, calls (mean length in leases), workers_per_row, seeds.

    Then of each of `MEASURES` the share of seeds in which it happened at all, with Wilson's 95 % interval `…_low` and
    `…_high`, and `…_seeds`, in how many; and the mean of each of `COSTS`, `settle_ms` with Student's t interval.
    `rows` are the runs, `readable` one seed in which `refresh` loses an increment, or else does
    another harm; None where there is none.
    """

    rows: Replications
    readable: Readable | None


def shared_rows() -> Scenario:
    """Return the scenario of the study: six events, a worker for each, a slow database, four of five calls fail."""
    return Scenario.model_validate(
        {
            "scenario": "shared_rows",
            "horizon": "60s",
            "arrivals": {"kind": "burst", "at": "500ms", "events": 6},
            "pipeline": {
                "backoff": {"growth": "fixed", "base": "1s", "jitter": "full", "max_retries": 3},
                "batch_size": 1,
                "lease": "2s",
                "sweep_after": "3s",
                "crash_budget": "off",
            },
            "workers": {"count": 6, "concurrency": 1, "startup": "100ms"},
            "beat": {"retry_every": "500ms", "rescue_every": "250ms", "relay_every": "2s"},
            "store": {
                "interleave": "statement",
                "statement_latency": {"kind": "exponential", "mean": "100ms"},
                "commit_latency": {"kind": "exponential", "mean": "50ms"},
            },
            "handler": {"service_time": "200ms", "failure_rate": 0.8},
            "users": {"count": 1},
        }
    )


def contended(scenario: Scenario, guard: str, isolation: str, calls: float) -> Scenario:
    """Return a scenario with this guard and isolation, and calls of exponential length about so many leases long."""
    lease_s = scenario.pipeline.lease_s
    if lease_s is None:
        raise ValueError("pipeline.lease: is off, so that no row is ever given to another worker; set one")
    plain = scenario.resolved()
    sections = {name: dict(part) for name in ("pipeline", "store", "handler") if isinstance(part := plain[name], dict)}
    sections["pipeline"]["write_guard"] = guard
    sections["store"] |= {"interleave": "statement", "isolation": isolation, "watch": True}
    sections["handler"]["service_time"] = {"kind": "exponential", "mean": round(calls * lease_s, 6)}
    return Scenario.model_validate({**plain, **sections})


def stale_reads(
    scenario: Scenario | None = None,
    guards: Sequence[str] = GUARDS,
    isolations: Sequence[str] = ISOLATIONS,
    calls: Sequence[float] = CALLS,
    seeds: int | Sequence[int] = SEEDS,
    *,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> StaleReads:
    """Run every guard × isolation × length of calls (in leases) under the same seeds; by default `shared_rows`."""
    base = shared_rows() if scenario is None else scenario
    _known("guards", guards, GUARDS)
    _known("isolations", isolations, ISOLATIONS)
    if not calls or any(not 0 < one < math.inf for one in calls):
        raise ValueError("calls: must be lengths in leases, greater than 0")
    cells = list(product(guards, isolations, calls))
    variants = {_name(*cell): contended(base, *cell) for cell in cells}
    rows = replicate(variants, seeds, measure=measured, jobs=jobs, progress=progress)
    table = _table(rows, cells)
    readable = _readable(rows, variants)
    return StaleReads(
        title=f"Stale reads: {base.name}",
        verdict=verdict(table, readable),
        table=table,
        notes=_notes(base, rows),
        headline=("guard", "isolation", "calls", "workers_per_row", *HARMS, "settle_ms"),
        rows=rows,
        readable=readable,
    )


def _known(what: str, given: Sequence[str], known: Sequence[str]) -> None:
    strangers = [one for one in given if one not in known]
    if strangers or not given:
        raise ValueError(f"{what}: must be of {', '.join(known)} (got {', '.join(strangers) or 'none'})")


def _name(guard: str, isolation: str, calls: float) -> str:
    return f"{guard}, {isolation}, {calls:g} leases"


# --- one run


def measured(run: Run) -> dict[str, float]:
    """Return what happened to the rows of one run, counted, and what settling them took."""
    settled = seen.settlings(run)
    events = max(1, len(run.events))
    effects = run.attempts.dropna(subset=["effect_s"]).groupby("event_id").size()
    counted = run.samples.loc[run.samples["name"] == "database_statements", "value"]
    return {
        "lost_increments": len(seen.lost_increments(run)),
        "wrong_extinct": len(seen.wrong_extinct(run)),
        "foreign_ends": len(seen.foreign_ends(run)),
        "extra_counts": sum(seen.extra_counts(run).values()),
        "superseded": int((run.attempts["outcome"] == "superseded").sum()),
        "duplicate_effects": int((effects - 1).sum()),
        "workers_per_row": seen.workers_per_row(run),
        "statements_per_event": float(counted.iloc[-1]) / events,
        "rollbacks_per_event": sum(one.rollbacks for one in settled) / events,
        "refused_per_event": sum(one.errors for one in settled) / events,
        "settle_ms": 1000 * _mean([one.took_s for one in settled]),
        "lock_wait_ms": 1000 * _mean([one.waited_s for one in settled]),
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


# --- all of them


def _table(rows: Replications, cells: Sequence[tuple[str, str, float]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame([_line(rows, *cell) for cell in cells])


def _line(rows: Replications, guard: str, isolation: str, calls: float) -> dict[str, object]:
    name = _name(guard, isolation, calls)
    runs = rows.rows[(rows.rows["variant"] == name) & (rows.rows["error"] == "")]
    line: dict[str, object] = {"guard": guard, "isolation": isolation, "calls": calls}
    line |= {"workers_per_row": float(runs["workers_per_row"].mean()), "seeds": len(runs)}
    for measure in MEASURES:
        times = int((runs[measure] > 0).sum())
        share, low, high, _ = wilson(times, len(runs))
        line |= {measure: share, f"{measure}_low": low, f"{measure}_high": high, f"{measure}_seeds": times}
    line |= {cost: float(runs[cost].mean()) for cost in COSTS}
    _, line["settle_ms_low"], line["settle_ms_high"], _ = mean_interval(runs["settle_ms"].to_numpy())
    return line


def _readable(rows: Replications, variants: dict[str, Scenario]) -> Readable | None:
    """Run the first seeds in which `refresh` does some harm again, and return the story with the fewest steps.

    A lost increment if there is one, else an event given up wrongly, else a row that another than its holder ended.
    """
    of = rows.rows[rows.rows["variant"].str.startswith(f"{WriteGuard.REFRESH},")]
    for harm, changes in READ.items():
        hit = of[of[harm] > 0].head(MOST_READ)
        found = [
            one
            for name, seed in zip(hit["variant"], hit["seed"].tolist(), strict=True)
            for one in _stories(variants[name].model_copy(update={"seed": seed}), harm, changes)
        ]
        if found:
            return min(found, key=lambda one: len(one.lines))
    return None


def _stories(scenario: Scenario, harm: str, changes: Callable[[Run], list[Change]]) -> Iterator[Readable]:
    from tem_sim.sim.world import simulate

    run = simulate(scenario, progress=lambda *_: None)
    for change in changes(run):
        yield Readable(scenario, change.event_id, harm, tuple(seen.story(run, change)))


# --- in words


def verdict(table: pd.DataFrame, readable: Readable | None) -> str:
    """Say whether `refresh` suffices, which guards had no harm, and what the safest of them costs."""
    parts = [_of_refresh(table), _pointer(readable), _harmless(table), _cost(table)]
    return " ".join(part for part in parts if part)


def _of_refresh(table: pd.DataFrame) -> str:
    of = table[table["guard"] == str(WriteGuard.REFRESH)]
    if of.empty:
        return ""
    told = [
        f"{words} in {int(of[f'{name}_seeds'].sum())}" for name, words in HARMS.items() if of[f"{name}_seeds"].sum() > 0
    ]
    runs = int(of["seeds"].sum())
    if not told:
        return f"`refresh` did no harm in {count(runs, 'run')}: more seeds, or longer calls, may show one."
    by_level = of.groupby("isolation", sort=False)["lost_increments_seeds"].sum()
    levels = ", ".join(f"{level} {number}" for level, number in by_level.items())
    harms = "; ".join(told)
    return f"`refresh` does not suffice: of {count(runs, 'run')} with it, some {harms} (increments lost: {levels})."


def _pointer(readable: Readable | None) -> str:
    if readable is None:
        return ""
    scenario = readable.scenario
    lease_s = scenario.pipeline.lease_s or math.nan
    other = "" if readable.harm == "lost_increments" else f" ({readable.harm})"
    return (
        f"Readable: seed {scenario.seed} under {scenario.store.isolation}, calls of "
        f"{scenario.handler.service_time.mean_s / lease_s:g} leases, event {readable.event_id}{other}."
    )


def _harmless(table: pd.DataFrame) -> str:
    told = []
    for guard, of in table.groupby("guard", sort=False):
        if not sum(int(of[f"{name}_seeds"].sum()) for name in HARMS):
            told.append(f"`{guard}` (at most {wilson(0, int(of['seeds'].sum())).high:.1%} of runs, by the interval)")
    if told:
        return f"No harm in any run of {' and '.join(told)}."
    return "Each guard did some harm." if table["guard"].nunique() > 1 else ""


def _cost(table: pd.DataFrame) -> str:
    """Compare the settling of `fenced` with that of `refresh`, where nobody disputes a row."""
    calm = table[table["calls"] == table["calls"].min()]
    of = calm.groupby("guard")[["settle_ms", "statements_per_event"]].mean()
    pair = [str(WriteGuard.FENCED), str(WriteGuard.REFRESH)]
    if not set(pair) <= set(of.index):
        return ""
    (fenced_ms, fenced_n), (refresh_ms, refresh_n) = (of.loc[guard].tolist() for guard in pair)
    return (
        f"Undisputed, `fenced` settles in {fenced_ms:.3g} ms with {fenced_n:.3g} statements per event in all, "
        f"`refresh` in {refresh_ms:.3g} ms with {refresh_n:.3g}."
    )


def _notes(base: Scenario, rows: Replications) -> tuple[str, ...]:
    store: Store = base.store
    return (
        f"{count(rows.rows['seed'].nunique(), 'seed')} per row of the table, the same for all; shares are of seeds in "
        "which it happened at all, with Wilson's 95 % intervals.",
        f"SQLite, statement by statement: {store.statement_latency_s.mean_s * 1000:g} ms per statement and "
        f"{store.commit_latency_s.mean_s * 1000:g} ms per commit on average, so that settlings often overlap. A faster "
        "store has the same races, less often.",
        "calls: the mean length of a handler's call, in leases. workers_per_row: how many were at work on a row on "
        "average while any was.",
        "lost_increments: a failure's finishing write that left retry_count lower than it should. wrong_extinct: given "
        "up after another number of recorded failures than the policy says. extra_counts: failures counted whose "
        "attempt was then refused as superseded.",
        "settle_ms: from the end of a call to the last step of its settling; lock_wait_ms the part of it that was "
        "spent waiting for others' locks. refused_per_event: statements that the store itself refused.",
        "duplicate_effects are none of a guard's doing: at-least-once allows them, and the longer the calls the more.",
        *rows.broken_notes(),
    )

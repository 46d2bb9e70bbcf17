"""Which retry policy for this outage: every preset over the same events and the same luck, and the front of the best.

What counts are the events submitted while the outage lasted, the same ones for every policy: how many of them ended
EXTINCT, how much longer the others took than in a run without the outage, and how hard all that came back hit the
dependency. The first is a demand, the other two are traded against each other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from tem_sim.analysis.backlog import span_recovery
from tem_sim.analysis.latency import latencies
from tem_sim.analysis.result import Result
from tem_sim.analysis.statistics import Paired, false_discoveries, mean_interval, paired
from tem_sim.analysis.storm import bin_numbers
from tem_sim.pipeline.presets import PRESETS
from tem_sim.scenario.seeds import DEFAULT_SEEDS, seed_list
from tem_sim.scenario.variants import scenario_with, the_outage, with_outage
from tem_sim.studies.cells import Row, cells_of, run_cells
from tem_sim.studies.replications import FALSE_SHARE, Replications, interval_text

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from tem_sim.frames import Run
    from tem_sim.scenario.models import Scenario
    from tem_sim.studies.progress import Progress

# The scenario's own policy, as it is called in tables.
OWN = "this scenario"
# A policy that loses more of the hit events than this is out of the race, however gentle and quick it is.
TOLERATED = 0.01
# What is traded; less is better in each.
TRADED = ("peak_per_s", "added_latency_s")
MEASURES = ("extinct_share", "unfinished_share", *TRADED, "drain_s", "attempts_per_event")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Bakeoff(Result):
    """The policies, the best first.

    Columns: policy, max_retries (NaN for no limit), then each of `MEASURES` with its t interval as `…_low` and
    `…_high`; `in_race` (loses no more than is tolerated), `on_front` (and nobody beats it), `beaten_by` (who is no
    worse in both traded measures and surely better in one). `rows` are the runs, for differences between any two:
    `rows.compare("aws-full", "sidekiq")`.
    """

    rows: Replications
    tolerated: float


def bakeoff(
    scenario: Scenario,
    policies: Sequence[str] | Mapping[str, str] | None = None,
    seeds: int | Sequence[int] = DEFAULT_SEEDS,
    *,
    max_retries: int | None = None,
    tolerated: float = TOLERATED,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Bakeoff:
    """Run a scenario's outage under each policy, its own included.

    `policies`: names of presets, all if left out; or a mapping from names of one's own to what `--set
    pipeline.backoff=` takes. Each policy has its own limits of retries and time, since they are part of it; with
    `max_retries` all presets have that limit instead, and no limit of time, so that their delays alone are compared.
    `tolerated` is the share of events that may be lost. The scenario must have one outage; other faults stay.
    """
    outage = the_outage(scenario)
    window = outage.start_s, outage.start_s + outage.for_s
    # The outage comes last of the faults, so that the others have the luck that they have in the control.
    entrants = _entrants(with_outage(scenario, outage.for_s), policies, max_retries)
    rows = Replications.of(_runs(entrants, seed_list(seeds), window, jobs, progress))
    table = _table(rows, entrants, tolerated)
    return Bakeoff(
        title=f"Retry policies over the outage of {scenario.name}",
        verdict=verdict(table, tolerated),
        table=table,
        notes=_notes(rows, window, max_retries, tolerated),
        headline=("policy", *MEASURES, "on_front"),
        rows=rows,
        tolerated=tolerated,
    )


def _entrants(
    scenario: Scenario, policies: Sequence[str] | Mapping[str, str] | None, max_retries: int | None
) -> dict[str, Scenario]:
    """Return the scenario under each policy."""
    if not isinstance(policies, Mapping):
        limits = "" if max_retries is None else f", max_retries: {max_retries}, budget: off"
        policies = {name: f"{{preset: {name}{limits}}}" for name in (PRESETS if policies is None else policies)}
    made = {name: scenario_with(scenario, f"pipeline.backoff={backoff}") for name, backoff in policies.items()}
    return {OWN: scenario} | made


# --- runs


def _runs(
    entrants: Mapping[str, Scenario],
    seeds: Sequence[int],
    window: tuple[float, float],
    jobs: int | None,
    progress: Progress | None,
) -> list[Row]:
    """Return a row per policy and seed, with the latency in excess of the control's."""
    controls = {name: with_outage(scenario, None) for name, scenario in entrants.items()}
    if _cannot_fail(controls[OWN]):
        # No policy is ever asked, so one control serves all.
        controls = {OWN: controls[OWN]}
    cells = [*cells_of(controls, seeds), *cells_of(entrants, seeds)]
    rows = run_cells(cells, partial(_measured, window=window), jobs=jobs, progress=progress)
    split = len(controls) * len(seeds)
    usual = {(row.variant, row.seed): row for row in rows[:split]}
    shared = {} if len(controls) > 1 else {row.seed: row for row in rows[:split]}
    return [_in_excess(row, shared.get(row.seed) or usual[row.variant, row.seed]) for row in rows[split:]]


def _cannot_fail(scenario: Scenario) -> bool:
    """Tell whether no attempt of a scenario can fail, so that its retry policy does not matter."""
    handler = scenario.handler
    safe = handler.capacity is None and not handler.failure_rate and not handler.fail_first and not handler.kinds
    return safe and not scenario.faults


def _in_excess(row: Row, control: Row) -> Row:
    if row.error or control.error:
        return Row(row.variant, row.seed, error=row.error or f"its control broke: {control.error}")
    added_s = row.values["latency_s"] - control.values["latency_s"]
    found = row.values | {"added_latency_s": added_s}
    return Row(row.variant, row.seed, {name: found[name] for name in MEASURES})


def _measured(run: Run, window: tuple[float, float]) -> dict[str, float]:
    """Return what became of the events submitted in the window, and what came to the dependency after it."""
    from_s, before_s = window
    hit = run.events["submitted_s"].between(from_s, before_s, inclusive="left").to_numpy()
    status = run.events.loc[hit, "status"]
    tries = run.attempts["event_id"].isin(run.events.loc[hit, "event_id"])
    started_s = run.attempts["started_s"].to_numpy()
    return {
        "extinct_share": float((status == "EXTINCT").mean()),
        "unfinished_share": float((~status.isin(["EXTINCT", "PROCESSED"])).mean()),
        "peak_per_s": float(np.bincount(bin_numbers(started_s[started_s >= before_s], 1.0), minlength=1).max()),
        "latency_s": float(latencies(run)["processed_s"][hit].mean()),
        "drain_s": span_recovery(run)[0],
        "attempts_per_event": float(tries.sum() / hit.sum()) if hit.any() else math.nan,
    }


# --- the front


def _table(rows: Replications, entrants: Mapping[str, Scenario], tolerated: float) -> pd.DataFrame:
    import pandas as pd

    beaten = _beaten(rows, tolerated)
    made = []
    for name, scenario in entrants.items():
        retries = scenario.policy().max_retries
        line: dict[str, object] = {"policy": name, "max_retries": math.nan if retries is None else retries}
        for measure in MEASURES:
            mean, low, high, _ = mean_interval(rows.values(name, measure).to_numpy())
            line |= {measure: mean, f"{measure}_low": low, f"{measure}_high": high}
        made.append(
            line | {"in_race": name in beaten, "on_front": beaten.get(name) == "", "beaten_by": beaten.get(name, "")}
        )
    order = ["in_race", "on_front", "added_latency_s"]
    return pd.DataFrame(made).sort_values(order, ascending=[False, False, True], kind="stable").reset_index(drop=True)


def _beaten(rows: Replications, tolerated: float) -> dict[str, str]:
    """Return, for each policy that loses no more than is tolerated, one that beats it, or nothing.

    To beat is to be no worse in the mean of each traded measure and surely better in one, by the paired t test with
    false discoveries among all pairs held to 5 %. Of several, the one that adds least latency is named.
    """
    racing = sorted((name for name in rows.variants if _lost(rows, name) <= tolerated), key=partial(_mean, rows))
    pairs = [(name, other) for name in racing for other in racing if name != other]
    tests = [
        paired(rows.values(name, measure).to_numpy(), rows.values(other, measure).to_numpy())
        for name, other in pairs
        for measure in TRADED
    ]
    sure = false_discoveries([test.p for test in tests], FALSE_SHARE)
    beaten = dict.fromkeys(racing, "")
    for number, (name, other) in enumerate(pairs):
        at = slice(number * len(TRADED), (number + 1) * len(TRADED))
        if not beaten[name] and _is_better(tests[at], sure[at]):
            beaten[name] = other
    return beaten


def _lost(rows: Replications, name: str) -> float:
    """Return the mean share of hit events that did not end PROCESSED; inf where no run tells."""
    lost = (rows.values(name, "extinct_share") + rows.values(name, "unfinished_share")).mean()
    return math.inf if math.isnan(lost) else float(lost)


def _mean(rows: Replications, name: str) -> float:
    return float(rows.values(name, "added_latency_s").mean())


def _is_better(tests: Sequence[Paired], sure: NDArray[np.bool_]) -> bool:
    """Tell whether the second of each pair is nowhere worse, and somewhere surely better."""
    differences = np.array([test.difference for test in tests])
    return bool(np.all(differences <= 0) and np.any(sure & (differences < 0)))


# --- words


def verdict(table: pd.DataFrame, tolerated: float) -> str:
    """Say who is in the race, who is on the front, and where the scenario's own policy stands."""
    racing = table[table["in_race"]]
    if racing.empty:
        least = table.sort_values("extinct_share").iloc[0]
        return f"Every policy loses more than {100 * tolerated:.2g} % of the events hit; {_policy(least)} loses least."
    most = f"at most {100 * tolerated:.2g} % of the events that the outage hit"
    lose = f"{len(racing)} of {len(table)} policies lose {most}."
    return " ".join(sentence for sentence in (lose, _front(racing), _own(table)) if sentence)


def _front(racing: pd.DataFrame) -> str:
    front = racing[racing["on_front"]]
    quick, gentle = (front.sort_values(name).iloc[0] for name in ("added_latency_s", "peak_per_s"))
    if quick["policy"] == gentle["policy"]:
        return f"Both quickest and gentlest of these is {_policy(quick)}."
    ends = f"from the quickest, {_policy(quick)}, to the gentlest, {_policy(gentle)}"
    return f"{len(front)} of these are on the front: {ends}."


def _own(table: pd.DataFrame) -> str:
    own = table[table["policy"] == OWN].iloc[0]
    if not own["in_race"]:
        return f"The scenario's own policy loses {_span(own, 'extinct_share')} of them."
    place = "is on the front" if own["on_front"] else f"is beaten by {own['beaten_by']}"
    return f"The scenario's own policy {place} ({_place(own)})."


def _policy(row: pd.Series[float]) -> str:
    return f"{row['policy']} ({_place(row)})"


def _place(row: pd.Series[float]) -> str:
    return f"+{_span(row, 'added_latency_s')} s, {_span(row, 'peak_per_s')} calls/s"


def _span(row: pd.Series[float], name: str) -> str:
    return interval_text(row[name], row[f"{name}_low"], row[f"{name}_high"])


def _notes(
    rows: Replications, window: tuple[float, float], max_retries: int | None, tolerated: float
) -> tuple[str, ...]:
    limits = "its own limits" if max_retries is None else f"{max_retries} retries and no limit of time"
    notes = [
        f"Every preset has {limits}; `{OWN}` is the scenario's own policy, unchanged.",
        f"{rows.rows['seed'].nunique()} seeds, the same for all policies. Shares, added latency and attempts are of "
        f"the events submitted during the outage, {window[0]:g} to {window[1]:g} s.",
        "added_latency_s: mean time from submit to PROCESSED, less that of the same seed without the outage; EXTINCT "
        "events have none, so a policy that loses many looks quicker than it is.",
        "peak_per_s: most calls started in any second after the outage. drain_s: from the outage's end until the "
        "backlog is back at its level before.",
        f"in_race: at most {100 * tolerated:.2g} % of the events EXTINCT, or unfinished at the run's end, in the mean.",
        "Intervals of 95 %, Student's t over the seeds. beaten_by: no worse in added latency and peak, and surely "
        "better in one (paired t test, at most 5 % false discoveries over all pairs).",
    ]
    return (*notes, *rows.broken_notes())

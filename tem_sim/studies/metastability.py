"""Where an outage that is over leaves a system down: P(collapse) over outage length × load, beside what theory says.

Each cell is run under several seeds, and each of those runs is judged by a control run of the same load and seed
without the outage: same arrivals, same service times. All are judged in the same window, long after the longest outage.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from tem_sim.analysis.collapse import SHARE, Output, Window, fate, output, phase_plane
from tem_sim.analysis.mean_field import Downstream, downstream_of, hidden_capacity_per_s, tipping_outage_s
from tem_sim.analysis.result import Result
from tem_sim.analysis.statistics import false_discoveries, mean_interval, paired, wilson
from tem_sim.scenario.seeds import DEFAULT_SEEDS, seed_list
from tem_sim.scenario.variants import the_outage, with_outage
from tem_sim.studies.cells import Cell, Row, run_cells
from tem_sim.studies.replications import FALSE_SHARE

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.frames import Run
    from tem_sim.scenario.models import Scenario
    from tem_sim.studies.progress import Progress

LOADS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
OUTAGES_S = (1.0, 2.0, 4.0, 8.0, 12.0, 16.0)
# How many times the longest outage the runs go on after its end, and the least of that.
PERSIST_TIMES, PERSIST_LEAST_S = 3.0, 30.0
# How finely the mean field is stepped.
STEPS_PER_TIMEOUT = 10


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Metastability(Result):
    """A map of P(collapse); its table has a row per load and outage.

    `load` is new events per second over the capacity of the downstream. `n` runs could be judged, `collapsed` of them
    did; `p_collapse` with Wilson's interval. `goodput_share` is goodput over the control's, with its t interval;
    `goodput_lost` says whether the difference from the control is a discovery (paired t test, 5 % false ones over the
    map). `control_collapsed`: seeds left out since they collapsed without any outage. `tipping_outage_s`: from which
    length on the mean field collapses at this load, inf for never within twice the longest; `hidden_load`: up to which
    load no collapse can sustain itself. `rows` are the runs.
    """

    capacity_per_s: float
    hidden_capacity_per_s: float
    window: Window
    rows: pd.DataFrame


def metastability(
    scenario: Scenario,
    loads: Sequence[float] = LOADS,
    outages_s: Sequence[float] = OUTAGES_S,
    seeds: int | Sequence[int] = DEFAULT_SEEDS,
    *,
    persist_s: float | None = None,
    share: float = SHARE,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Metastability:
    """Map P(collapse) of a scenario over load and outage length.

    The scenario needs a downstream with a capacity, and one outage, whose beginning stays. Its arrivals are replaced by
    Poisson ones at `load` times the capacity. Runs end `persist_s` after the longest outage does (three times as long
    as that, and at least 30 s); the second half of this is the window in which goodput below `share` of the control's,
    in both halves of the window, is a collapse.
    """
    plan = _Plan.of(scenario, loads, outages_s, persist_s)
    cells = plan.cells(seed_list(seeds))
    made = run_cells(cells, partial(_output, window=plan.window), jobs=jobs, progress=progress)
    rows = _judged(made, plan.keys, share)
    hidden = hidden_capacity_per_s(plan.downstream.capacity_per_s, scenario.policy().max_retries)
    table = _table(plan, rows, hidden / plan.downstream.capacity_per_s)
    return Metastability(
        title=f"Metastability of {scenario.name}",
        verdict=verdict(table, plan.downstream.capacity_per_s, hidden),
        table=table,
        notes=_notes(plan, rows, share),
        capacity_per_s=plan.downstream.capacity_per_s,
        hidden_capacity_per_s=hidden,
        window=plan.window,
        rows=rows,
    )


def phase_paths(
    scenario: Scenario, load: float, outages_s: Sequence[float], seed: int = 1, *, persist_s: float | None = None
) -> dict[str, pd.DataFrame]:
    """Return the path through the phase plane without an outage, and with each of these.

    Each is as `analysis.collapse.phase_plane` says, with a column `in_outage`.
    """
    from tem_sim.sim.world import simulate

    plan = _Plan.of(scenario, (load,), outages_s, persist_s)
    paths = {}
    for outage_s in plan.lengths:
        path = phase_plane(simulate(plan.variant(load, outage_s), seed))
        in_outage = (path.index >= plan.start_s) & (path.index < plan.start_s + outage_s)
        paths[_length(outage_s)] = path.assign(in_outage=in_outage)
    return paths


@dataclass(frozen=True, slots=True)
class _Plan:
    """Which runs are made, and when they are judged; an outage of 0 s is the control."""

    scenario: Scenario
    downstream: Downstream
    loads: tuple[float, ...]
    outages_s: tuple[float, ...]
    start_s: float
    window: Window

    @staticmethod
    def of(scenario: Scenario, loads: Sequence[float], outages_s: Sequence[float], persist_s: float | None) -> _Plan:
        loads, outages_s = tuple(sorted(set(loads))), tuple(sorted(set(outages_s)))
        if not loads or not outages_s or loads[0] <= 0 or outages_s[0] <= 0:
            raise ValueError(f"loads and outages_s: each needs values, all above 0, got {loads} and {outages_s}")
        start_s, longest_s = the_outage(scenario).start_s, outages_s[-1]
        if persist_s is None:
            persist_s = max(PERSIST_TIMES * longest_s, PERSIST_LEAST_S)
        if persist_s <= 0:
            raise ValueError(f"persist_s must be above 0, got {persist_s}")
        over_s = start_s + longest_s
        window = Window(over_s + persist_s / 2, over_s + persist_s)
        return _Plan(scenario, downstream_of(scenario), loads, outages_s, start_s, window)

    @property
    def lengths(self) -> tuple[float, ...]:
        return (0.0, *self.outages_s)

    def tipping_s(self, load: float) -> float:
        """Return from which length on an outage tips the mean field."""
        return tipping_outage_s(
            self.scenario.policy(),
            self.rate_per_s(load),
            self.downstream,
            longest_s=2 * self.outages_s[-1],
            after_s=self.window.before_s - self.start_s - self.outages_s[-1],
            step_s=self.downstream.timeout_s / STEPS_PER_TIMEOUT,
            within_s=self.outages_s[0] / 4,
        )

    @property
    def keys(self) -> list[tuple[float, float]]:
        """Load and outage of each cell; the heaviest first, so that no process is left with a long run at the end."""
        return [(load, outage_s) for load in reversed(self.loads) for outage_s in self.lengths]

    def rate_per_s(self, load: float) -> float:
        return load * self.downstream.capacity_per_s

    def variant(self, load: float, outage_s: float) -> Scenario:
        """Return the scenario with this load and outage."""
        arrivals = {"kind": "poisson", "rate": self.rate_per_s(load)}
        return with_outage(
            self.scenario, outage_s or None, arrivals=arrivals, horizon=self.window.before_s, stop="horizon"
        )

    def cells(self, seeds: Sequence[int]) -> list[Cell]:
        """Return every run of the map, controls included."""
        made = {key: self.variant(*key) for key in self.keys}
        return [Cell(_name(*key), scenario, seed) for key, scenario in made.items() for seed in seeds]


def _name(load: float, outage_s: float) -> str:
    return f"load {load:g}, {_length(outage_s)}"


def _length(outage_s: float) -> str:
    return f"outage of {outage_s:g} s" if outage_s else "no outage"


def _output(run: Run, window: Window) -> dict[str, float]:
    return output(run, window)._asdict()


def _judged(made: Sequence[Row], keys: Sequence[tuple[float, float]], share: float) -> pd.DataFrame:
    """Return a row per run: load, outage_s, seed, its output, `fate` ("broken" where it or its control is), error."""
    import pandas as pd

    seeds = len(made) // len(keys)
    keyed = [(*keys[number // seeds], row) for number, row in enumerate(made)]
    controls = {(load, row.seed): row for load, outage_s, row in keyed if not outage_s}
    return pd.DataFrame(
        {"load": load, "outage_s": outage_s, "seed": row.seed, **_told(row, controls[load, row.seed], share)}
        for load, outage_s, row in keyed
    )


def _told(row: Row, control: Row, share: float) -> dict[str, object]:
    if row.error or control.error:
        return dict.fromkeys(Output._fields, math.nan) | {"fate": "broken", "error": row.error or control.error}
    return {**row.values, "fate": fate(Output(**row.values), Output(**control.values), share), "error": ""}


def _table(plan: _Plan, rows: pd.DataFrame, hidden_load: float) -> pd.DataFrame:
    import pandas as pd

    keyed = rows.set_index(["load", "outage_s", "seed"]).sort_index()
    goodput, fates = keyed[["early_goodput_per_s", "late_goodput_per_s"]].mean(axis=1), keyed["fate"]
    made = [
        {"load": load, "rate_per_s": plan.rate_per_s(load), "outage_s": outage_s}
        | _cell(fates.loc[load, outage_s], goodput.loc[load, outage_s], goodput.loc[load, 0.0])
        | {"tipping_outage_s": tipping_s, "hidden_load": hidden_load}
        for load, tipping_s in ((load, plan.tipping_s(load)) for load in plan.loads)
        for outage_s in plan.outages_s
    ]
    table = pd.DataFrame(made)
    table["goodput_lost"] = false_discoveries(table["p"].to_numpy(), FALSE_SHARE)
    last = ["goodput_lost", "tipping_outage_s", "hidden_load"]
    return table[[*table.columns.drop(["p", *last]), *last]]


def _cell(fates: pd.Series[str], goodput: pd.Series[float], control: pd.Series[float]) -> dict[str, float]:
    """Return what one cell's runs come to; the three series are indexed by seed."""
    judged = fates.isin(["up", "collapsed"])
    collapsed, n = int((fates == "collapsed").sum()), int(judged.sum())
    p_collapse, low, high, _ = wilson(collapsed, n)
    share, share_low, share_high, _ = mean_interval((goodput / control)[judged].to_numpy())
    return {
        "n": n,
        "collapsed": collapsed,
        "p_collapse": p_collapse,
        "p_low": low,
        "p_high": high,
        "control_collapsed": int((fates == "unfit").sum()),
        "goodput_share": share,
        "goodput_low": share_low,
        "goodput_high": share_high,
        "p": paired(control[judged].to_numpy(), goodput[judged].to_numpy()).p,
    }


def verdict(table: pd.DataFrame, capacity_per_s: float, hidden_per_s: float) -> str:
    """Say what the map comes to."""
    sentences = _tipped(table), _safe(table), _hidden(capacity_per_s, hidden_per_s), _alone(table)
    return " ".join(sentence for sentence in sentences if sentence)


def _tipped(table: pd.DataFrame) -> str:
    """Name the shortest outage that tipped most runs at the lightest load where one did, and at the heaviest."""
    tipped = table[table["p_collapse"] >= 0.5].sort_values(["load", "outage_s"]).drop_duplicates("load")
    if tipped.empty:
        return f"No outage of up to {table['outage_s'].max():g} s left most runs down at any of these loads."
    ends = [tipped.iloc[0], *([tipped.iloc[-1]] if len(tipped) > 1 else [])]
    told = [f"of {end['outage_s']:g} s at load {end['load']:g} ({_odds(end)})" for end in ends]
    return f"An outage {' and one '.join(told)} left the system down after it was over."


def _odds(cell: pd.Series[float]) -> str:
    return f"{cell['collapsed']:g} of {cell['n']:g} runs, P {cell['p_low']:.2f} to {cell['p_high']:.2f}"


def _safe(table: pd.DataFrame) -> str:
    """Name the heaviest load up to which nothing collapsed; how sure that is, goes by the runs of one cell."""
    collapsed = table.groupby("load")["collapsed"].sum()
    none = collapsed.index[collapsed.cumsum() == 0]
    if none.empty:
        return ""
    most = table.loc[table["load"].isin(none), "p_high"].max()
    return f"Up to load {none.max():g} no run collapsed (P at most {most:.2f} in any cell)."


def _hidden(capacity_per_s: float, hidden_per_s: float) -> str:
    if not hidden_per_s:
        return "Endless retries leave no hidden capacity: a collapse can sustain itself at any load."
    load = hidden_per_s / capacity_per_s
    return f"Below the hidden capacity, {hidden_per_s:.3g}/s or load {load:.2g}, no collapse can sustain itself."


def _alone(table: pd.DataFrame) -> str:
    alone = table.groupby("load")["control_collapsed"].max()
    if not alone.any():
        return ""
    told = ", ".join(f"{count} at load {load:g}" for load, count in alone[alone > 0].items())
    return f"Some seeds collapsed without any outage and are left out: {told}."


def _notes(plan: _Plan, rows: pd.DataFrame, share: float) -> tuple[str, ...]:
    down, window = plan.downstream, plan.window
    since_s = window.from_s - plan.start_s - plan.outages_s[-1]
    broken = int((rows["fate"] == "broken").sum())
    notes = [
        f"Load is new events over the capacity: {down.servers} servers / {down.service_s:g} s = "
        f"{down.capacity_per_s:g}/s.",
        f"{rows['seed'].nunique()} seeds per cell, the same in all; each run is judged by a control of its load and "
        "seed without the outage.",
        f"Collapsed: from {window.from_s:g} to {window.before_s:g} s, {since_s:g} s or more after the outage, goodput "
        f"is below {share:g} of the control's in each half. Goodput counts events PROCESSED.",
        f"A seed whose control has a goodput below {share:g} of what was offered is left out of its cells.",
        f"Every run starts empty, the outage begins {plan.start_s:g} s later, and nothing before the window counts; "
        "what is unfinished at its end is not waited for.",
        "Intervals of 95 %: Wilson's for P, Student's t for goodput. goodput_lost: paired t test, at most 5 % false "
        "discoveries over the map. Cells share their seeds, so their errors are alike.",
        "tipping_outage_s is the mean field's, without chance: analysis.mean_field.",
    ]
    if not down.can_tip:
        notes.append("The queue or the pool of workers is too small for this downstream to tip (Downstream.can_tip).")
    if broken:
        notes.append(f"{broken} of {len(rows)} runs broke, or their control did, and are left out: see `rows`.")
    return tuple(notes)

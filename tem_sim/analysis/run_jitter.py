"""The same peaks in what really ran: retries of a whole simulation per bin, per tick and per retry number.

Here workers are short, batches wait for each other and the outage ends, so peaks are what jitter, scheduler and pool
make of each other. `jitter` shows what the policy alone would do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from tem_sim.analysis.bursts import bursts, spread_s
from tem_sim.analysis.columns import interval_words, mean_columns
from tem_sim.analysis.delay_fit import FIT_COLUMNS, FIT_NOTES, fit_row, fit_verdict, judged
from tem_sim.analysis.history import history, tries
from tem_sim.analysis.jitter_rows import width_name, width_words
from tem_sim.analysis.result import Result
from tem_sim.analysis.rules import rules
from tem_sim.analysis.storm import attempts_by_number

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.frames import Run

    Runs: TypeAlias = Run | Sequence[Run] | Mapping[str, Run | Sequence[Run]]

WIDTHS_S = (0.1, 1.0)


def retry_peaks(run: Run, widths_s: Sequence[float] = WIDTHS_S) -> pd.DataFrame:
    """Return one row for all retries (retry 0) and one per retry number.

    Columns: retry, starts, `peak_…` (the most started in any bin of that width), `peak_tick` (the most released by one
    tick of the scheduler), spread_s (from the first 10 % of the starts to the last 10 %).
    """
    import pandas as pd

    tables = {
        f"peak_{width_name(width_s)}": attempts_by_number(run, width_s).to_numpy() for width_s in sorted(widths_s)
    }
    released, ticks = _released(run)
    attempts = run.attempts.loc[run.attempts["started_s"].notna() & (run.attempts["attempt_no"] > 1)]
    starts_s, numbers = attempts["started_s"].to_numpy(), attempts["attempt_no"].to_numpy() - 1
    made = []
    for retry in range(int(numbers.max(initial=0)) + 1):
        these = numbers == retry if retry else np.ones(len(numbers), dtype=bool)
        # Attempt k + 1 is retry k, and stands in column k.
        columns = slice(retry, retry + 1) if retry else slice(1, None)
        made.append(
            {"retry": retry, "starts": int(these.sum())}
            | {column: int(table[:, columns].sum(axis=1).max(initial=0)) for column, table in tables.items()}
            | {"peak_tick": _peak(ticks[released == retry] if retry else ticks)}
            | {"spread_s": spread_s(starts_s[these])}
        )
    return pd.DataFrame(made)


def storm_peaks(runs: Runs, widths_s: Sequence[float] = WIDTHS_S) -> Result:
    """Return how hard the retries of whole simulations hit, per retry number; several runs of a kind give intervals.

    `runs`: one, several that differ in their seed, or a mapping from names to such. Table: variant, retry (0 for all
    together), runs, and the columns of `retry_peaks`, means with t intervals.
    """
    import pandas as pd

    named = _named(runs)
    measured = {name: [retry_peaks(run, widths_s) for run in several] for name, several in named.items()}
    table = pd.DataFrame([row for name, peaks in measured.items() for row in _means(name, peaks)])
    width_s = max(widths_s)
    return Result(
        title="Retry peaks in whole simulations",
        verdict=_verdict(table, width_s),
        table=table,
        notes=(
            f"{min(map(len, named.values()))} or more runs per variant; means, with 95 % t intervals from two on.",
            "Counted where the handler call began, from the run's start to its end; nothing is cut off or smoothed.",
            "Tick: rows that one tick of retry_failed_events released.",
        ),
    )


def run_delay_fit(run: Run) -> Result:
    """Hold the delays that a run booked against its policy's law, retry by retry, as `delay_fit` does.

    Events that were replayed are left out. Delays that grow from the previous one have no law past the first here: who
    fails again in an outage is who waited little.
    """
    import pandas as pd

    policy = rules(run).settings.policy
    retries, delays_s = _booked(run)
    rows = [
        fit_row(run.name, policy, retry, delays_s[retries == retry], told=not (policy.needs_previous and retry > 1))
        for retry in range(1, int(retries.max(initial=0)) + 1)
    ]
    table = judged(pd.DataFrame(rows, columns=FIT_COLUMNS))
    return Result(
        title=f"Delays of {run.name} against theory", verdict=fit_verdict(table), table=table, notes=FIT_NOTES
    )


def _booked(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of the retry after each booked delay, counted per event, and the delay."""
    past, tried = history(run), tries(run)
    delay_s = run.attempts["delay_s"].to_numpy()[tried.order]
    replayed = past.per_event(past.has("cause", "replay")) > 0
    has = ~np.isnan(delay_s) & ~replayed[tried.event]
    event = tried.event[has]
    first = np.searchsorted(event, event)
    return np.arange(len(event)) - first + 1, delay_s[has]


def _released(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Return for each release of a retry its number, and when it was counted from the grid of the ticks."""
    past, scenario = history(run), run.scenario
    mask = past.has("cause", "retry")
    period_s = scenario.beat.retry_every_s
    since_s = past.at_s[mask] - scenario.beat.phase_s
    return past.attempt_no[mask], np.floor(since_s / period_s + 1e-9)


def _peak(ticks: np.ndarray) -> int:
    return bursts((ticks - ticks.min(initial=0)).astype(np.float64), 1.0).peak if len(ticks) else 0


def _named(runs: Runs) -> dict[str, list[Run]]:
    from tem_sim.frames import Run

    if isinstance(runs, Mapping):
        named = {name: [value] if isinstance(value, Run) else list(value) for name, value in runs.items()}
    else:
        several = [runs] if isinstance(runs, Run) else list(runs)
        named = {several[0].name: several} if several else {}
    if not named or not all(named.values()):
        raise ValueError("runs: must be at least one of each kind")
    return named


def _means(name: str, measured: Sequence[pd.DataFrame]) -> list[dict[str, object]]:
    """Return a row per retry number; a run that did not come so far has none of it, and its spread is not counted."""
    import pandas as pd

    most = max(len(one) for one in measured)
    whole = [one.set_index("retry").reindex(range(most)) for one in measured]
    counts = [column for column in measured[0].columns if column not in ("retry", "spread_s")]
    together = pd.concat([one.fillna(dict.fromkeys(counts, 0)) for one in whole], keys=range(len(whole)), names=["run"])
    rows: list[dict[str, object]] = []
    for retry in range(most):
        here = together.xs(retry, level="retry")
        row: dict[str, object] = {"variant": name, "retry": retry, "runs": len(measured)}
        for column in here.columns:
            row |= mean_columns(str(column), here[column].to_numpy(dtype=float))
        rows.append(row)
    return rows


def _verdict(table: pd.DataFrame, width_s: float) -> str:
    column = f"peak_{width_name(width_s)}"
    together = table[table["retry"] == 0].sort_values(column)
    calm, hard = together.iloc[0], together.iloc[-1]
    said = (
        f"At most {interval_words(hard, column)} retries start within {width_words(width_s)} in {hard['variant']}; its "
        f"fullest tick releases {interval_words(hard, 'peak_tick')}."
    )
    if len(together) == 1:
        return said
    return f"{said} The calmest is {calm['variant']}, with {interval_words(calm, column)}."

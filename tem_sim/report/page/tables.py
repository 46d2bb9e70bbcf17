"""The tables that stand beside the figures: recovery fault by fault, latency by attempts used."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from tem_sim.analysis.backlog import recovery
from tem_sim.analysis.latency import PERCENTILES, latency_percentiles, percentile_name
from tem_sim.report.numbers import duration, plain
from tem_sim.report.page.blocks import Html, element, table

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.frames import Run
    from tem_sim.report.page.runs import Runs

# A poison event alone can use more attempts than anyone reads rows.
SHOWN_FAULTS, SHOWN_ATTEMPTS = 20, 15


def recoveries(runs: Runs) -> Html:
    """Return, fault by fault, what the backlog did before, during and after it."""
    return _each(runs, _recovery)


def latencies(runs: Runs) -> Html:
    """Return the percentiles of the latency by attempts used, to PROCESSED and to the user's socket."""
    return _each(runs, _latency)


def _each(runs: Runs, of: Callable[[Run], str]) -> Html:
    return Html("".join(runs.heading(number) + of(run) for number, run in enumerate(runs)))


def _recovery(run: Run) -> str:
    found = recovery(run)
    if found.empty:
        return element("p", "No fault landed, so there is nothing to recover from.")
    heads = ["fault", "from", "to", "backlog before", "peak", "drained after", "recovered after"]
    rows = [
        [
            *(
                f"{fault['kind']} on {fault['target']}".replace("_", " "),
                _time(fault["start_s"]),
                _time(fault["end_s"]),
            ),
            *(plain(fault["level_before"]), plain(fault["peak"])),
            *(_time(fault[name], "never") for name in ("drain_s", "recovery_s")),
        ]
        for fault in found.head(SHOWN_FAULTS).to_dict("records")
    ]
    return table(heads, rows, f"The backlog around {_part(len(rows), len(found), 'fault')}", range(1, len(heads)))


def _latency(run: Run) -> str:
    return _percentiles(run, "processed", "Submit to PROCESSED") + _percentiles(
        run, "delivered", "Submit to the screen"
    )


def _percentiles(run: Run, to: str, title: str) -> str:
    found = latency_percentiles(run, to)
    names = [percentile_name(percent) for percent in PERCENTILES]
    heads = ["attempts used", "events", *(f"p{percent:g}" for percent in PERCENTILES)]
    shown = [*list(found.iterrows())[:-1][:SHOWN_ATTEMPTS], *list(found.iterrows())[-1:]]
    rows = [[str(used), plain(row["n"]), *(_with_interval(row, name) for name in names)] for used, row in shown]
    caption = f"{title}, by attempts used; in small print the 95 % interval, as if the events were independent"
    return table(heads, rows, caption, range(1, len(heads)), html=True)


def _with_interval(row: pd.Series[float], name: str) -> str:
    """Return a percentile above its interval; `…` stands for a bound that no observed value is."""
    if math.isnan(row[f"{name}_s"]):
        return "–"
    low, high = (_time(row[f"{name}_{side}_s"], "…") for side in ("low", "high"))
    return f"{duration(row[f'{name}_s'])}<small>{low} to {high}</small>"


def _time(seconds: float, missing: str = "–") -> str:
    return missing if math.isnan(seconds) else duration(seconds)


def _part(shown: int, found: int, what: str) -> str:
    return f"{found} {what}{'' if found == 1 else 's'}" if shown == found else f"the first {shown} of {found} {what}s"

"""What each figure shows of a run, in sentences with its numbers: for those who cannot see it, and those who can."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tem_sim.analysis import latency as latencies
from tem_sim.analysis.backlog import TERMINAL, backlog, span_recovery
from tem_sim.analysis.storm import attempts_by_number, retries_per_bin
from tem_sim.report.numbers import duration, plain

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.frames import Run


def attempts(run: Run) -> str:
    """Say how many attempts there were, and when most of them."""
    if run.attempts.empty:
        return "No attempt was started. " + faults(run)
    rates = attempts_by_number(run)
    total = rates.sum(axis=1)
    retries = total - rates[1]
    parts = [f"{int(total.sum()):,} attempts were started, at most {total.max():,.0f} in a second, at {_at(total)}"]
    if retries.any():
        parts.append(
            f"{int(retries.sum()):,} of them retries, at most {retries.max():,.0f} in a second, at {_at(retries)}"
        )
    return f"{'; '.join(parts)}. {faults(run)}"


def _at(counts: pd.Series[float]) -> str:
    return f"{float(str(counts.idxmax())):g} s"


def faults(run: Run) -> str:
    """Say which faults there were and when."""
    landed = run.faults[run.faults["landed"] > 0]
    told = []
    for kind, rows in landed.groupby("kind", observed=True, sort=False):
        start_s, end_s = rows["start_s"].fillna(0.0).min(), rows["end_s"].fillna(run.end_s).max()
        times = f" {len(rows)} times" if len(rows) > 1 else ""
        told.append(f"{str(kind).replace('_', ' ')}{times} from {duration(start_s)} to {duration(end_s)}")
    return f"Shaded: {', '.join(told)}." if told else "No fault landed."


def states(run: Run) -> str:
    """Say how many rows were open at most, and where all ended."""
    if run.events.empty:
        return "No event was submitted. " + faults(run)
    steps = backlog(run)
    top = int(steps.level.argmax())
    ends = run.events["status"].value_counts()
    ended = ", ".join(f"{int(number):,} {state}" for state, number in ends.items() if number)
    open_now = int(ends[[state for state in ends.index if state not in TERMINAL]].sum())
    rest = f", {open_now:,} of them open" if open_now else ""
    return (
        f"The backlog is largest at {duration(float(steps.at_s[top]))}: {int(steps.level[top]):,} rows not yet ended. "
        f"At the end, after {duration(run.end_s)}: {ended}{rest}. {faults(run)}"
    )


def retry_peak(run: Run) -> str:
    """Say how high the retries rose and when."""
    retries = retries_per_bin(run)
    if not retries.any():
        return "no retries."
    return f"at most {retries.max():,} retries in a second, at {int(retries.argmax()):,} s; {retries.sum():,} in all."


def drain(run: Run) -> str:
    """Say how large the backlog grew and how long it took to get rid of it."""
    steps = backlog(run)
    drain_s, _ = span_recovery(run)
    largest = f"at most {int(steps.level.max(initial=0)):,} rows not yet ended"
    return f"{largest}; " + (f"drained {duration(drain_s)} after the last fault." if drain_s >= 0 else "no drain time.")


def tail(run: Run) -> str:
    """Say how long the slowest took."""
    return _curve(latencies.latencies(run)["processed_s"], "PROCESSED")


def latency(run: Run) -> str:
    """Say how long events took, and how many never got there."""
    table = latencies.latencies(run)
    told = [
        _curve(table["processed_s"], "PROCESSED"),
        _curve(table["delivered_s"], "shown to their user"),
    ]
    return " ".join(told)


def _curve(seconds: pd.Series[float], what: str) -> str:
    values = seconds.dropna().to_numpy()
    if not len(values):
        return f"None of {len(seconds):,} events was {what}."
    numbers = {percent: latencies.percentile(values, percent) for percent in latencies.PERCENTILES}
    known = [f"p{plain(percent)} {duration(value)}" for percent, value in numbers.items() if not math.isnan(value)]
    longest = f"the longest {duration(float(values.max()))}"
    return f"{len(values):,} of {len(seconds):,} events were {what}: {', '.join([*known, longest])} after their submit."

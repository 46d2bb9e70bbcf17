"""What each figure shows of a run, in sentences with its numbers: for those who cannot see it, and those who can."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tem_sim.analysis import latency as latencies
from tem_sim.analysis.backlog import TERMINAL, backlog, span_recovery
from tem_sim.analysis.duty import lags
from tem_sim.analysis.rates import amplification_over_time
from tem_sim.analysis.stays import longest_stay_s, oldest_rows, time_in_state
from tem_sim.analysis.storm import attempts_by_number, attempts_per_event, retries_per_bin, throughput
from tem_sim.analysis.timeline import worst_event
from tem_sim.checks.verdict import count
from tem_sim.report.numbers import duration, plain

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.frames import Run

# As finely as the plots are sampled.
SAMPLES = 1000


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


def processed(run: Run) -> str:
    """Say how many events were PROCESSED, and within which time."""
    return _curve(latencies.latencies(run)["processed_s"], "PROCESSED")


def goodput(run: Run) -> str:
    """Say how much of the work was of use."""
    table = throughput(run)
    ended, useful = table["throughput_per_s"], table["goodput_per_s"]
    if not ended.any():
        return "No attempt ended."
    return (
        f"{ended.sum():,.0f} attempts ended, at most {ended.max():,.0f} in a second; of use were {useful.sum():,.0f}, "
        f"which made an event PROCESSED, at most {useful.max():,.0f} in a second."
    )


def amplification(run: Run) -> str:
    """Say how many times over the downstream got the load."""
    known = amplification_over_time(run)["cumulative"].dropna()
    if known.empty:
        return "No attempt was started."
    highest, last = float(known.max()), float(known.iloc[-1])
    more = f"; {plain(highest)} at most, at {_at(known)}" if highest > last else ""
    return f"{plain(last)} attempts started per first try in the end{more}."


def histogram(run: Run) -> str:
    """Say how many attempts most events used, and the most that any did."""
    if run.events.empty:
        return "No event was submitted."
    table = attempts_per_event(run)
    usual = int(str(table["events"].idxmax()))
    return (
        f"{int(table['events'].max()):,} of {len(run.events):,} events used {count(usual, 'attempt')}, more than "
        f"any other number; the most that any used is {count(len(table) - 1, 'attempt')}."
    )


def ages(run: Run) -> str:
    """Say how old the oldest rows became."""
    waited_s = longest_stay_s(run, "QUEUED", "RETRY")
    table = oldest_rows(run, step_s=max(run.end_s, 1e-3) / SAMPLES)["oldest_s"]
    if run.events.empty or table.dropna().empty:
        return "No row was open."
    queued = "" if math.isnan(waited_s) else f"; the longest wait for a worker was {duration(waited_s)}"
    at_s = float(str(table.idxmax()))
    return f"The oldest open row reached {duration(float(table.max()))}, at {duration(at_s)}{queued}."


def tail(run: Run) -> str:
    """Say how long the slowest event took."""
    table = latencies.latencies(run)
    if table["processed_s"].isna().all():
        return f"None of {len(table):,} events was PROCESSED."
    slowest = table.iloc[int(table["processed_s"].argmax())]
    one = f"event {int(slowest['event_id'])}, with {count(int(slowest['attempts']), 'attempt')}"
    return f"The slowest took {duration(float(slowest['processed_s']))} to become PROCESSED: {one}."


def stays(run: Run) -> str:
    """Say where rows spent their time."""
    table = time_in_state(run)
    spent = table[table["total_s"] > 0]
    if spent.empty:
        return "No row stayed anywhere."
    shares = ", ".join(f"{phase} {100 * row['share']:.3g} %" for phase, row in spent.iterrows())
    medians = [
        f"{phase} {duration(row['p50_s'])}" for phase, row in spent.iterrows() if not math.isnan(float(row["p50_s"]))
    ]
    middle = f" Median stays: {', '.join(medians)}." if medians else ""
    return f"Of all the time that rows were open: {shares}.{middle}"


def lag(run: Run) -> str:
    """Say how late retries came."""
    table = lags(run)
    if table.empty:
        return "No retry fell due."
    parts = []
    for column, what in (("requeue_lag_s", "requeued"), ("pick_up_lag_s", "picked up")):
        values = table[column].dropna().to_numpy()
        if len(values):
            middle, most = duration(float(np.median(values))), duration(float(values.max()))
            parts.append(f"{what} {middle} after it was due ({most} at most)")
    return f"{count(len(table), 'retry', 'retries')}; the median one was {' and '.join(parts)}."


def worst(run: Run) -> str:
    """Say which event is the worst, and why."""
    found = worst_event(run)
    if found is None:
        return "No event was submitted."
    event_id, why = found
    ends = run.attempts.loc[run.attempts["event_id"] == event_id, "outcome"].value_counts()
    told = ", ".join(f"{number} {outcome}" for outcome, number in ends.items() if number)
    return f"Event {event_id}: {why}. Its attempts: {told or 'none'}."


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

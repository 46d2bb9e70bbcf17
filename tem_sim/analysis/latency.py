"""How long events took: from their submit to PROCESSED, and on to their user's socket.

PROCESSED is dated by the commit that made it so. A percentile p is given from 1 / (1 − p) observations on
(2 for the median, 20 for p95, 100 for p99, 1000 for p99.9): from fewer it would be the maximum under another
name, and is NaN.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tem_sim.analysis.history import Array, event_numbers, history

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.frames import Run

PERCENTILES = (50, 95, 99, 99.9)


def percentile_name(percent: float) -> str:
    """Return a percentile as a name's part: p50, p95, p999."""
    return f"p{percent:g}".replace(".", "")


def percentile(values: Array, percent: float) -> float:
    """Return the smallest observed value that at least `percent` % do not exceed; NaN from too few values."""
    if len(values) < _fewest(percent):
        return math.nan
    at = int(_rank(len(values), percent)) - 1
    return float(np.partition(values, at)[at])


def _fewest(percent: float) -> float:
    # Rounded, since 1 − 0.95 is a little more than 1/20 and 20 values are enough.
    return round(100 / (100 - percent), 6)


def _rank(counts: Array | int, percent: float) -> Array:
    # Rounded, since 1000 × 0.999 is a little more than 999. numpy's "inverted_cdf" takes the 1000th.
    return np.ceil(np.round(np.multiply(counts, percent / 100), 9)).astype(np.int64)


def percentile_interval(values: Array, percent: float, level: float = 0.95) -> tuple[float, float]:
    """Return two observed values between which the percentile lies with at least this probability.

    Order statistics: the number of values below it is binomial, whatever their distribution (David and Nagaraja 2003,
    "Order Statistics", 7.1). A bound is NaN where even the smallest or the largest value is none. It takes the values
    for independent. Those of one run are not, since what queues together is late together; then it is too narrow, and
    only replications tell.
    """
    from scipy.special import bdtr

    n, share = len(values), percent / 100
    if n == 0:
        return math.nan, math.nan
    ordered = np.sort(values)
    at_most = bdtr(np.arange(n + 1), n, share)
    # The largest l with P(fewer than l lie below) ≤ α/2, and the smallest u with P(at least u do) ≤ α/2.
    low = int(np.searchsorted(at_most, (1 - level) / 2, side="right"))
    high = int(np.searchsorted(at_most, (1 + level) / 2, side="left")) + 1
    return (float(ordered[low - 1]) if low else math.nan), (float(ordered[high - 1]) if high <= n else math.nan)


def grouped_percentile(group: Array, values: Array, groups: int, percent: float) -> Array:
    """Return the percentile of the values of each group 0, 1 … as `percentile` does, for all groups at once."""
    ordered = values[np.lexsort((values, group))]
    counts = np.bincount(group, minlength=groups)
    at = np.cumsum(counts) - counts + _rank(counts, percent) - 1
    enough = counts >= _fewest(percent)
    found = np.full(groups, np.nan)
    found[enough] = ordered[at[enough]]
    return found


def latencies(run: Run) -> pd.DataFrame:
    """Return one row per event: event_id, attempts (used), processed_s and delivered_s.

    Both are seconds since the event's submit. `processed_s` is NaN for events that are not PROCESSED, `delivered_s`
    for those whose user was shown nothing.
    """
    import pandas as pd

    events = run.events
    past = history(run)
    submitted_s = events["submitted_s"].to_numpy()
    done = past.has("after", "PROCESSED")
    processed_s = _by_event(run, past.ids[past.event[done]], past.at_s[done])
    told = run.notifications
    delivered_s = _by_event(run, told["event_id"].to_numpy(), told["delivered_s"].to_numpy())
    numbers = event_numbers(run, events["event_id"].to_numpy())
    return pd.DataFrame(
        {
            "event_id": events["event_id"],
            "attempts": events["attempt_no"],
            "processed_s": processed_s[numbers] - submitted_s,
            "delivered_s": delivered_s[numbers] - submitted_s,
        }
    )


def _by_event(run: Run, event_ids: Array, times_s: Array) -> Array:
    """Spread times over event numbers, NaN where an event has none; strangers to the log are left out."""
    ids = history(run).ids
    spread = np.full(len(ids), np.nan)
    known = np.isin(event_ids, ids)
    spread[np.searchsorted(ids, event_ids[known])] = times_s[known]
    return spread


def latency_percentiles(run: Run, to: str = "processed") -> pd.DataFrame:
    """Return percentiles by attempts used: index 1, 2, … and "all".

    Columns: n, and for each of p50, p95, p99 and p99.9 (`p999`) the percentile and its 95 % interval as in
    `percentile_interval`: `p50_s`, `p50_low_s`, `p50_high_s`. `to` is "processed" (the commit) or "delivered" (the
    user's socket). Events that never got there are not in it; `attempts_per_event` of `storm` has all.
    """
    import pandas as pd

    if to not in ("processed", "delivered"):
        raise ValueError(f'to must be "processed" or "delivered", got {to!r}')
    table = latencies(run)[["attempts", f"{to}_s"]].dropna()
    seconds, used = table[f"{to}_s"].to_numpy(), table["attempts"].to_numpy()
    groups: dict[int | str, Array] = {int(n): seconds[used == n] for n in np.unique(used)}
    rows = {name: _percentiles(values) for name, values in {**groups, "all": seconds}.items()}
    made = pd.DataFrame.from_dict(rows, orient="index")
    made.index.name = "attempts"
    return made


def _percentiles(values: Array) -> dict[str, float]:
    row: dict[str, float] = {"n": len(values)}
    for percent in PERCENTILES:
        name, found = percentile_name(percent), percentile(values, percent)
        low, high = (math.nan, math.nan) if math.isnan(found) else percentile_interval(values, percent)
        row |= {f"{name}_s": found, f"{name}_low_s": low, f"{name}_high_s": high}
    return row

"""How long events took: from their submit to PROCESSED, and on to their user's socket.

PROCESSED is dated by the commit that made it so. A percentile p is given from 1 / (1 − p) observations on
(2 for the median, 20 for p95, 100 for p99): from fewer it would be the maximum under another name, and is
NaN.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tem_sim.analysis.history import Array, event_numbers, history

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.frames import Run

PERCENTILES = (50, 95, 99)


def percentile(values: Array, percent: float) -> float:
    """Return the smallest observed value that at least `percent` % do not exceed; NaN from too few values."""
    # Rounded, since 1 − 0.95 is a little more than 1/20 and 20 values are enough.
    if len(values) < round(100 / (100 - percent), 6):
        return math.nan
    return float(np.percentile(values, percent, method="inverted_cdf"))


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
    """Return percentiles by attempts used: index 1, 2, … and "all", columns n, p50_s, p95_s, p99_s.

    `to` is "processed" (the commit) or "delivered" (the user's socket).
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
    return {"n": len(values)} | {f"p{p}_s": percentile(values, p) for p in PERCENTILES}

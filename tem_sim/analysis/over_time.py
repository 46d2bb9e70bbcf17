"""Events by the time at which they came (cohorts) and by the time at which they were done: two answers, both needed.

A cohort says what became of those who came during an outage, however late. The completions of a bin say what the system
gave in it, to whomever. A bin without events stays there, empty: its counts are 0, its ratios and percentiles NaN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tem_sim.analysis.history import event_numbers, history
from tem_sim.analysis.latency import grouped_percentile, latencies
from tem_sim.analysis.storm import bin_numbers, bin_starts_s, ratio

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.analysis.history import Array
    from tem_sim.frames import Run

PERCENTILES = (50, 95, 99)


def by_cohort(run: Run, bin_s: float = 10.0) -> pd.DataFrame:
    """Return what became of the events submitted in each bin: index `t_s` (left edges).

    Columns: `events`, and of those `processed`, `extinct` and `open` (not ended when the run was); `processed_share`,
    `extinct_share`; `amplification` (attempts / events); `p50_s`, `p95_s`, `p99_s` (submit to PROCESSED, of those who
    were). Open events are censored: they stand in `open` and in no percentile, which is too low where they are many.
    """
    import pandas as pd

    table = latencies(run)
    bins = bin_numbers(run.events["submitted_s"].to_numpy(), bin_s)
    starts_s = bin_starts_s(run, bins, bin_s)
    status = run.events["status"].astype(str).to_numpy()
    done, gone = status == "PROCESSED", status == "EXTINCT"
    events = np.bincount(bins, minlength=len(starts_s))
    processed, extinct = (np.bincount(bins[mask], minlength=len(starts_s)) for mask in (done, gone))
    attempts = np.bincount(bins, weights=table["attempts"].to_numpy(), minlength=len(starts_s))
    known = done & table["processed_s"].notna().to_numpy()
    columns = {
        "events": events,
        "processed": processed,
        "extinct": extinct,
        "open": events - processed - extinct,
        "processed_share": ratio(processed, events),
        "extinct_share": ratio(extinct, events),
        "amplification": ratio(attempts, events),
        **_percentiles(bins[known], table["processed_s"].to_numpy()[known], len(starts_s)),
    }
    return pd.DataFrame(columns, index=pd.Index(starts_s, name="t_s"))


def by_completion(run: Run, bin_s: float = 10.0) -> pd.DataFrame:
    """Return the events that came to their end in each bin: index `t_s` (left edges).

    Columns: `processed` and `extinct` (by the commit), `goodput_per_s` (processed per second), `mean_attempts` used by
    those processed, and `p50_s`, `p95_s`, `p99_s`: how long they had taken from their submit. After an outage these
    are high while those of the cohorts that come then are low already. A replayed event ends each time that it does.
    """
    import pandas as pd

    past = history(run)
    done, gone = past.has("after", "PROCESSED"), past.has("after", "EXTINCT")
    bins, lost = bin_numbers(past.at_s[done], bin_s), bin_numbers(past.at_s[gone], bin_s)
    starts_s = bin_starts_s(run, np.append(bins, lost), bin_s)
    submitted_s = np.full(len(past.ids), np.nan)
    submitted_s[event_numbers(run, run.events["event_id"].to_numpy())] = run.events["submitted_s"].to_numpy()
    took_s = past.at_s[done] - submitted_s[past.event[done]]
    processed, extinct = (np.bincount(which, minlength=len(starts_s)) for which in (bins, lost))
    attempts = np.bincount(bins, weights=past.attempt_no[done], minlength=len(starts_s))
    known = ~np.isnan(took_s)
    columns = {
        "processed": processed,
        "extinct": extinct,
        "goodput_per_s": processed / bin_s,
        "mean_attempts": ratio(attempts, processed),
        **_percentiles(bins[known], took_s[known], len(starts_s)),
    }
    return pd.DataFrame(columns, index=pd.Index(starts_s, name="t_s"))


def _percentiles(bins: Array, values_s: Array, length: int) -> dict[str, Array]:
    return {f"p{percent}_s": grouped_percentile(bins, values_s, length, percent) for percent in PERCENTILES}

"""What came in per second and what was made of it: submissions offered and accepted, first tries, retries, their ratio.

Bins and attempts are those of `storm`. A ratio whose denominator is 0 in a bin is NaN there: nothing is carried over
from the bin before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tem_sim.analysis.storm import attempts_by_number, bin_numbers, bin_starts_s, ratio

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.analysis.history import Array
    from tem_sim.frames import Run


def rates(run: Run, bin_s: float = 1.0) -> pd.DataFrame:
    """Return the load per bin: index `t_s` (left edges), all columns in 1/s.

    `offered_per_s`: submissions that clients sent, each repetition and double click counted; NaN where the run did not
    count them and for bins that are no whole seconds, in which they are counted. `accepted_per_s`: events that were
    stored. `first_tries_per_s`, `retries_per_s` (attempt 2 and later) and their sum `attempts_per_s`, where their
    handler calls began.
    """
    import pandas as pd

    accepted = bin_numbers(run.events["submitted_s"].to_numpy(), bin_s)
    tries = attempts_by_number(run, bin_s, group_from=2)
    starts_s = bin_starts_s(run, np.append(accepted, len(tries) - 1), bin_s)
    first, again = (_column(tries, number, len(starts_s)) for number in (1, 2))
    return pd.DataFrame(
        {
            "offered_per_s": _offered(run, bin_s, len(starts_s)) / bin_s,
            "accepted_per_s": np.bincount(accepted, minlength=len(starts_s)) / bin_s,
            "first_tries_per_s": first / bin_s,
            "retries_per_s": again / bin_s,
            "attempts_per_s": (first + again) / bin_s,
        },
        index=pd.Index(starts_s, name="t_s"),
    )


def _column(table: pd.DataFrame, number: int, length: int) -> Array:
    counts = table[number].to_numpy() if number in table else np.zeros(len(table), dtype=np.int64)
    return np.pad(counts, (0, length - len(counts)))


def _offered(run: Run, bin_s: float, length: int) -> Array:
    """Return the submissions sent per bin, from the gauge that counts them by the second."""
    name = run.samples["name"].astype(str)
    if not (name == "submissions_offered").any() or round(bin_s % 1.0, 6):
        return np.full(length, np.nan)
    sent = run.samples[name == "submissions_sent_per_s"]
    bins = bin_numbers(sent["t_s"].to_numpy(), bin_s)
    return np.bincount(bins, weights=sent["value"].to_numpy(), minlength=length)[:length]


def amplification_over_time(run: Run, bin_s: float = 1.0) -> pd.DataFrame:
    """Return how many times over the downstream got the load: index `t_s` (left edges).

    `window`: attempts started in the bin / first tries started in it; NaN where no first try did, as in the waves that
    follow a burst. `cumulative`: both counted from the run's start to the bin's end; NaN before the first. At the run's
    end it differs from the metric `amplification` by claims that no handler call followed.
    """
    import pandas as pd

    tries = attempts_by_number(run, bin_s, group_from=2)
    first, again = (_column(tries, number, len(tries)) for number in (1, 2))
    columns = {"window": ratio(first + again, first), "cumulative": ratio(np.cumsum(first + again), np.cumsum(first))}
    return pd.DataFrame(columns, index=tries.index)

"""How hard the retries hit: attempts per second, peak, storm factor, dispersion, amplification, waste.

Bins are [k·bin_s, (k+1)·bin_s) from the run's start to its end. A count of nothing is 0, a rate or ratio of
nothing is NaN; no bin is left out, merged or smoothed. An attempt is counted where its handler call began,
so attempts that were claimed and never started are in no bin.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tem_sim.analysis.history import Array, history

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.frames import Run

WASTED = ("error", "lost", "superseded")


def bin_numbers(times_s: Array, bin_s: float) -> Array:
    """Return each time's bin. In whole microseconds, so that 0.3 s falls into the fourth bin of 0.1 s.

    A skewed clock may read less than 0; such times fall into the first bin.
    """
    if not bin_s >= 1e-6:
        raise ValueError(f"bin_s must be at least a microsecond, got {bin_s}")
    micros = np.rint(np.asarray(times_s) * 1e6).astype(np.int64)
    return np.asarray(np.maximum(micros // round(bin_s * 1e6), 0))


def bin_starts_s(run: Run, bins: Array, bin_s: float) -> Array:
    """Return the left edges of the run's bins, and of those behind its end that a skewed clock filled."""
    last = int(bin_numbers(np.array([max(run.end_s, 0.0)]), bin_s)[0])
    return np.round(np.arange(max(last, int(bins.max(initial=0))) + 1) * bin_s, 6)


def ratio(parts: Array, wholes: Array) -> Array:
    """Return parts / wholes, NaN where a whole is 0."""
    return np.asarray(np.divide(parts, wholes, out=np.full(len(wholes), np.nan), where=wholes > 0))


def attempts_by_number(run: Run, bin_s: float = 1.0, group_from: int | None = None) -> pd.DataFrame:
    """Return the attempts started per bin: index `t_s` (left edges), a column of counts per attempt number.

    With `group_from`, the column of that number holds it and all later ones.
    """
    import pandas as pd

    started = run.attempts["started_s"].to_numpy()
    begun = ~np.isnan(started)
    numbers = run.attempts["attempt_no"].to_numpy()[begun].astype(np.int64)
    if group_from is not None:
        numbers = np.minimum(numbers, group_from)
    bins = bin_numbers(started[begun], bin_s)
    starts_s = bin_starts_s(run, bins, bin_s)
    width = int(numbers.max(initial=1))
    counts = np.bincount(bins * width + numbers - 1, minlength=len(starts_s) * width)
    index = pd.Index(starts_s, name="t_s")
    return pd.DataFrame(counts.reshape(len(starts_s), width), index=index, columns=range(1, width + 1))


def retries_per_bin(run: Run, bin_s: float = 1.0) -> Array:
    """Return how many retries (attempt 2 and later) started in each bin."""
    grouped = attempts_by_number(run, bin_s, group_from=2)
    return grouped[2].to_numpy() if 2 in grouped else np.zeros(len(grouped), dtype=np.int64)


def retry_peak_per_s(run: Run, bin_s: float = 1.0) -> float:
    """Return the most retries started in any one bin, per second; 0 without retries."""
    return float(retries_per_bin(run, bin_s).max(initial=0)) / bin_s


def storm_factor(run: Run, bin_s: float = 1.0) -> float:
    """Return retry peak / mean retry rate; NaN without retries.

    The mean is over the bins from the first retry to the last, empty ones included: over the whole run, a
    longer horizon alone would make the same storm look worse. 1 is a steady stream.
    """
    counts = _storm_bins(run, bin_s)
    return float(counts.max() / counts.mean()) if len(counts) else float("nan")


def _storm_bins(run: Run, bin_s: float) -> Array:
    """Return the retries per bin from the bin of the first retry to that of the last."""
    counts = retries_per_bin(run, bin_s)
    busy = np.flatnonzero(counts)
    return counts[busy[0] : busy[-1] + 1] if len(busy) else counts[:0]


def dispersion(run: Run, widths_s: Sequence[float] = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)) -> pd.DataFrame:
    """Return how bunched the retries are at each width of bins: index `bin_s`; columns bins, mean, variance, `index`.

    `index` is variance / mean of the retries per bin (Fano 1947, Phys. Rev. 72, 26), with the sample variance, over the
    bins from the first retry to the last, empty ones included; NaN from fewer than two bins. Of a Poisson stream it is
    1 at every width, of an even one less. Waves make it rise with the width until a bin holds a whole wave.
    """
    import pandas as pd

    counts = [_storm_bins(run, bin_s) for bin_s in widths_s]
    rows = [
        {
            "bins": len(count),
            "mean": count.mean() if len(count) else np.nan,
            "variance": count.var(ddof=1) if len(count) > 1 else np.nan,
        }
        for count in counts
    ]
    table = pd.DataFrame(rows, index=pd.Index(list(widths_s), name="bin_s"), columns=["bins", "mean", "variance"])
    return table.assign(index=table["variance"] / table["mean"])


def index_of_dispersion(run: Run, bin_s: float = 1.0) -> float:
    """Return variance / mean of the retries per bin, see `dispersion`; NaN where they span fewer than two bins."""
    return float(dispersion(run, [bin_s])["index"].iloc[0])


def attempts_per_event(run: Run) -> pd.DataFrame:
    """Return how many events used how many attempts: index `attempts` from 0 to the most, counts in the columns.

    Columns: processed, extinct, open (at the run's end, so that they may yet use more) and their sum, events.
    """
    import pandas as pd

    used, status = run.events["attempt_no"].to_numpy(), run.events["status"]
    index = pd.RangeIndex(int(used.max(initial=0)) + 1, name="attempts")
    ended = {"processed": status == "PROCESSED", "extinct": status == "EXTINCT"}
    masks = {**ended, "open": ~status.isin(["PROCESSED", "EXTINCT"])}
    counts = {name: np.bincount(used[mask.to_numpy()], minlength=len(index)) for name, mask in masks.items()}
    table = pd.DataFrame(counts, index=index)
    return table.assign(events=table.sum(axis=1))


def amplification(run: Run) -> float:
    """Return attempts / events; NaN without events."""
    return len(run.attempts) / len(run.events) if len(run.events) else float("nan")


def extinct_rate(run: Run) -> float:
    """Return the part of the events that ended EXTINCT; NaN without events."""
    return float((run.events["status"] == "EXTINCT").mean()) if len(run.events) else float("nan")


def wasted_work(run: Run) -> pd.DataFrame:
    """Return the attempts that finished no event: index `outcome`, columns `attempts` and `worker_s`.

    `worker_s` sums the time from the handler call's beginning to its end. Attempts that never began add none, nor do
    lost ones: when their worker died is not in the frames, only when it was noticed.
    """
    import pandas as pd

    attempts = run.attempts
    spent_s = (attempts["finished_s"] - attempts["started_s"]).clip(lower=0).where(attempts["outcome"] != "lost")
    by_outcome = spent_s.groupby(attempts["outcome"], observed=False)
    table = pd.DataFrame({"attempts": by_outcome.size(), "worker_s": by_outcome.sum()})
    return table.reindex(pd.Index(WASTED, name="outcome"))


def throughput(run: Run, bin_s: float = 1.0) -> pd.DataFrame:
    """Return work done per bin: index `t_s`, `throughput_per_s` (attempts that ended) and `goodput_per_s`.

    Goodput counts only what was of use: events that became PROCESSED.
    """
    import pandas as pd

    ended = run.attempts["finished_s"].to_numpy()
    past = history(run)
    all_bins = bin_numbers(ended[~np.isnan(ended)], bin_s)
    good_bins = bin_numbers(past.at_s[past.has("after", "PROCESSED")], bin_s)
    starts_s = bin_starts_s(run, np.concatenate([all_bins, good_bins]), bin_s)
    return pd.DataFrame(
        {
            "throughput_per_s": np.bincount(all_bins, minlength=len(starts_s)) / bin_s,
            "goodput_per_s": np.bincount(good_bins, minlength=len(starts_s)) / bin_s,
        },
        index=pd.Index(starts_s, name="t_s"),
    )

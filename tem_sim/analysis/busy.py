"""How much of the workers' time was used, and how much of that in the handler's calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tem_sim.analysis.storm import bin_numbers, bin_starts_s, ratio

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.analysis.history import Array
    from tem_sim.frames import Run


def worker_slots(run: Run) -> int:
    """Return how many tasks the workers can run at the same time."""
    workers = run.scenario.workers
    return workers.count * workers.concurrency


def utilisation(run: Run, bin_s: float = 1.0) -> pd.DataFrame:
    """Return how much of the workers' time was used, per bin: index `t_s` (left edges), both of all slots, 0 to 1.

    `busy`: slots inside a task, claims and commits included, as the gauge saw it each second (NaN in bins without a
    reading). `calling`: slots inside a handler's call, exactly; calls whose end nobody recorded, as of a killed worker,
    are left out. A slot that is busy and not calling waits for the store, or is frozen.
    """
    import pandas as pd

    starts_s = bin_starts_s(run, np.zeros(0, dtype=np.int64), bin_s)
    edges_s = np.minimum(np.append(starts_s, starts_s[-1] + bin_s), max(run.end_s, 0.0))
    calls = run.attempts.loc[run.attempts["outcome"] != "lost", ["started_s", "finished_s"]].dropna().to_numpy()
    spent_s = np.diff(_call_seconds(calls, edges_s))
    width_s = np.diff(edges_s)
    slot_s = width_s * worker_slots(run)
    calling = ratio(spent_s, slot_s)
    columns = {"busy": _busy(run, bin_s, len(starts_s)) / worker_slots(run), "calling": calling}
    return pd.DataFrame(columns, index=pd.Index(starts_s, name="t_s"))


def _call_seconds(calls: Array, times_s: Array) -> Array:
    """Return the seconds spent in calls up to each time: of every call that has begun, less what lies after its end."""
    return np.asarray((_since(np.sort(calls[:, 0]), times_s) - _since(np.sort(calls[:, 1]), times_s)) / 1e6)


def _since(begun_s: Array, times_s: Array) -> Array:
    # In whole microseconds: sums of seconds would leave a bin in which nothing ran a little more or less than nothing.
    begun, times = (np.rint(values * 1e6).astype(np.int64) for values in (begun_s, times_s))
    count = np.searchsorted(begun, times)
    return np.asarray(count * times - np.append(0, np.cumsum(begun))[count])


def _busy(run: Run, bin_s: float, length: int) -> Array:
    gauge = run.samples[run.samples["name"] == "workers_busy"]
    bins = bin_numbers(gauge["t_s"].to_numpy(), bin_s)
    readings = np.bincount(bins, minlength=length)[:length]
    total = np.bincount(bins, weights=gauge["value"].to_numpy(), minlength=length)[:length]
    return ratio(total, readings)

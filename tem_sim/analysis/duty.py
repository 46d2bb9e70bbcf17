"""What the scheduler and the workers' claims had to carry: rows per tick and per claim, and how late it was.

A tick or a claim that found nothing leaves no trace in the log, so shares are of those that found something.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tem_sim.analysis.history import Array, after_a_change, history, tries
from tem_sim.analysis.latency import percentile
from tem_sim.analysis.rules import rules

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.frames import Run

LAG_PERCENTILES = (50, 95, 99)


def retry_ticks(run: Run) -> pd.DataFrame:
    """Return one row per tick of `retry_failed_events` that requeued anything, in order of time.

    Columns: `t_s`, `actor`, `rows`, `full` (as many as `requeue_limit` allows: more may have been due), and
    `longest_lag_s` (how long the longest waiting of them had been due).
    """
    late = lags(run)
    table = _together(run, "retry", late["requeue_lag_s"].to_numpy())
    limit = rules(run).settings.requeue_limit
    return table.assign(full=table["rows"] >= limit if limit is not None else False)[
        ["t_s", "actor", "rows", "full", "longest_lag_s"]
    ]


def claim_batches(run: Run) -> pd.DataFrame:
    """Return one row per claim that found rows, in order of time.

    Columns: `t_s`, `actor` (the worker's slot), `rows` and `full` (a whole `batch_size`: more may have been waiting).
    """
    table = _together(run, "claim", np.zeros(int(history(run).has("cause", "claim").sum())))
    return table.assign(full=table["rows"] >= rules(run).settings.batch_size)[["t_s", "actor", "rows", "full"]]


def _together(run: Run, cause: str, lag_s: Array) -> pd.DataFrame:
    """Return what one actor did for one cause at one instant as one row, with the largest of the rows' lags."""
    import pandas as pd

    past = history(run)
    chosen = past.has("cause", cause)
    at_s, actor = past.at_s[chosen], past.actor[chosen]
    order = np.lexsort((actor, at_s))
    at_s, actor, lag_s = at_s[order], actor[order], lag_s[order]
    starts = np.flatnonzero((after_a_change(at_s) | after_a_change(actor))[: len(at_s)])
    rows = np.diff(np.append(starts, len(at_s)))
    words = np.array(past.words["actor"], dtype=object)
    longest_s = np.fmax.reduceat(lag_s, starts) if len(starts) else lag_s
    columns = {"t_s": at_s[starts], "actor": words[actor[starts]], "rows": rows, "longest_lag_s": longest_s}
    return pd.DataFrame(columns)


def lags(run: Run) -> pd.DataFrame:
    """Return one row per retry that was requeued, by event and then in order: how late it was.

    Columns: `event_id`, `attempt_no` (of the attempt that had failed), `due_s` (`next_retry_at`), `requeued_s`,
    `claimed_s` (NaN while no worker has it), `requeue_lag_s` = requeued_s − due_s, `pick_up_lag_s` = claimed_s − due_s.
    What is due and not requeued yet is not here: `in_flight` of `stuck` has it.
    """
    import pandas as pd

    past = history(run)
    retries = past.has("cause", "retry")
    event, number = past.event[retries], past.attempt_no[retries]
    failed, next_try = tries(run).find(event, number), tries(run).find(event, number + 1)
    booked_s = (run.attempts["finished_s"] + run.attempts["delay_s"]).to_numpy()
    due_s = np.round(np.append(booked_s, np.nan)[failed], 6)
    claimed_s = np.append(run.attempts["claimed_s"].to_numpy(), np.nan)[next_try]
    table = pd.DataFrame({"event_id": past.ids[event], "attempt_no": number, "due_s": due_s})
    table = table.assign(requeued_s=past.at_s[retries], claimed_s=claimed_s)
    return table.assign(requeue_lag_s=table["requeued_s"] - due_s, pick_up_lag_s=claimed_s - due_s)


def duty(run: Run) -> pd.DataFrame:
    """Return the duty of scheduler and workers in two rows, index `of`: "retry ticks" and "claims".

    Columns: `n` (those that found rows), `rows` in all, `mean_rows`, `most_rows`, `full_share` (of those n; NaN where
    n is 0), and the lag behind `next_retry_at` of the retries that passed: `lag_p50_s`, `lag_p95_s`, `lag_p99_s`,
    `lag_most_s`. Of the ticks that is the scheduler's part of it, of the claims the whole.
    """
    import pandas as pd

    late = lags(run)
    ticks = _sum_up(retry_ticks(run), late["requeue_lag_s"])
    claims = _sum_up(claim_batches(run), late["pick_up_lag_s"])
    return pd.DataFrame([ticks, claims], index=pd.Index(["retry ticks", "claims"], name="of"))


def _sum_up(batches: pd.DataFrame, lag_s: pd.Series[float]) -> dict[str, float]:
    rows, known_s = batches["rows"].to_numpy(), lag_s.dropna().to_numpy()
    return {
        "n": len(rows),
        "rows": int(rows.sum()),
        "mean_rows": float(rows.mean()) if len(rows) else np.nan,
        "most_rows": int(rows.max(initial=0)),
        "full_share": float(batches["full"].mean()) if len(rows) else np.nan,
        **{f"lag_p{percent}_s": percentile(known_s, percent) for percent in LAG_PERCENTILES},
        "lag_most_s": float(known_s.max()) if len(known_s) else np.nan,
    }


def full_tick_share(run: Run) -> float:
    """Return the part of the ticks that requeued anything which met their limit; NaN without such ticks."""
    ticks = retry_ticks(run)
    return float(ticks["full"].mean()) if len(ticks) else np.nan


def scheduler_lag_s(run: Run, percent: float = 95) -> float:
    """Return a percentile of how long retries had been due when they were requeued; NaN from too few."""
    return percentile(lags(run)["requeue_lag_s"].dropna().to_numpy(), percent)

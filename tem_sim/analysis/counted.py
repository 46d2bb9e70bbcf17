"""What the run itself counted, since no row of a frame stands for it: submissions, and what the database was asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tem_sim.frames import Run

SUBMISSIONS = ("offered", "accepted", "rejected")


def submissions(run: Run) -> dict[str, int] | None:
    """Return how many events clients offered, and how many were accepted and rejected; None where nobody counted."""
    gauges = run.samples[run.samples["name"].isin([f"submissions_{what}" for what in SUBMISSIONS])]
    last = gauges.groupby(gauges["name"].astype(str))["value"].last()
    if len(last) < len(SUBMISSIONS):
        return None
    return {what: int(last[f"submissions_{what}"]) for what in SUBMISSIONS}


def rejected_submissions(run: Run) -> int:
    """Return how many events clients offered in vain; 0 where nobody counted."""
    counted = submissions(run)
    return counted["rejected"] if counted else 0


def database_per_event(run: Run, what: str = "statements") -> float:
    """Return the "statements" or "transactions" that the pipeline's code sent to the database, per event.

    All of them: claims and ticks that found nothing, and the gateway's. A statement that is executed for many rows at
    once counts once. NaN without events, and where the run did not count them.
    """
    counted = run.samples.loc[run.samples["name"] == f"database_{what}", "value"].to_numpy()
    return float(counted[-1] / len(run.events)) if len(counted) and len(run.events) else np.nan

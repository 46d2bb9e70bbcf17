"""Who was told what: notifications against PROCESSED events, and side effects against attempts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.frames import Run

FATES = ("told", "owed", "lost", "duplicate", "phantom")


def deliveries(run: Run, outbox: bool) -> pd.DataFrame:
    """Return one row per event that is PROCESSED or has a notification: event_id, shown, received, fate.

    `told`: shown once. `duplicate`: shown more than once. `phantom`: a notification of an event that is not
    PROCESSED. Shown never: `owed` while an outbox row stands that nobody has acknowledged (its user may be
    offline, and gets it on connecting), else `lost`.
    """
    events = run.events.loc[run.events["status"] == "PROCESSED", ["event_id"]].assign(done=True)
    notes = run.notifications.assign(unsettled=run.notifications["acked_s"].isna())
    told = notes.groupby("event_id")[["shown", "received", "unsettled"]].agg(
        {"shown": "sum", "received": "sum", "unsettled": "any"}
    )
    table = events.merge(told, left_on="event_id", right_index=True, how="outer")
    shown = table["shown"].fillna(0).to_numpy()
    done = table["done"].notna().to_numpy()
    owed = (table["unsettled"] == True).to_numpy() & outbox  # noqa: E712  The column holds NaN where there is no row.
    fate = np.select([~done, shown > 1, shown == 1, owed], ["phantom", "duplicate", "told", "owed"], default="lost")
    return table.assign(shown=shown.astype("int32"), received=table["received"].fillna(0).astype("int32"), fate=fate)[
        ["event_id", "shown", "received", "fate"]
    ].reset_index(drop=True)


def duplicate_effects(run: Run) -> int:
    """Return how many times the downstream applied a side effect again, over all events."""
    happened = run.attempts.loc[run.attempts["effect_s"].notna(), "event_id"]
    return len(happened) - int(happened.nunique())

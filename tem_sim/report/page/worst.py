"""The life of the worst event, step by step: which one it is, why it was chosen, and all that happened to it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from tem_sim.analysis.timeline import STEPS, timeline, worst_event
from tem_sim.report.page.blocks import Html, element, facts_list, folded, frame_table

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.frames import Run
    from tem_sim.report.page.runs import Runs

# A row that is retried for ever has thousands of steps; its beginning and its end tell it.
SHOWN_STEPS = 60


def worst(runs: Runs) -> Html:
    """Return all that happened to each run's worst event, a row per step."""
    return Html("".join(runs.heading(number) + _of(run) for number, run in enumerate(runs)))


def _of(run: Run) -> str:
    found = worst_event(run)
    if found is None:
        return element("p", "No event was submitted.")
    event_id, _ = found
    life = timeline(run, event_id)
    met = set(life["what"])
    shown, part = _shortened(life)
    steps = frame_table(shown, f"What happened to event {event_id}{part}")
    meanings = facts_list({what: escape(about) for what, about in STEPS.items() if what in met})
    return steps + folded("What the steps mean", meanings)


def _shortened(life: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    import pandas as pd

    table = life.rename(columns={"t_s": "time (s)", "attempt_no": "attempt"})
    # Elsewhere times have as many digits as they need; here all have six, so that they stand below one another.
    table["time (s)"] = [f"{seconds:,.6f}" for seconds in table["time (s)"]]
    table["attempt"] = [str(number) if number else "" for number in table["attempt"]]
    if len(table) <= SHOWN_STEPS:
        return table, f", in {len(table)} steps"
    half = SHOWN_STEPS // 2
    gap = pd.DataFrame([["…", f"{len(table) - 2 * half:,} steps", "", "", "left out here"]], columns=table.columns)
    kept = pd.concat([table.head(half).astype(object), gap, table.tail(half).astype(object)])
    return kept, f": the first and the last {half} of {len(table):,} steps"

"""Simulated against live, on a page: what was predicted, what happened, and both over time.

Of a folder that `tem-sim live conform` wrote, what it measured over all its runs is shown; of runs of both modes that
were put together by hand, what these few can tell.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tem_sim.analysis.conformance import COMPARED, conformance, counted, course_of, overlay
from tem_sim.checks.verdict import count
from tem_sim.frames import RunError
from tem_sim.plots.conformance import conformance_timelines
from tem_sim.report.numbers import value_text
from tem_sim.report.page.blocks import Html, paragraphs, table
from tem_sim.report.page.figures import Picture, drawn

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.report.page.runs import Runs

FILE = "conformance.json"
# Where the live runs of a conformance are that is not finished.
UNFINISHED = "conformance.unfinished"
MODES = {"sim", "live"}


def run_folders(folder: Path) -> tuple[Path, ...]:
    """Return the folders of the runs that a conformance folder holds; nothing where it is none.

    Raises `RunError` where one was begun and never finished.
    """
    document = read(folder)
    if document is not None:
        return tuple(folder / name for name in document["runs"])
    kept = sorted(file.parent.name for file in (folder / UNFINISHED).glob("live-seed-*/run.json"))
    if kept and not (folder / "run.json").is_file():
        raise RunError(
            f"{folder}: `tem-sim live conform` did not finish here; what it kept is in {folder / UNFINISHED}: "
            f"{', '.join(kept)}; compare again, or give one of these"
        )
    return ()


def read(folder: Path) -> dict[str, Any] | None:
    """Return what is written in a conformance folder; None where nothing, or nothing that can be read, is."""
    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("runs"), list) else None


def of_both_modes(heads: Sequence[Mapping[str, Any]]) -> bool:
    """Whether runs, of which `scenario` is the name and `mode` the mode, are one scenario's, simulated and live."""
    return {head["mode"] for head in heads} == MODES and len({head["scenario"] for head in heads}) == 1


def heads(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """Return name and mode of saved runs, read without their frames; nothing where one cannot be read."""
    try:
        found = [json.loads((folder / "run.json").read_text(encoding="utf-8")) for folder in folders]
        return [{"scenario": one["scenario"].get("scenario"), "mode": one["mode"]} for one in found]
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return []


def conformed(runs: Runs) -> Html:
    """Return where each compared metric was predicted to fall, and where the live runs fell."""
    import pandas as pd

    document = runs.conformance
    found = pd.DataFrame(document["table"]) if document else _measured(runs)
    rows = [_row(row) for row in found.to_dict("records")]
    heads = ["metric", "verdict", "predicted", "from", "to", "live, median", "from", "to", "inside", "what it asks"]
    caption = "Predicted from the simulated runs, and seen in the live ones"
    return Html(paragraphs(_said(found, document)) + table(heads, rows, caption, range(2, 9)))


def timelines(runs: Runs) -> Picture:
    """Draw attempts per second and backlog, simulated as a band and live as lines."""
    import pandas as pd

    document = runs.conformance
    if document is not None:
        found = pd.DataFrame(document["timelines"])
    else:
        simulated, live = ([course_of(run) for run in runs if run.mode == mode] for mode in ("sim", "live"))
        found = overlay(simulated, live)
    said = _peaks(found)
    alt = f"A band and lines over time: attempts per second and backlog, simulated and live. {said}"
    return Picture(drawn("conformed", alt, lambda made: conformance_timelines(found, made), 2), alt, escape(said))


def _measured(runs: Runs) -> pd.DataFrame:
    simulated, live = ([one.metrics for one in runs.outcomes if one.run.mode == mode] for mode in ("sim", "live"))
    return conformance(simulated, live)


def _row(row: Mapping[Any, Any]) -> list[str]:
    name = str(row["metric"])
    texts = [
        value_text(name, _number(row[column]))
        for column in ("predicted", "predicted_low", "predicted_high", "live", "live_low", "live_high")
    ]
    return [name, str(row["verdict"]), *texts, f"{row['inside']:.0f} of {row['runs']:.0f}", COMPARED.get(name, "")]


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _said(found: pd.DataFrame, document: Mapping[str, Any] | None) -> list[str]:
    counts = counted(found)
    simulated, live = int(found["n"].max()), int(found["runs"].max())
    verdict = (
        f"{counts['inside']} of {len(found)} metrics are where {simulated} simulated runs predict them, "
        f"{counts['outside']} are not, {counts['unknown']} cannot be told; {count(live, 'live run')}."
    )
    if document is not None:
        return [verdict, *(str(note).replace("`", "") for note in document.get("notes", []))]
    return [
        verdict,
        f"An interval holds one more run with a probability of {_number(found['coverage'].max()):.1%}, if the "
        "simulation is right; the verdict is on the median of the live runs.",
    ]


def _peaks(found: pd.DataFrame) -> str:
    """Say how high each timeline rises, in the simulated median and in the live runs."""
    told = []
    for what, words in (("attempts_per_s", "attempts per second"), ("backlog", "rows in the backlog")):
        rows = found[found["what"] == what]
        lines = [name for name in rows.columns if str(name).startswith("live-")]
        live = rows[lines].max().tolist()
        told.append(
            f"At most {rows['median'].max():,.4g} {words} in the simulated median, "
            f"{min(live):,.4g} to {max(live):,.4g} in the live runs."
        )
    return " ".join(told)

"""A conformance as one JSON document, and as a folder: the document, the live runs and some of the simulated ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from tem_sim.frames import RunError
from tem_sim.report.document import Document, number, records, text
from tem_sim.report.page.conformed import FILE
from tem_sim.versions import versions

if TYPE_CHECKING:
    from tem_sim.conformance.conform import Conformance
    from tem_sim.frames import Run

SCHEMA_VERSION = 1


def conformance_document(found: Conformance, folder: Path | None = None) -> Document:
    """Return all that was found; `runs` are the names of the folders in `folder`, where it was saved."""
    return {
        "schema_version": SCHEMA_VERSION,
        "scenario": found.scenario.name,
        "word": found.word,
        "verdict": found.verdict,
        "inside": found.inside,
        "at_least": found.at_least,
        "time_scale": found.time_scale,
        "store": found.store,
        "seeds": [*found.seeds],
        "live_seeds": [*found.live_seeds],
        "table": [*records(found.table)],
        "values": [
            {"seed": seed, **{name: number(value) for name, value in one.items()}}
            for seed, one in zip(found.live_seeds, found.values, strict=True)
        ],
        "suspects": [*records(found.suspects)],
        "unsafe": [
            {"mode": mode, "seed": seed, "check": name, "detail": detail} for mode, seed, name, detail in found.unsafe
        ],
        "timelines": [*records(found.timelines)],
        "notes": [*found.notes],
        "simulated_scenario": found.scenario.resolved(),
        "versions": {**versions(), **found.runs[0].versions},
        "runs": [run_name(run) for run in found.runs],
        "folder": None if folder is None else str(folder),
    }


def run_name(run: Run) -> str:
    """Return the name of a run's folder in that of its conformance."""
    return f"{run.mode}-seed-{run.seed}"


def save(found: Conformance, folder: str | Path) -> Path:
    """Write the folder and return it; an earlier conformance there is replaced, anything else is refused (RunError)."""
    folder = Path(folder)
    refuse_stranger(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for run in found.runs:
        run.save(folder / run_name(run))
    _forget_others(found, folder)
    (folder / FILE).write_text(text(conformance_document(found)) + "\n", encoding="utf-8")
    return folder


def refuse_stranger(folder: Path) -> None:
    """Raise RunError where a folder holds something else than a conformance."""
    if folder.exists() and not (folder.is_dir() and ((folder / FILE).is_file() or not any(folder.iterdir()))):
        raise RunError(f"{folder}: exists and holds no conformance; choose another folder or empty this one")


def _forget_others(found: Conformance, folder: Path) -> None:
    """Remove the runs of an earlier conformance that are not among these."""
    import shutil

    try:
        before = json.loads((folder / FILE).read_text(encoding="utf-8"))["runs"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    for name in set(map(str, before)) - {run_name(run) for run in found.runs}:
        if (folder / name / "run.json").is_file() and Path(name).name == name:
            shutil.rmtree(folder / name)

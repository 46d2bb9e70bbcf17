"""A conformance as one JSON document, and as a folder: the document, the first live runs and some simulated ones.

Live runs take minutes, so that each is kept as soon as it has ended. Until the conformance is finished they are in a
folder in its folder, so that an earlier one there stays what it is: its document and its runs.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from tem_sim.frames import RunError
from tem_sim.report.document import Document, number, records, text
from tem_sim.report.page.conformed import FILE, UNFINISHED
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


def keep(run: Run, folder: str | Path) -> Path:
    """Save a live run of a conformance that is to be saved in a folder, and return where it is until then."""
    return run.save(Path(folder) / UNFINISHED / run_name(run))


def save(found: Conformance, folder: str | Path) -> Path:
    """Write the folder and return it; an earlier conformance there is replaced, anything else is refused (RunError).

    So are the runs that `keep` has kept there, of this one and of those that were never finished.
    """
    folder = Path(folder)
    refuse_stranger(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for run in found.runs:
        run.save(folder / run_name(run))
    _forget_others(found, folder)
    (folder / FILE).write_text(text(conformance_document(found)) + "\n", encoding="utf-8")
    _forget_unfinished(folder / UNFINISHED)
    return folder


def refuse_stranger(folder: Path) -> None:
    """Raise RunError where a folder holds something else than a conformance, finished or not."""
    if folder.exists() and not (folder.is_dir() and ((folder / FILE).is_file() or _is_unfinished(folder))):
        raise RunError(f"{folder}: exists and holds no conformance; choose another folder or empty this one")


def _is_unfinished(folder: Path) -> bool:
    return all(path.name == UNFINISHED and path.is_dir() for path in folder.iterdir())


def _forget_others(found: Conformance, folder: Path) -> None:
    """Remove the runs of an earlier conformance that are not among these."""
    try:
        before = json.loads((folder / FILE).read_text(encoding="utf-8"))["runs"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    for name in set(map(str, before)) - {run_name(run) for run in found.runs}:
        if (folder / name / "run.json").is_file() and Path(name).name == name:
            shutil.rmtree(folder / name)


def _forget_unfinished(folder: Path) -> None:
    """Remove the runs that were kept, and what a kill in the middle of it left; what somebody put beside them stays."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if re.fullmatch(r"live-seed-\d+|\.live-seed-\d+-.*", path.name) and path.is_dir():
            shutil.rmtree(path)
    if not any(folder.iterdir()):
        folder.rmdir()

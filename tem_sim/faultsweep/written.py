"""The files of what a sweep found broken: scenarios with one fault or two, which `tem-sim run` replays."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tem_sim.faultsweep.account import told
from tem_sim.hunt.goal import BREAKS
from tem_sim.hunt.written import commented, short_text
from tem_sim.scenario.models import Scenario
from tem_sim.versions import versions

if TYPE_CHECKING:
    from tem_sim.faultsweep.journal import Row
    from tem_sim.faultsweep.sweep import FaultSweep

FOLDER = Path("reports/faults")


def write(made: FaultSweep, folder: Path, repeat: str) -> dict[str, Path]:
    """Write a file for each check that is broken, of the simplest run that breaks it; return them by the runs' keys."""
    simplest: dict[str, Row] = {}
    for row in made.failing:
        for name in made.unmeant(row):
            simplest.setdefault(name, row)
    files: dict[str, Path] = {}
    for name, row in simplest.items():
        if row.key in files:
            continue
        folder.mkdir(parents=True, exist_ok=True)
        what = "broken" if name == BREAKS else name
        file = folder / (re.sub(r"[^\w.-]+", "-", f"{made.scenario.name}-{row.variant}-{what}").strip(".-") + ".yaml")
        file.write_text(_text(made, row, file, repeat), encoding="utf-8")
        files[row.key] = file
    return files


def _text(made: FaultSweep, row: Row, file: Path, repeat: str) -> str:
    scenario = made.scenario_of(row)
    named = Scenario.model_validate({**scenario.resolved(), "scenario": file.stem, "expect": {}})
    return commented(_comments(made, row, file, repeat)) + short_text(named)


def _comments(made: FaultSweep, row: Row, file: Path, repeat: str) -> Iterator[str]:
    yield from (f"{name}: {detail}" for name, detail in made.unmeant(row).items())
    yield f"One event, {told(row)}."
    yield f"Found by `{repeat}`"
    word = "FAIL, exit code 1" if row.digest else "BROKEN, exit code 3"
    yield f"Replay: tem-sim run {file.name}   {word}, until it is mended."
    if row.digest:
        yield f"Digest: {row.digest} with tem-sim {versions()['tem_sim']}"

"""A sweep as one JSON document, for programs: the same keys for every sweep, and null where there is no number."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tem_sim.report.document import SCHEMA_VERSION, number, records
from tem_sim.scenario.seeds import SeedsUntil
from tem_sim.versions import engine, versions

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.report.document import Document
    from tem_sim.sweeps.sweep import CellResult, Sweep


def document(sweep: Sweep, path: Path | None = None) -> Document:
    """Return a sweep's document; `path` is its results file, as it was given. The rows are in the file."""
    table, thresholds = sweep.table(), sweep.thresholds()
    seeds = sweep.seeds
    return {
        "schema_version": SCHEMA_VERSION,
        "scenario": sweep.name,
        "verdict": sweep.word,
        "sentence": sweep.verdict,
        "paths": [*sweep.paths],
        "seeds": seeds.resolved() if isinstance(seeds, SeedsUntil) else [*seeds] if isinstance(seeds, tuple) else seeds,
        "cells": [_cell(cell, table, thresholds) for cell in sweep.cells],
        "versions": {**versions()},
        "engine": engine(),
        "results": None if path is None else str(path),
    }


def _cell(cell: CellResult, table: pd.DataFrame, thresholds: pd.DataFrame) -> Document:
    means = table[table["cell"] == cell.number]
    held = thresholds[thresholds["cell"] == cell.number].drop(columns=["cell", "name"])
    return {
        "cell": cell.number,
        "name": cell.name,
        "labels": {**cell.labels},
        "verdict": cell.word,
        "runs": len(cell.runs),
        "metrics": {str(row["measure"]): _numbers(row) for row in means.to_dict("records")},
        "thresholds": [*records(held)],
        "checks": {**cell.failing_checks()},
        "broken": [{"seed": row.seed, "error": row.error} for row in cell.broken],
    }


def _numbers(row: Mapping[object, object]) -> Document:
    return {name: number(float(str(row[name]))) for name in ("mean", "low", "high", "n")}

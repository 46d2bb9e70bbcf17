"""An outcome as one JSON document, for programs: the same keys for every run, and null where there is no number."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from tem_sim.versions import versions

if TYPE_CHECKING:
    import pandas as pd
    from pydantic import JsonValue

    from tem_sim.analysis.result import Result
    from tem_sim.checks.thresholds import Held
    from tem_sim.report.outcome import Judged, Outcome

SCHEMA_VERSION = 1
Document: TypeAlias = "dict[str, JsonValue]"


def document(outcome: Outcome, run_dir: Path | None) -> Document:
    """Return a run's document; `run_dir` is where it is saved, as it was given."""
    run = outcome.run
    return {
        "schema_version": SCHEMA_VERSION,
        "scenario": run.name,
        "seed": run.seed,
        "mode": run.mode,
        "status": run.status,
        "verdict": outcome.word,
        "digest": run.digest or None,
        "versions": {**run.versions},
        "metrics": {name: number(value) for name, value in outcome.metrics.items()},
        "checks": [_check(judged) for judged in outcome.checks],
        "thresholds": [_threshold(held) for held in outcome.thresholds],
        "warnings": [*outcome.warnings()],
        "run_dir": None if run_dir is None else str(run_dir),
    }


def broken_document(scenario: str, seed: int, error: str, traceback_file: Path | None, mode: str = "sim") -> Document:
    """Return the document of a run that broke and left no frames: the same keys, without numbers."""
    return {
        "schema_version": SCHEMA_VERSION,
        "scenario": scenario,
        "seed": seed,
        "mode": mode,
        "status": "broken",
        "verdict": "BROKEN",
        "digest": None,
        "versions": {**versions()},
        "metrics": {},
        "checks": [],
        "thresholds": [],
        "warnings": [],
        "run_dir": None,
        "error": error,
        "traceback": None if traceback_file is None else str(traceback_file),
    }


def together(documents: Sequence[Document]) -> Document:
    """Return one document for the runs of a command over several files."""
    return {"schema_version": SCHEMA_VERSION, "runs": [*documents]}


def result_document(result: Result) -> Document:
    """Return a study's answer: what was found in words, the table it rests on, and how it was made."""
    return {
        "schema_version": SCHEMA_VERSION,
        "title": result.title,
        "verdict": result.verdict,
        "table": [*records(result.table)],
        "notes": [*result.notes],
        "versions": {**versions()},
    }


def text(value: Document) -> str:
    """Return the document as text, never with the NaN or Infinity that JSON does not know."""
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)


def number(value: float) -> int | float | None:
    """Return a JSON number: whole ones without a point, None for NaN and infinities."""
    if not math.isfinite(value):
        return None
    return int(value) if float(value).is_integer() else float(value)


def _check(judged: Judged) -> Document:
    verdict = judged.verdict
    return {
        "name": verdict.name,
        "kind": verdict.kind,
        "verdict": verdict.verdict,
        "expected": judged.expected,
        "detail": verdict.detail,
        "n_rows": verdict.n_rows,
        "rows": [*records(verdict.rows)],
    }


def _threshold(held: Held) -> Document:
    return {
        "metric": held.threshold.metric,
        "threshold": str(held.threshold),
        "strict": held.threshold.strict,
        "verdict": held.verdict,
        "value": number(held.value),
        "bound": number(held.threshold.bound),
        "n": held.n,
        "missing": held.missing,
        "detail": held.detail,
    }


def records(rows: pd.DataFrame) -> list[Document]:
    """Return the rows as mappings; `DataFrame.to_json` would round the times to ten digits."""
    columns = {str(name): [_plain(value) for value in rows[name].tolist()] for name in rows.columns}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _plain(value: object) -> JsonValue:
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, (int, float)):
        return number(value)
    return str(value)

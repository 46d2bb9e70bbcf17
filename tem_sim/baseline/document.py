"""A check as one JSON document, for programs: the same keys for every scenario, and null where there is no number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tem_sim.baseline.words import change, sentence
from tem_sim.report.document import Document, number
from tem_sim.versions import versions

if TYPE_CHECKING:
    from tem_sim.baseline.check import Checked, CheckedCase
    from tem_sim.baseline.drift import Change, Drift
    from tem_sim.baseline.judged import Judged
    from tem_sim.checks.thresholds import OverSeeds

SCHEMA_VERSION = 1


def document(checked: Checked) -> Document:
    """Return the document of a check."""
    return {
        "schema_version": SCHEMA_VERSION,
        "verdict": checked.word,
        "exit_code": checked.exit_code,
        "sentence": checked.sentence(),
        "versions": {**versions()},
        "scenarios": [_case(case) for case in checked.cases],
    }


def _case(case: CheckedCase) -> Document:
    return {
        "scenario": case.name,
        "verdict": case.word,
        "sentence": sentence(case),
        "seeds": [*case.case.seeds],
        "drift": None if case.drift is None else _drift(case.drift),
        "thresholds": [_threshold(held) for held in case.thresholds],
        "checks": [{"name": name, "seeds": [*seeds], "expected": not seeds} for name, seeds in case.checks.items()],
        "metrics": [_metric(one) for one in case.metrics],
        "broken": [{"seed": run.seed, "error": run.error} for run in case.case.broken],
    }


def _drift(found: Drift) -> Document:
    parting = found.parting
    return {
        "identical": found.identical,
        "seeds_same": [*found.same],
        "seeds_other": [*found.other],
        "scenario": [_change(one) for one in found.scenario],
        "versions": [_change(one) for one in found.versions],
        "code": found.code,
        "sentences": [*found.sentences()],
        "parting": None
        if parting is None
        else {
            "seed": found.log_seed,
            "event": parting.event,
            "number": parting.number,
            "before": None if parting.old is None else {**parting.old._asdict()},
            "after": None if parting.new is None else {**parting.new._asdict()},
            "kept": parting.kept,
        },
    }


def _change(one: Change) -> Document:
    return {"path": one.path, "before": one.before, "after": one.after}


def _threshold(held: OverSeeds) -> Document:
    pooled = held.pooled
    return {
        "metric": pooled.threshold.metric,
        "threshold": str(pooled.threshold),
        "strict": pooled.threshold.strict,
        "verdict": pooled.verdict,
        "value": number(pooled.value),
        "detail": pooled.detail,
        "by_seed": {str(seed): one.verdict for seed, one in held.by_seed.items()},
    }


def _metric(one: Judged) -> Document:
    found, guard = one.contrast, one.pairs.guard
    return {
        "metric": one.metric,
        "finding": one.finding,
        "detail": change(one),
        "before": number(found.mean_a),
        "after": number(found.mean_b),
        "relative": found.relative,
        "effect": number(found.effect),
        "low": number(found.low),
        "high": number(found.high),
        "min_effect": guard.min_effect,
        "worse": guard.worse,
        "must_settle": guard.must_settle,
        "p_worse": number(found.p_worse),
        "n": found.n,
        "missing": one.missing,
        "seeds_needed": one.seeds_needed,
        "variance_reduction": number(found.variance_reduction),
    }

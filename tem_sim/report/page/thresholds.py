"""What a run was held to, and what it came to."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from tem_sim.analysis.metrics import METRICS
from tem_sim.report.numbers import why_missing
from tem_sim.report.page.blocks import table
from tem_sim.report.page.checks import answer

if TYPE_CHECKING:
    from tem_sim.checks.thresholds import Held
    from tem_sim.checks.verdict import Answer
    from tem_sim.report.outcome import Kind, Outcome

_ANSWERS: dict[Answer, tuple[Kind, str]] = {
    "true": ("holds", "met"),
    "false": ("broken", "not met"),
    "unknown": ("unknown", "cannot tell"),
}


def thresholds(outcome: Outcome) -> str:
    """Return a row per threshold of the run's scenario; nothing where it has none."""
    if not outcome.thresholds:
        return ""
    rows = [_row(held, outcome) for held in outcome.thresholds]
    return table(["threshold", "held to", "answer", "finding"], rows, "Thresholds of the scenario", html=True)


def _row(held: Held, outcome: Outcome) -> list[str]:
    threshold = held.threshold
    kind, words = _ANSWERS[held.verdict]
    if held.verdict != "true" and not threshold.strict:
        kind, words = "unknown", f"{words}, only warns"
    missing = held.n == 0 and threshold.metric in METRICS
    finding = f"{held.detail}: {why_missing(threshold.metric, outcome.run)}" if missing else held.detail
    return [escape(threshold.metric), escape(str(threshold)), answer(kind, words), escape(finding)]

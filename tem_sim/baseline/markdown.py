"""A check as Markdown, for a comment on a pull request and the page of a workflow's run: the verdict, then why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tem_sim.baseline.words import FINDINGS, effect_text, numbers, sentence, settling, share, tolerated
from tem_sim.report.github import table

if TYPE_CHECKING:
    from tem_sim.baseline.check import Checked, CheckedCase
    from tem_sim.baseline.judged import Judged

_SIGNS = {"OK": "✅", "REGRESSION": "❌", "FAIL": "❌", "BROKEN": "❌", "INCONCLUSIVE": "❔", "NO BASELINE": "❔"}
HEADER = ("metric", "before", "now", "change [95 %]", "tolerated", "finding", "gain of pairs")


def markdown(checked: Checked) -> str:
    """Return the whole."""
    return "\n".join(f"### {_SIGNS[case.word]} {_text(sentence(case))}\n\n{_body(case)}" for case in checked.cases)


def _body(case: CheckedCase) -> str:
    told = "".join(f"- {_text(one)}\n" for one in (case.drift.sentences() if case.drift else []))
    rows = [row(one) for one in case.metrics if one.finding not in ("same", "absent")]
    held = "".join(
        f"- threshold {_text(f'{one.pooled.threshold.metric} {one.pooled.threshold}: {one.pooled.detail}')}\n"
        for one in case.thresholds
        if one.pooled.verdict != "true"
    )
    same = [f"`{one.metric}`" for one in case.metrics if one.finding == "same"]
    parts = [told, table(HEADER, rows) if rows else "", f"The same: {', '.join(same)}.\n" if same else "", held]
    return "\n".join(part for part in parts if part)


def row(one: Judged) -> tuple[str, ...]:
    """Return a metric's row, as the header names its cells."""
    gain = share(one.contrast.variance_reduction)
    gain = f"{gain}×" if gain != "–" else gain
    return (one.metric, *numbers(one), effect_text(one), tolerated(one), "; ".join(_finding(one)), gain)


def _finding(one: Judged) -> Iterator[str]:
    yield FINDINGS[one.finding]
    if one.finding == "unsure":
        yield settling(one)
    if one.missing:
        yield f"no value under {one.missing} seeds"


def _text(text: str) -> str:
    """Keep words from being taken for HTML or Markdown."""
    return text.replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_").replace("\n", " ")

"""An outcome for people: the verdict, what to mind, then the numbers, and the checks with their offending rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tem_sim.analysis.metrics import METRICS
from tem_sim.report.numbers import value_text, why_missing

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import RenderableType

    from tem_sim.checks.verdict import Answer, Verdict
    from tem_sim.report.outcome import Judged, Kind, Outcome, Word

SHOWN_ROWS = 5

_WORD_STYLES: dict[Word, str] = {
    "PASS": "bold green",
    "FAIL": "bold red",
    "BROKEN": "bold red",
    "INCONCLUSIVE": "bold yellow",
    "INTERRUPTED": "bold yellow",
}
# Sign, sign where only ASCII can be shown, style, and the remark that follows the check's name.
_KINDS: dict[Kind, tuple[str, str, str, str]] = {
    "holds": ("✔", "+", "green", ""),
    "broken": ("✘", "x", "red", ""),
    "unknown": ("?", "?", "yellow", ""),
    "as_meant": ("✔", "+", "green", "broken as expected: "),
    "unbroken": ("✘", "x", "red", "expected to be broken: "),
}

# By what a check is about, in the order in which they are shown.
_TITLES = {"safety": "safety check", "liveness": "liveness check", "meta": "check of the run"}

_LIKE: dict[Answer, Kind] = {"true": "holds", "unknown": "unknown", "false": "broken"}


def summary(outcome: Outcome, *, unicode: bool = True) -> Iterator[RenderableType]:
    """Yield the whole account of a run."""
    yield verdict_line(outcome)
    yield from warning_lines(outcome)
    yield from threshold_lines(outcome, unicode=unicode)
    yield ""
    yield metrics_table(outcome)
    yield ""
    yield from check_lines(outcome, unicode=unicode)


def brief(outcome: Outcome, *, unicode: bool = True) -> Iterator[RenderableType]:
    """Yield the verdict, the warnings, and only those thresholds and checks that are not as they should be."""
    yield verdict_line(outcome)
    yield from warning_lines(outcome)
    yield from threshold_lines(outcome, only=("false", "unknown"), unicode=unicode)
    yield from check_lines(outcome, only=("broken", "unbroken", "unknown"), unicode=unicode)


def verdict_line(outcome: Outcome) -> Text:
    """Return the verdict in one line."""
    line = Text(outcome.sentence())
    line.stylize(_WORD_STYLES[outcome.word], 0, len(outcome.word))
    return line


def warning_lines(outcome: Outcome) -> Iterator[Text]:
    """Yield a line per warning."""
    for warning in outcome.warnings():
        yield Text.assemble(("warning: ", "yellow"), warning)


def threshold_lines(
    outcome: Outcome, *, only: tuple[Answer, ...] | None = None, unicode: bool = True
) -> Iterator[RenderableType]:
    """Yield a table with a line per threshold: the metric, what it is held to, and what it came to."""
    shown = [held for held in outcome.thresholds if only is None or held.verdict in only]
    if not shown:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=only is None)
    for title in ("", "threshold", "", "finding"):
        table.add_column(title, no_wrap=title != "finding")
    for held in shown:
        sign, ascii_sign, style, _ = _KINDS[_LIKE[held.verdict]]
        style = style if held.threshold.strict else "yellow" if held.verdict != "true" else style
        why = (
            why_missing(held.threshold.metric, outcome.run) if held.n == 0 and held.threshold.metric in METRICS else ""
        )
        finding = f"{held.detail}: {why}" if why else held.detail
        name = Text(held.threshold.metric, style="bold" if held.verdict == "false" else "")
        table.add_row(Text(sign if unicode else ascii_sign, style), name, str(held.threshold), finding)
    yield ""
    yield table
    if only is not None:
        yield ""


def metrics_table(outcome: Outcome) -> Table:
    """Return a row per metric: name, value with unit, and its definition, or why it has no value."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("metric", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("what it is", style="dim")
    for name, value in outcome.metrics.items():
        shown = value_text(name, value)
        table.add_row(name, shown, why_missing(name, outcome.run) if shown == "n/a" else METRICS[name].about)
    return table


def check_lines(
    outcome: Outcome, *, only: tuple[Kind, ...] | None = None, unicode: bool = True
) -> Iterator[RenderableType]:
    """Yield a line per check, safety apart from liveness; below them the first of the rows that offend."""
    shown = [judged for judged in outcome.checks if only is None or judged.kind in only]
    for number, (kind, title) in enumerate(_TITLES.items()):
        those = [judged for judged in shown if judged.verdict.kind == kind]
        if those:
            yield from ([""] if number and only is None else [])
            yield _check_table(those, title, unicode=unicode, header=only is None)
    for judged in shown:
        if judged.verdict.n_rows and judged.kind != "unbroken":
            yield from offending_rows(judged.verdict)


def _check_table(shown: Sequence[Judged], title: str, *, unicode: bool, header: bool) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=header)
    table.add_column("", no_wrap=True)
    table.add_column(title, no_wrap=True)
    table.add_column("finding")
    for judged in shown:
        sign, ascii_sign, style, remark = _KINDS[judged.kind]
        name = Text(judged.verdict.name, style="bold" if judged.kind in ("broken", "unbroken") else "")
        table.add_row(Text(sign if unicode else ascii_sign, style), name, remark + judged.verdict.detail)
    return table


def offending_rows(found: Verdict) -> Iterator[RenderableType]:
    """Yield the first rows that offend, or cannot be judged, as a table under its title."""
    rows = found.rows.head(SHOWN_ROWS)
    part = f"the first {len(rows)} of {found.n_rows:,} rows" if found.n_rows > len(rows) else "the rows"
    what = "that cannot be judged" if found.verdict == "unknown" else "that offend"
    yield ""
    yield Text(f"{found.name}: {part} {what}")
    yield Padding(_frame_table(rows), (0, 0, 0, 2))


def _frame_table(rows: pd.DataFrame) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in rows.columns:
        table.add_column(str(name), style="dim", justify="right" if rows[name].dtype.kind in "if" else "left")
    for values in zip(*(rows[name].tolist() for name in rows.columns), strict=True):
        table.add_row(*(_cell(value) for value in values))
    return table


def _cell(value: object) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)

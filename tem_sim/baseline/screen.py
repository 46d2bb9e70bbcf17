"""A check on the screen: the verdict first, then for each scenario what changed and a line per metric that did."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from tem_sim.baseline.markdown import HEADER, row
from tem_sim.baseline.words import sentence

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tem_sim.baseline.check import Checked, CheckedCase

# What the metrics' tables rest on; said once.
NOTE = (
    "Pairs by seed; each interval by itself is one of 95 %. Worse: surely above what is tolerated, with at most 2.5 % "
    "false alarms over all metrics together. Gain of pairs: how many times as many independent runs it would take."
)


def blocks(checked: Checked, quiet: bool = False) -> Iterator[RenderableType]:
    """Yield the account of a check; with `quiet` only the line of each scenario."""
    yield Text(checked.sentence(), style="bold")
    if quiet:
        yield from (Text(sentence(case)) for case in checked.cases if len(checked.cases) > 1)
        return
    for case in checked.cases:
        if len(checked.cases) > 1:
            yield ""
            yield Text(sentence(case), style="bold")
        yield from _case(case)
    if any(case.metrics for case in checked.cases):
        yield ""
        yield Text(NOTE, style="dim")


def _case(case: CheckedCase) -> Iterator[RenderableType]:
    for told in case.drift.sentences() if case.drift else []:
        yield Text(f"· {told}")
    rows = [row(one) for one in case.metrics if one.finding not in ("same", "absent")]
    if rows:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for number, name in enumerate(HEADER):
            table.add_column(name, justify="left" if number in (0, 5) else "right")
        for cells in rows:
            table.add_row(*cells)
        yield ""
        yield table
    same = [one.metric for one in case.metrics if one.finding == "same"]
    if same:
        yield Text(f"the same: {', '.join(same)}", style="dim")

"""The answer to a question on the screen: the verdict first, then the table, then how it was made."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from tem_sim.analysis.result import short

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import RenderableType

    from tem_sim.analysis.result import Result

_LOW, _HIGH = "_low", "_high"


def finding_blocks(result: Result) -> Iterator[RenderableType]:
    """Yield the account of a result; each estimate stands with its interval in one cell."""
    yield Text(result.verdict, style="bold")
    yield ""
    yield _screen_table(result.table, result.headline)
    if result.notes:
        yield ""
    for note in result.notes:
        yield Text(f"· {note}", style="dim")


def _screen_table(frame: pd.DataFrame, headline: tuple[str, ...]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    bounds = {f"{name}{end}" for name in frame.columns for end in (_LOW, _HIGH)}
    shown = headline or tuple(str(name) for name in frame.columns if name not in bounds)
    for name in shown:
        table.add_column(name, justify="right" if frame[name].dtype.kind in "if" else "left")
    for row in frame.to_dict("records"):
        table.add_row(*(_cell(row, name) for name in shown))
    return table


def _cell(row: Mapping[Hashable, object], name: str) -> str:
    low, high = row.get(name + _LOW), row.get(name + _HIGH)
    if not isinstance(low, float) or not isinstance(high, float) or math.isnan(low):
        return _value(row[name])
    return f"{_value(row[name])} [{_value(low)}, {_value(high)}]"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "–" if math.isnan(value) else short(value)
    return f"{value:,}" if isinstance(value, int) else str(value)

"""A sweep's figures and rows as files: a figure per metric, and one of the first two against each other."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tem_sim.plots.files import save_figure
from tem_sim.plots.style import SIZE_INCHES
from tem_sim.plots.sweep import CELL_INCHES, FRAME_INCHES, PARETO_INCHES, pareto, sweep_plot, varied

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from tem_sim.sweeps.sweep import Sweep


def draw(sweep: Sweep, measures: Sequence[str], folder: Path) -> list[Path]:
    """Write `rows.csv`, `METRIC.png` for each metric and `pareto.png` for the first two; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    sweep.rows.to_csv(folder / "rows.csv", index=False)
    files = [folder / "rows.csv"]
    for name in measures:
        table = sweep.table([name])
        files.append(folder / f"{name}.png")
        save_figure(partial(_one, table, sweep.paths), files[-1], size=_size(table, sweep.paths))
    if len(measures) > 1 and len(sweep.cells) > 1:
        files.append(folder / "pareto.png")
        x, y = measures[:2]
        save_figure(partial(_two, sweep.table([x, y]), x, y), files[-1], size=PARETO_INCHES)
    return files


def _one(table: pd.DataFrame, paths: Sequence[str], figure: Figure) -> None:
    sweep_plot(table, paths, figure.add_subplot())


def _two(table: pd.DataFrame, x: str, y: str, figure: Figure) -> None:
    pareto(table, x, y, figure.add_subplot())


def _size(table: pd.DataFrame, paths: Sequence[str]) -> tuple[float, float]:
    """Return the size that shows every cell: a map grows with its sides, a list with its rows."""
    sides = [table[path].nunique() for path in varied(table, paths)]
    if len(sides) == 1:
        return SIZE_INCHES
    if len(sides) == 2:
        return FRAME_INCHES[0] + CELL_INCHES[0] * sides[1], FRAME_INCHES[1] + CELL_INCHES[1] * sides[0]
    return 11.0, 1.4 + 0.42 * len(table)

"""A run folder's plots: drawn anew with each run, so that none of an earlier run is left beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tem_sim.frames import Run

PLOTS_FOLDER = "plots"


def draw(run: Run, folder: Path) -> list[Path]:
    """Draw every plot of the run into `plots/` of its folder, as PNG, and return the files."""
    from tem_sim.plots.files import save_plots

    return save_plots(run, folder / PLOTS_FOLDER)


def clear(folder: Path) -> None:
    """Remove the plots of the run that was in this folder before."""
    from tem_sim.plots.files import PLOTS

    for name in PLOTS:
        (folder / PLOTS_FOLDER / f"{name}.png").unlink(missing_ok=True)

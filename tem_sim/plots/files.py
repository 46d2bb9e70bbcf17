"""All plots of a run by name, and the first of them as files, the same bytes for the same run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tem_sim.plots.latency import latency_ecdf, latency_tails
from tem_sim.plots.life import event_timeline
from tem_sim.plots.load import amplification, attempts_histogram, goodput
from tem_sim.plots.rows import backlog_age, rows_by_state, time_in_state
from tem_sim.plots.scheduler import scheduler_duty, scheduler_lag
from tem_sim.plots.storm import attempts_per_second
from tem_sim.plots.style import SIZE_INCHES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tem_sim.frames import Run

# Each takes (run, ax). These are saved with each run.
PLOTS: dict[str, Callable[[Run, Axes], Axes]] = {
    "attempts_per_second": attempts_per_second,
    "rows_by_state": rows_by_state,
    "latency_ecdf": latency_ecdf,
}

# And these are drawn when asked for: by a report, a notebook, or a question that the first ones leave.
MORE_PLOTS: dict[str, Callable[[Run, Axes], Axes]] = {
    "amplification": amplification,
    "goodput": goodput,
    "backlog_age": backlog_age,
    "time_in_state": time_in_state,
    "attempts_histogram": attempts_histogram,
    "latency_tails": latency_tails,
    "scheduler_duty": scheduler_duty,
    "scheduler_lag": scheduler_lag,
    "event_timeline": event_timeline,
}

# What would otherwise differ from one rendering to the next: dates, versions, and the ids inside an SVG.
_METADATA: dict[str, dict[str, Any]] = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}


def save_plots(run: Run, folder: str | Path, kind: str = "png", dpi: int = 130) -> list[Path]:
    """Draw every plot of `PLOTS` into the folder, as `png` or `svg`; return the files."""
    if kind not in _METADATA:
        raise ValueError(f"kind must be one of {', '.join(_METADATA)}, got {kind!r}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, plot in PLOTS.items():
        save_figure(partial(_alone, plot, run), folder / f"{name}.{kind}", dpi=dpi)
    return [folder / f"{name}.{kind}" for name in PLOTS]


def _alone(plot: Callable[[Run, Axes], Axes], run: Run, figure: Figure) -> None:
    plot(run, figure.add_subplot())


def save_figure(
    draw: Callable[[Figure], object], path: Path, *, size: tuple[float, float] = SIZE_INCHES, dpi: int = 130
) -> None:
    """Let `draw` fill a figure and write it as its path's suffix says, `.png` or `.svg`."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    # A Figure of its own touches neither pyplot's state nor a display.
    figure = Figure(figsize=size, layout="constrained")
    draw(figure)
    with mpl.rc_context({"svg.hashsalt": "tem_sim"}):
        figure.savefig(path, dpi=dpi, metadata=_METADATA[path.suffix[1:]])

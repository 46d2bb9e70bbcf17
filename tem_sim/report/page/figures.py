"""The page's figures: a plot of one run or of each of several, and a sentence with its numbers.

The sentence stands below the figure for everybody, and behind what kind of figure it is as its alternative text. Of
several runs each has its panel, all with the same axes, so that heights and lengths can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from tem_sim.plots.comparison import backlogs, latency_tails, retries_per_second
from tem_sim.plots.latency import latency_ecdf
from tem_sim.plots.rows import rows_by_state
from tem_sim.plots.storm import attempts_per_second
from tem_sim.report.page import captions
from tem_sim.report.page.svg import svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tem_sim.frames import Run
    from tem_sim.report.page.runs import Runs

WIDTH_INCHES, HEIGHT_INCHES, PANEL_INCHES = 9.0, 4.2, 3.2


@dataclass(frozen=True, slots=True)
class Plot:
    """How a figure is drawn, what kind of figure it is, and what it says of a run."""

    draw: Callable[[Run, Axes], Axes]
    kind: str
    says: Callable[[Run], str]


FIGURES: dict[str, Plot] = {
    "attempts_per_second": Plot(
        attempts_per_second, "Stacked areas over time, attempts started per second by attempt number", captions.attempts
    ),
    "rows_by_state": Plot(rows_by_state, "Stacked areas over time, rows in each state", captions.states),
    "latency_ecdf": Plot(
        latency_ecdf, "Rising curves, part of all events that were done within a time", captions.latency
    ),
}


@dataclass(frozen=True, slots=True)
class Overlay:
    """The same for a figure that holds all runs in one."""

    draw: Callable[[Mapping[str, Run], Axes], Axes]
    kind: str
    says: Callable[[Run], str]


OVERLAYS: dict[str, Overlay] = {
    "retries_per_second": Overlay(
        retries_per_second, "A line per run over time, retries started per second", captions.retry_peak
    ),
    "backlogs": Overlay(backlogs, "A line per run over time, rows not yet ended", captions.drain),
    "latency_tails": Overlay(
        latency_tails, "A falling line per run, part of all events not PROCESSED within a time", captions.tail
    ),
}


@dataclass(frozen=True, slots=True, repr=False)
class Picture:
    """A figure as a notebook shows it and as the page's template places it."""

    svg: str
    alt: str
    caption: str

    def _repr_mimebundle_(self, **_: object) -> tuple[dict[str, str], dict[str, object]]:
        # A notebook wants a document of its own, the page a part of its own document.
        alone = self.svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
        return {"image/svg+xml": alone, "text/plain": self.alt}, {"tem_sim": {"caption": self.caption}}

    def __repr__(self) -> str:
        return self.alt


def figure(name: str, runs: Runs) -> Picture:
    """Draw a figure of `FIGURES`, with a panel per run."""
    plot = FIGURES[name]
    said = [plot.says(run) for run in runs]
    return picture(name, runs, plot.draw, plot.kind, said)


def overlay(name: str, runs: Runs) -> Picture:
    """Draw a figure of `OVERLAYS`, with a line per run."""
    plot = OVERLAYS[name]
    labelled = {f"{letter}: {words}": run for letter, words, run in zip(runs.letters, runs.short, runs, strict=True)}
    alt, caption = _words(plot.kind, runs, [plot.says(run) for run in runs])
    return Picture(drawn(name, alt, lambda made: plot.draw(labelled, made.add_subplot())), alt, caption)


def picture(
    name: str, runs: Runs, draw: Callable[[Run, Axes], object], kind: str, said: list[str], same_axes: bool = True
) -> Picture:
    """Draw anything that takes (run, ax), a panel per run; `said` has a sentence for each."""
    alt, caption = _words(kind, runs, said)
    return Picture(drawn(name, alt, lambda made: _panels(made, runs, draw, same_axes), len(runs)), alt, caption)


def _words(kind: str, runs: Runs, said: list[str]) -> tuple[str, str]:
    sentences = [f"{letter}: {text}" if letter else text for letter, text in zip(runs.letters, said, strict=True)]
    return f"{kind}. " + " ".join(sentences), "<br>".join(map(escape, sentences))


def drawn(name: str, alt: str, paint: Callable[[Figure], object], panels: int = 1) -> str:
    """Return what `paint` puts on an empty figure as SVG, whatever matplotlib's settings are at this user's."""
    import matplotlib.style
    from matplotlib.figure import Figure

    height = HEIGHT_INCHES if panels == 1 else PANEL_INCHES * panels
    with matplotlib.style.context("default"):
        made = Figure(figsize=(WIDTH_INCHES, height), layout="constrained")
        paint(made)
        return svg(made, name, alt)


def _panels(made: Figure, runs: Runs, draw: Callable[[Run, Axes], object], same_axes: bool) -> None:
    axes = made.subplots(len(runs), 1, squeeze=False)[:, 0]
    for letter, run, ax in zip(runs.letters, runs, axes, strict=True):
        draw(run, ax)
        if letter:
            ax.set_title(f"{letter}: {ax.get_title(loc='left')}", loc="left", fontsize="medium")
    if same_axes:
        _same_limits(axes)


def _same_limits(axes: Iterable[Any]) -> None:
    """Give all panels the widest limits of any, unless their scales differ."""
    axes = list(axes)
    for name in ("x", "y"):
        if len({getattr(ax, f"get_{name}scale")() for ax in axes}) == 1:
            limits = [getattr(ax, f"get_{name}lim")() for ax in axes]
            for ax in axes:
                getattr(ax, f"set_{name}lim")(min(low for low, _ in limits), max(high for _, high in limits))

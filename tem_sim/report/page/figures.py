"""The page's figures: a plot of one run or of each of several, and a sentence with its numbers.

The sentence stands below the figure for everybody, and behind what kind of figure it is as its alternative text. Of
several runs each has its panel, all with the same axes, so that heights and lengths can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

from tem_sim.plots.comparison import backlogs_by_run, latencies_by_run, retries_by_run
from tem_sim.plots.files import MORE_PLOTS, PLOTS
from tem_sim.report.page import captions
from tem_sim.report.page.svg import svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tem_sim.frames import Run
    from tem_sim.report.page.runs import Runs

WIDTH_INCHES, HEIGHT_INCHES, PANEL_INCHES = 9.0, 4.2, 3.2


class Words(NamedTuple):
    """What kind of figure it is, and what it says of a run."""

    kind: str
    says: Callable[[Run], str]


# By the name of its plot.
FIGURES: dict[str, Words] = {
    "attempts_per_second": Words(
        "Stacked areas over time: attempts started per second, by attempt number", captions.attempts
    ),
    "rows_by_state": Words("Stacked areas over time: rows in each state", captions.states),
    "goodput": Words("Two areas over time: attempts that ended per second, and those of use", captions.goodput),
    "amplification": Words(
        "A line and dots over time: attempts per first try, since the start and in each window", captions.amplification
    ),
    "attempts_histogram": Words("Bars: events by the number of attempts that they used", captions.histogram),
    "backlog_age": Words(
        "Lines over time: the age of the oldest open row, and of the oldest that is queued", captions.ages
    ),
    "latency_ecdf": Words("Rising curves: part of all events that were done within a time", captions.latency),
    "latency_tails": Words(
        "Falling curves on logarithmic axes: part of the events that took longer, by attempts used", captions.tail
    ),
    "time_in_state": Words("Bars: how long rows stay in each state", captions.stays),
    "scheduler_lag": Words("Dots over time: how late each retry was requeued and picked up", captions.lag),
    "event_timeline": Words("Lanes over time: one event's row, its calls, the scheduler and its user", captions.worst),
}


class Overlay(NamedTuple):
    """A figure that holds all runs in one: how it is drawn, and its words."""

    draw: Callable[[Mapping[str, Run], Axes], Axes]
    words: Words


OVERLAYS: dict[str, Overlay] = {
    "retries": Overlay(
        retries_by_run, Words("A line per run over time: retries started per second", captions.retry_peak)
    ),
    "backlogs": Overlay(backlogs_by_run, Words("A line per run over time: rows not yet ended", captions.drain)),
    "latencies": Overlay(
        latencies_by_run, Words("A falling line per run: part of all events not PROCESSED in time", captions.processed)
    ),
}
# Of these each panel has the axes that its own run needs: no two lives are alike.
_OWN_AXES = ("event_timeline",)


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
    alt, caption = _words(FIGURES[name], runs)
    return Picture(drawn(name, alt, lambda made: _panels(made, runs, name), len(runs)), alt, caption)


def overlay(name: str, runs: Runs) -> Picture:
    """Draw a figure of `OVERLAYS`, with a line per run."""
    plot = OVERLAYS[name]
    labelled = {f"{letter}: {words}": run for letter, words, run in zip(runs.letters, runs.short, runs, strict=True)}
    alt, caption = _words(plot.words, runs)
    return Picture(drawn(f"all-{name}", alt, lambda made: plot.draw(labelled, made.add_subplot())), alt, caption)


def _words(words: Words, runs: Runs) -> tuple[str, str]:
    """Return the alternative text, and the caption as HTML, in which each run has its line."""
    said = [words.says(run) for run in runs]
    sentences = [f"{letter}: {text}" if letter else text for letter, text in zip(runs.letters, said, strict=True)]
    return f"{words.kind}. " + " ".join(sentences), "<br>".join(map(escape, sentences))


def drawn(name: str, alt: str, paint: Callable[[Figure], object], panels: int = 1) -> str:
    """Return what `paint` puts on an empty figure as SVG, whatever matplotlib's settings are at this user's."""
    import matplotlib.style
    from matplotlib.figure import Figure

    height = HEIGHT_INCHES if panels == 1 else PANEL_INCHES * panels
    with matplotlib.style.context("default"):
        made = Figure(figsize=(WIDTH_INCHES, height), layout="constrained")
        paint(made)
        return svg(made, name, alt)


def _panels(made: Figure, runs: Runs, name: str) -> None:
    draw = {**PLOTS, **MORE_PLOTS}[name]
    axes = made.subplots(len(runs), 1, squeeze=False)[:, 0]
    for letter, run, ax in zip(runs.letters, runs, axes, strict=True):
        draw(run, ax)
        if letter:
            ax.set_title(f"{letter}: {ax.get_title(loc='left')}", loc="left", fontsize="medium")
    if name not in _OWN_AXES:
        _same_limits(axes)


def _same_limits(axes: Iterable[Any]) -> None:
    """Give all panels the widest limits of any, unless their scales differ."""
    axes = list(axes)
    for name in ("x", "y"):
        if len({getattr(ax, f"get_{name}scale")() for ax in axes}) == 1:
            limits = [getattr(ax, f"get_{name}lim")() for ax in axes]
            for ax in axes:
                getattr(ax, f"set_{name}lim")(min(low for low, _ in limits), max(high for _, high in limits))

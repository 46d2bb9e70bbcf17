"""The pictures of latency: what part of the events was done within a time, and the tail of those that took longest."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tem_sim.analysis import latency
from tem_sim.plots.style import ATTEMPT_COLOURS, MAX_STEPS, axes_for, log_scale, note, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tem_sim.analysis.history import Array
    from tem_sim.frames import Run

WIDE = 50.0
MARKS = {"p95": 0.05, "p99": 0.01, "p99.9": 0.001}


def latency_ecdf(run: Run, ax: Axes | None = None) -> Axes:
    """Draw the part of all events that were done within a time: PROCESSED, and shown to their user.

    A curve that ends below 1 leaves out the events that never got there. The time axis is logarithmic where the
    latencies span more than a factor of 50.
    """
    ax = axes_for(ax)
    table = latency.latencies(run)
    curves = {"to PROCESSED": ("processed_s", "#0072b2", "-"), "to the user's socket": ("delivered_s", "#d55e00", "--")}
    seen = np.zeros(0)
    for name, (column, colour, dash) in curves.items():
        values = np.sort(table[column].dropna().to_numpy())
        seen = np.append(seen, values)
        if len(values):
            style: dict[str, Any] = {"color": colour, "linestyle": dash, "linewidth": 1.8}
            x, y = _steps(values, len(table))
            ax.step(x, y, where="post", label=f"{name}\n{_summary(values)}", **style)
    _time_axis(ax, seen)
    ax.set_ylabel(f"part of all {len(table):,} events")
    ax.set_ylim(0.0, 1.02)
    plain(ax, run, "latency from submit")
    return ax


def _steps(values: Array, total: int) -> tuple[Array, Array]:
    """Return the corners of an ECDF, thinned to what a screen can show; the first and last stay."""
    keep = np.unique(np.linspace(0, len(values) - 1, min(len(values), 2 * MAX_STEPS)).round().astype(int))
    return np.append(values[:1], values[keep]), np.append(0.0, (keep + 1) / total)


def _summary(values: Array) -> str:
    numbers = {percent: latency.percentile(values, percent) for percent in latency.PERCENTILES}
    known = [f"p{percent} {value:.3g} s" for percent, value in numbers.items() if not math.isnan(value)]
    return "\n".join([f"n = {len(values):,}", *known])


def _time_axis(ax: Axes, values: Array) -> None:
    positive = values[values > 0]
    wide = len(positive) > 0 and len(positive) == len(values) and positive.max() > WIDE * positive.min()
    if wide:
        log_scale(ax, "x")
    elif len(values):
        ax.set_xlim(left=0.0)
    else:
        note(ax, "no event was PROCESSED")
    ax.set_xlabel("time since submit (s)" + (", logarithmic" if wide else ""))


def latency_tails(run: Run, ax: Axes | None = None, to: str = "processed") -> Axes:
    """Draw the part of the events that took longer than a time, by the attempts that they used, on logarithmic axes.

    Each line is about the events of its own number of attempts, so that all begin at 1; the black one is about all.
    `to` is "processed" or "delivered" (the user's socket). Events that never got there are in none.
    """
    ax = axes_for(ax)
    table = latency.latencies(run)[["attempts", f"{to}_s"]].dropna()
    seconds, used = table[f"{to}_s"].to_numpy(), table["attempts"].to_numpy()
    for number, colour in enumerate(ATTEMPT_COLOURS, start=1):
        last = number == len(ATTEMPT_COLOURS)
        chosen = seconds[used >= number] if last else seconds[used == number]
        _tail(ax, chosen, colour, f"{number} attempt{'s' * (number > 1)}{' or more' * last}", 1.8)
    if len(np.unique(used)) > 1:
        _tail(ax, seconds, "#000000", "all", 1.2)
    if len(seconds):
        _log_axes(ax, seconds)
    else:
        note(ax, "no event got there")
    where = {"processed": "PROCESSED", "delivered": "the user's socket"}[to]
    plain(ax, run, f"latency from submit to {where}, by attempts used")
    ax.set(xlabel="time since submit (s)", ylabel="part of the events that took longer")
    return ax


def _tail(ax: Axes, seconds: Array, colour: str, label: str, width: float) -> None:
    if not len(seconds):
        return
    ordered = np.sort(seconds)
    # Thinned by rank from the far end, where each event is a step that can be seen.
    ranks = np.unique(np.geomspace(1, len(ordered), min(len(ordered), MAX_STEPS)).round().astype(int))[::-1]
    at, left = ordered[len(ordered) - ranks], ranks / len(ordered)
    # At its time an event is still among those that take as long. After the last nobody is, which no logarithm shows.
    ax.step(at, left, where="pre", color=colour, linewidth=width, label=f"{label}\n{_numbers(ordered)}")
    ax.plot(at[-1], left[-1], ".", color=colour, markersize=5)


def _numbers(ordered: Array) -> str:
    p50, p99 = latency.percentile(ordered, 50), latency.percentile(ordered, 99)
    known = [f"{name} {value:.3g} s" for name, value in (("p50", p50), ("p99", p99)) if not math.isnan(value)]
    return ", ".join([f"n = {len(ordered):,}", *known])


def _log_axes(ax: Axes, seconds: Array) -> None:
    log_scale(ax, "y")
    ax.set_ylim(0.7 / len(seconds), 1.3)
    if seconds.min() > 0 and seconds.max() > WIDE * seconds.min():
        log_scale(ax, "x")
    else:
        ax.set_xlim(left=0.0)
    where: dict[str, Any]
    for name, part in MARKS.items():
        if part * len(seconds) >= 1:
            ax.axhline(part, color="#000000", alpha=0.35, linewidth=0.8, linestyle=":", zorder=1)
            where = {"xy": (0.005, part), "xycoords": ("axes fraction", "data")}
            ax.annotate(name, **where, ha="left", va="bottom", fontsize="x-small")

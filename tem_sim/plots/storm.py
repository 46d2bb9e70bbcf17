"""The pictures of a storm: attempts per second, rows by state, latency."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tem_sim.analysis import backlog, latency, storm
from tem_sim.analysis.rules import Rules, rules
from tem_sim.plots.style import ATTEMPT_COLOURS, PHASE_COLOURS, axes_for, finish, note, plain, shade_faults

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from tem_sim.frames import Run

# More steps than this are narrower than a pixel.
MAX_STEPS = 1200
# A capacity line higher than this many times the data would squeeze the data flat; the legend names it instead.
HEADROOM = 3.0


def attempts_per_second(
    run: Run, ax: Axes | None = None, bin_s: float = 1.0, capacity_per_s: float | None = None
) -> Axes:
    """Draw the attempts started per second, stacked by attempt number, with fault windows and the capacity line.

    Capacity is what the pool can serve: calls at the same time / mean service time, unless it is given; 0 draws
    none. It holds for calls that the downstream serves. Calls that it refuses take `fail_time` instead, so during an
    outage attempts may well run above the line, or stay below it when refusals are slow. In a run of more than
    1,200 bins each step shows the fullest of the bins that it stands for, so that no peak is lost.
    """
    ax = axes_for(ax)
    rates = storm.attempts_by_number(run, bin_s, group_from=len(ATTEMPT_COLOURS)) / bin_s
    shown, each_s = _fullest(rates, bin_s)
    if rates.to_numpy().any():
        edges_s = np.append(shown.index.to_numpy(), shown.index[-1] + each_s)
        heights = np.vstack([shown.to_numpy(), shown.to_numpy()[-1:]]).T
        labels = [_attempt_label(int(number)) for number in shown.columns]
        ax.stackplot(edges_s, heights, step="post", colors=ATTEMPT_COLOURS, labels=labels, linewidth=0, zorder=2)
    else:
        note(ax, "no attempt was started")
        ax.set_ylim(0.0, 1.0)
    _draw_capacity(ax, run, float(shown.sum(axis=1).max()), capacity_per_s)
    shade_faults(ax, run)
    bins = f"{bin_s:g} s bins" if each_s == bin_s else f"fullest {bin_s:g} s bin of every {each_s:g} s"
    return finish(ax, run, f"attempts started per second, {bins}", "attempts/s")


def _fullest(rates: pd.DataFrame, bin_s: float) -> tuple[pd.DataFrame, float]:
    """Return at most `MAX_STEPS` rows: of each run of neighbouring bins the fullest, under its own first edge."""
    width = math.ceil(len(rates) / MAX_STEPS)
    if width <= 1:
        return rates, bin_s
    step = np.arange(len(rates)) // width
    fullest = rates.sum(axis=1).groupby(step).idxmax()
    shown = rates.loc[fullest.to_numpy()]
    return shown.set_index(rates.index[::width]), width * bin_s


def _attempt_label(number: int) -> str:
    if number == 1:
        return "first try"
    return f"attempt {number}" + (" and later" if number == len(ATTEMPT_COLOURS) else "")


def _draw_capacity(ax: Axes, run: Run, peak_per_s: float, capacity_per_s: float | None) -> None:
    rule = rules(run)
    per_s = pool_capacity_per_s(rule) if capacity_per_s is None else capacity_per_s
    if not 0 < per_s < math.inf:
        return
    label = f"capacity {per_s:,.4g}/s" + (_capacity_terms(run, rule) if capacity_per_s is None else "")
    if per_s <= HEADROOM * peak_per_s:
        ax.axhline(per_s, color="black", linestyle="--", linewidth=1.2, zorder=3, label=label)
    else:
        ax.plot([], [], color="black", linestyle="--", linewidth=1.2, label=f"{label},\nabove the plot")


def _capacity_terms(run: Run, rule: Rules) -> str:
    """Say what the pool's capacity is made of, and where calls were refused, that those take another time."""
    refused = (run.faults["kind"] == "outage").any() and rule.fail_s != rule.service_s
    terms = f"{rule.slots} calls at once, {_short(rule.service_s)} each"
    return f"\n({terms};\nrefused ones {_short(rule.fail_s)})" if refused else f"\n({terms})"


def pool_capacity_per_s(rule: Rules) -> float:
    """Return how many calls per second the pool can serve: calls at the same time / mean service time."""
    return rule.slots / rule.service_s if rule.service_s > 0 else math.inf


def _short(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def rows_by_state(run: Run, ax: Axes | None = None) -> Axes:
    """Draw how many rows are in each state over time, stacked; RETRY is QUEUED after a failure.

    Sampled at a thousand instants, so a state that rows pass through faster than that may be missing between two.
    """
    ax = axes_for(ax)
    table = backlog.rows_by_state(run, step_s=max(run.end_s, 1e-3) / 1000)
    present = [phase for phase in PHASE_COLOURS if table[phase].any()]
    if present:
        colours = [PHASE_COLOURS[phase] for phase in present]
        heights = table[present].to_numpy().T
        ax.stackplot(
            table.index.to_numpy(), heights, step="post", colors=colours, labels=present, linewidth=0, zorder=2
        )
    else:
        note(ax, "no event was submitted")
        ax.set_ylim(0.0, 1.0)
    shade_faults(ax, run)
    return finish(ax, run, "rows by state", "rows")


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
    _latency_axis(ax, seen)
    ax.set_ylabel(f"part of all {len(table):,} events")
    ax.set_ylim(0.0, 1.02)
    plain(ax, run, "latency from submit")
    return ax


def _steps(values: np.ndarray[Any, Any], total: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the corners of an ECDF, thinned to what a screen can show; the first and last stay."""
    keep = np.unique(np.linspace(0, len(values) - 1, min(len(values), 2 * MAX_STEPS)).round().astype(int))
    return np.append(values[:1], values[keep]), np.append(0.0, (keep + 1) / total)


def _summary(values: np.ndarray[Any, Any]) -> str:
    numbers = {percent: latency.percentile(values, percent) for percent in latency.PERCENTILES}
    known = [f"p{percent} {value:.3g} s" for percent, value in numbers.items() if not math.isnan(value)]
    return "\n".join([f"n = {len(values):,}", *known])


def _latency_axis(ax: Axes, values: np.ndarray[Any, Any]) -> None:
    positive = values[values > 0]
    wide = len(positive) > 0 and len(positive) == len(values) and positive.max() > 50 * positive.min()
    if wide:
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    elif len(values):
        ax.set_xlim(left=0.0)
    else:
        note(ax, "no event was PROCESSED")
    ax.set_xlabel("time since submit (s)" + (", logarithmic" if wide else ""))

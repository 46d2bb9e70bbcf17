"""The picture of a storm: attempts per second, wave after wave, against what the pool can serve."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tem_sim.analysis import storm
from tem_sim.analysis.rules import Rules, rules
from tem_sim.plots.style import ATTEMPT_COLOURS, MAX_STEPS, axes_for, finish, note, shade_faults

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from tem_sim.frames import Run

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

"""One event's attempts as spans, a lane per worker, above the states of its row: who held it, and who wrote to it.

Where two spans overlap two workers believed that the row was theirs. A cross is a write by one who no longer held it,
and the dots before it are how long that one has believed it did.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from tem_sim.plots.style import PHASE_COLOURS, axes_for

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from tem_sim.frames import Run

OUTCOME_COLOURS = {
    "ok": "#009e73",
    "error": "#d55e00",
    "superseded": "#cc79a7",
    "lost": "#7f7f7f",
    "expired": "#5c4033",
    "released": "#56b4e9",
    "unfinished": "#bbbbbb",
}
_ENDS = ("ok", "error", "exhausted")
_HEIGHT = 0.62


class Stay(NamedTuple):
    """A state of the row and how long it lasted."""

    state: str
    start_s: float
    end_s: float


def attempt_spans(run: Run, event_id: int, ax: Axes | None = None) -> Axes:
    """Draw the attempts of one event from claim to end, a lane per worker, and below them the states of its row.

    Colours say how an attempt ended; one that never did reaches to the run's end. Raises `KeyError` for an event that
    the run has not.
    """
    ax = axes_for(ax)
    log = _log_of(run, event_id)
    attempts = run.attempts[run.attempts["event_id"] == event_id].sort_values("attempt_no")
    lanes = {worker: place for place, worker in enumerate(dict.fromkeys(attempts["worker"].astype(str)))}
    last_s = _last_s(run, log, attempts)
    _draw_attempts(ax, attempts, lanes, last_s)
    _draw_states(ax, log, len(lanes), last_s)
    _draw_strangers(ax, log, lanes)
    ax.set_yticks(range(len(lanes) + 1), [*lanes, "the row"])
    ax.set_ylim(len(lanes) + 0.6, -0.6)
    ax.set_xlabel("time since the run's start (s)")
    ax.set_title(f"event {event_id}: its attempts, and its row\n{run.name}, seed {run.seed}", loc="left", size="medium")
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(left=False)
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0, frameon=False, fontsize="small")
    return ax


def _log_of(run: Run, event_id: int) -> pd.DataFrame:
    log = run.transitions[run.transitions["event_id"] == event_id].sort_values("seq")
    if log.empty:
        raise KeyError(f"no event {event_id} in this run")
    return log


def _last_s(run: Run, log: pd.DataFrame, attempts: pd.DataFrame) -> float:
    """Return where the picture ends: a little after the last thing that happened."""
    happened_s = max(float(log["at_s"].max()), float(attempts[["claimed_s", "finished_s"]].max().max()))
    first_s = float(log["at_s"].iloc[0])
    return min(run.end_s, happened_s + 0.08 * max(happened_s - first_s, 1e-3))


def _draw_attempts(ax: Axes, attempts: pd.DataFrame, lanes: dict[str, int], last_s: float) -> None:
    named: set[str] = set()
    columns = ("attempt_no", "worker", "claimed_s", "finished_s", "outcome")
    for number, worker, claimed_s, finished_s, outcome in zip(*(attempts[name] for name in columns), strict=True):
        label = "_again" if outcome in named else f"attempt: {outcome}"
        named.add(outcome)
        width_s = (last_s if math.isnan(finished_s) else finished_s) - claimed_s
        look: dict[str, Any] = {"color": OUTCOME_COLOURS[outcome], "edgecolor": "white", "label": label}
        ax.barh(lanes[worker], max(width_s, 1e-3), left=claimed_s, height=_HEIGHT, zorder=2, **look)
        above = (claimed_s, lanes[worker] - _HEIGHT / 2)
        ax.annotate(f"attempt {number}", above, xytext=(0, 2), textcoords="offset points", size=8, zorder=3)


def stays(log: pd.DataFrame, last_s: float) -> list[Stay]:
    """Return the states that a log of one event says, each until the next."""
    states, starts_s = log["after"].astype(str).tolist(), log["at_s"].tolist()
    ends_s = [*starts_s[1:], last_s]
    return [Stay(*each) for each in zip(states, starts_s, ends_s, strict=True)]


def _draw_states(ax: Axes, log: pd.DataFrame, lane: int, last_s: float) -> None:
    named: set[str] = set()
    for stay in stays(log, last_s):
        label = "_again" if stay.state in named else f"row: {stay.state}"
        named.add(stay.state)
        width_s, colour = stay.end_s - stay.start_s, PHASE_COLOURS[stay.state]
        ax.barh(
            lane, width_s, left=stay.start_s, height=_HEIGHT, color=colour, edgecolor="white", label=label, zorder=2
        )


def _draw_strangers(ax: Axes, log: pd.DataFrame, lanes: dict[str, int]) -> None:
    """Mark the ends that were written by another than the holder: the actor of the claim before."""
    holder, claimed_s, label = "", dict[str, float](), "written by another than the holder"
    for at_s, cause, actor in zip(log["at_s"], log["cause"], log["actor"], strict=True):
        if cause == "claim":
            holder = actor
            claimed_s[actor] = at_s
        elif cause in _ENDS and actor != holder and actor in claimed_s:
            lane = lanes[actor]
            ax.plot([claimed_s[actor], at_s], [lane, lane], ":", color="black", linewidth=1.2, zorder=1)
            ax.plot([at_s] * 2, [lane, len(lanes)], "X", color="black", markersize=9, zorder=4, label=label)
            label = "_again"

"""The life of one event as lanes over time: its row's states, its calls, what the scheduler did, what its user saw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tem_sim.analysis.history import history
from tem_sim.analysis.stays import stays
from tem_sim.analysis.timeline import timeline, worst_event
from tem_sim.plots.style import PHASE_COLOURS, axes_for, finish, note, shade_faults

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from tem_sim.analysis.history import Array
    from tem_sim.frames import Run

LANES = ("row", "calls", "scheduler", "user")
# A call that was lost is drawn up to when that was noticed: when its worker died is not in the frames.
CALLS = {
    "ok": ("#009e73", "call: ok"),
    "error": ("#8c1c13", "call: failed"),
    "superseded": ("#cc79a7", "call: too late"),
    "lost": ("#7f7f7f", "call: lost, until\nthat was noticed"),
    "unfinished": ("#bbbbbb", "call: not ended"),
}
# What the scheduler and the user's side do takes no time: a sign each, at its own height in the lane.
SIGNS: dict[str, tuple[str, str, str]] = {
    "due": ("scheduler", "4", "#d55e00"),
    "requeued": ("scheduler", "^", "#0072b2"),
    "woken": ("scheduler", "1", "#000000"),
    "lease end": ("scheduler", "x", "#7f7f7f"),
    "rescued": ("scheduler", "s", "#cc79a7"),
    "released": ("scheduler", "D", "#e69f00"),
    "replayed": ("scheduler", "P", "#009e73"),
    "outbox": ("user", "s", "#b8bec6"),
    "published": ("user", "^", "#56b4e9"),
    "shown": ("user", "*", "#009e73"),
    "acked": ("user", "|", "#000000"),
}
HEIGHT = 0.6


def event_timeline(run: Run, ax: Axes | None = None, event_id: int | None = None) -> Axes:
    """Draw the life of one event, the worst unless it is named, from its submit to its last step.

    A stay or a call that is shorter than a pixel is drawn as a line, so that none is lost.
    """
    ax = axes_for(ax)
    found = worst_event(run)
    if event_id is None and found is None:
        return _empty(ax, run)
    chosen = event_id if event_id is not None else found[0] if found else 0
    why = f": {found[1]}" if found and found[0] == chosen else ""
    life = timeline(run, chosen)
    _draw_row(ax, run, chosen)
    _draw_calls(ax, run, chosen)
    _draw_signs(ax, life)
    shade_faults(ax, run)
    finish(ax, run, f"event {chosen}{why}", "")
    _lanes(ax)
    first_s, last_s = float(life["t_s"].min()), float(life["t_s"].max())
    margin_s = max(last_s - first_s, 1e-3) * 0.02
    ax.set_xlim(first_s - margin_s, last_s + margin_s)
    return ax


def _empty(ax: Axes, run: Run) -> Axes:
    note(ax, "no event was submitted")
    finish(ax, run, "the life of an event", "")
    _lanes(ax)
    return ax


def _lanes(ax: Axes) -> None:
    ax.set_yticks(range(len(LANES)), LANES)
    ax.set_ylim(len(LANES) - 0.5, -0.5)
    ax.set_ylabel("lane")
    ax.grid(axis="y", visible=False)


def _draw_row(ax: Axes, run: Run, event_id: int) -> None:
    all_stays, past = stays(run), history(run)
    mine = past.ids[all_stays.event] == event_id
    for phase in PHASE_COLOURS:
        here = mine & all_stays.of(phase)
        _draw_spans(ax, "row", all_stays.begin_s[here], all_stays.lasted_s()[here], PHASE_COLOURS[phase], phase)


def _draw_calls(ax: Axes, run: Run, event_id: int) -> None:
    attempts = run.attempts[(run.attempts["event_id"] == event_id) & run.attempts["started_s"].notna()]
    ended_s = attempts["finished_s"].fillna(run.end_s)
    for outcome, (colour, label) in CALLS.items():
        here = attempts["outcome"] == outcome
        begun_s = attempts.loc[here, "started_s"]
        lasted_s = (ended_s[here] - begun_s).clip(lower=0.0)
        _draw_spans(ax, "calls", begun_s.to_numpy(), lasted_s.to_numpy(), colour, label)


def _draw_spans(ax: Axes, lane: str, begin_s: Array, lasted_s: Array, colour: str, label: str) -> None:
    if len(begin_s):
        spans: dict[str, Any] = {"left": begin_s, "color": colour, "edgecolor": colour, "linewidth": 1.0}
        ax.barh([LANES.index(lane)] * len(begin_s), lasted_s, HEIGHT, **spans, zorder=2)
        # A sign in the legend, since bars would stand behind all lines there, whatever their lane.
        ax.plot([], [], "s", color=colour, markersize=8, label=label)


def _draw_signs(ax: Axes, life: pd.DataFrame) -> None:
    for what, (lane, marker, colour) in SIGNS.items():
        at_s = life.loc[life["what"] == what, "t_s"]
        if len(at_s):
            beside = [name for name, (other, _, _) in SIGNS.items() if other == lane]
            place = LANES.index(lane) + HEIGHT * (beside.index(what) / (len(beside) - 1) - 0.5)
            style: dict[str, Any] = {"color": colour, "markersize": 8, "linestyle": "none", "zorder": 3}
            ax.plot(at_s, [place] * len(at_s), marker, label=what, **style)

"""Rows that do not move any more: what is left in flight at the run's end, and how long each may wait.

Liveness is owed only while nothing is broken, so a row's waiting counts from the last fault's end at the
earliest. A protection that is switched off (no lease, no sweep) is judged by `GRACE_S`, its default: that
nobody will come for the row is exactly what a study of the missing protection wants to see.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tem_sim.analysis.history import Array, event_numbers, history
from tem_sim.analysis.rules import Rules, rules
from tem_sim.analysis.turns import last_turn_s

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.frames import Run

GRACE_S = 60.0
OPEN = ("QUEUED", "PROCESSING", "FAILED")
# Faults during which rows go on moving between states, if only to FAILED and back.
HARMLESS = (
    *("outage", "flaky", "partial_effect", "answers_lost", "hot_key", "beat_doubled"),
    *("gateway_disconnect", "subscriber_gap", "notifications_doubled", "notifications_reordered", "sockets_half_open"),
    *("slow_consumers", "users_offline", "acks_lost", "routing_stale", "read_lag"),
)


def in_flight(run: Run) -> pd.DataFrame:
    """Return the rows that are not terminal: event_id, status, since_s, waited_s, allowed_s, stuck, excused.

    `since_s`: when the row could first have moved on: it became PROCESSING, or it was QUEUED or due and no row
    whose turn comes before its own was claimed or requeued any more. `waited_s`: from then to the
    run's end, without the time before the last fault's end. `stuck`: longer than `allowed_s`. `excused`:
    would be stuck, had the faults ended sooner.

    Allowed are, PROCESSING: the lease and two rescue periods; QUEUED: the sweep, two rescue periods and a
    lease, since all workers may be busy that long; FAILED: two retry periods for every `requeue_limit` rows
    that are due, and the time in which a retry budget's floor pays for them. Both: two cool-downs of a breaker.
    """
    rows = run.events.loc[run.events["status"].isin(OPEN), ["event_id", "status", "next_retry_s", "retry_count"]]
    status = rows["status"].astype(str).to_numpy()
    entered_s = _entered_s(run)[event_numbers(run, rows["event_id"].to_numpy())]
    since_s = np.where(status == "FAILED", rows["next_retry_s"], entered_s)
    since_s = np.maximum(since_s, last_turn_s(run, status, since_s, rows["retry_count"].to_numpy() > 0))
    allowed_s = _allowed_s(run, rules(run), status, since_s)
    age_s = np.maximum(run.end_s - since_s, 0.0)
    waited_s = np.minimum(age_s, max(run.end_s - _healed_s(run), 0.0))
    stuck = waited_s > allowed_s
    table = rows[["event_id", "status"]].assign(since_s=since_s, waited_s=waited_s, allowed_s=allowed_s)
    return table.assign(stuck=stuck, excused=(age_s > allowed_s) & ~stuck).reset_index(drop=True)


def _entered_s(run: Run) -> Array:
    """Return, by event number, when the event's last transition was; NaN without any."""
    past = history(run)
    entered = np.full(len(past.ids), np.nan)
    entered[past.event[past.last]] = past.at_s[past.last]
    return entered


def _healed_s(run: Run) -> float:
    """Return when the last fault that can hold a row up was over; one without an end lasts to the run's end.

    A worker that is killed for good holds rows up for an instant: that nobody came after it is the system's own lack.
    """
    holding = run.faults[(run.faults["landed"] > 0) & ~run.faults["kind"].isin(HARMLESS)]
    if holding.empty:
        return -math.inf
    planned = enumerate(run.scenario.faults)
    for_good = [number for number, fault in planned if getattr(fault, "restart_after_s", 0.0) is None]
    ends_s = holding["end_s"].fillna(run.end_s).where(~holding["fault_id"].isin(for_good), holding["start_s"])
    return float(ends_s.max())


def _allowed_s(run: Run, rule: Rules, status: Array, since_s: Array) -> Array:
    settings = rule.settings
    hold_s = max(GRACE_S if settings.lease_s is None else settings.lease_s, 2 * _longest_hold_s(run))
    sweep_s = GRACE_S if settings.sweep_after_s is None else settings.sweep_after_s
    due = int(((status == "FAILED") & (since_s <= run.end_s)).sum())
    tokens_s = due / settings.retry_budget.floor_per_s if settings.retry_budget else 0.0
    ticks = 2 * max(1, math.ceil(due / settings.requeue_limit)) if settings.requeue_limit else 2
    # A circuit that is open holds all back until a probe, and the one after if that was lost, lets them go.
    held_s = 0.0 if settings.breaker is None else 2 * (settings.breaker.cool_down_s + rule.retry_every_s) + hold_s
    allowed = {
        "PROCESSING": hold_s + 2 * rule.rescue_every_s,
        "QUEUED": sweep_s + 2 * rule.rescue_every_s + hold_s + held_s,
        "FAILED": ticks * rule.retry_every_s + tokens_s + held_s,
    }
    return np.array([allowed[str(state)] + rule.slack_s for state in status], dtype=np.float64)


def _longest_hold_s(run: Run) -> float:
    """Return the longest time from claim to end of any attempt that its worker brought to its end.

    Leases are renewed while their worker is at work, so this may be longer than one.
    """
    ended = run.attempts[run.attempts["outcome"].isin(["ok", "error"])]
    held = ended["finished_s"] - ended["claimed_s"]
    return float(held.max()) if held.notna().any() else 0.0

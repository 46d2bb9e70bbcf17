"""How long rows may wait once nothing is broken any more: bounds that follow from the scenario; and the waits.

They hold from `heal_at` on, when every node is there and no fault is at work. What a bound takes from the run and not
from the scenario is only how much there was to do: the largest backlog, and the longest hold of a batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tem_sim.analysis.backlog import backlog
from tem_sim.analysis.history import event_numbers, history
from tem_sim.analysis.rules import Rules, rules
from tem_sim.analysis.stays import OPEN_PHASES, stays
from tem_sim.analysis.stream import stream
from tem_sim.analysis.stuck import GRACE_S

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.frames import Run

# Round trips of the store and the broker, and the start of a tick that is late by one of them.
SLACK_S = 1.0
# The users' clients dial again within this, and the gateway gathers acknowledgements and replays for this long.
REDIAL_S = 1.0 + 0.1
# Faults of which neither the gateway nor the relay is told.
UNNOTICED = ("subscriber_gap", "sockets_half_open", "slow_consumers", "acks_lost", "routing_stale")


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """The longest that each thing may take after `heal_s`; None where the scenario promises no end.

    `tick_s`: a due row is requeued. `claim_s`: a QUEUED row of which a worker knows is claimed; `queue_s`: one of which
    none does. `lease_s`: a PROCESSING row that nobody works on is taken back. `told_s`: a connected user is shown a
    notification. `end_s`: an event is terminal.
    """

    heal_s: float
    tick_s: float
    claim_s: float
    queue_s: float
    lease_s: float
    told_s: float
    end_s: float | None


def owed(run: Run) -> Owed:
    """Return the bounds of a run; of one that never heals they count from its beginning."""
    scenario, rule = run.scenario, rules(run)
    settings, heal_s = rule.settings, scenario.heal_at_s or 0.0
    rows = max(backlog(run).highest(heal_s, math.inf), 1)
    hold_s = _longest_hold_s(run)
    boot_s = scenario.workers.startup_s + (scenario.workers.restart_after_s or 0.0)
    # A circuit that is open holds all back until a probe, and the one after if that was lost, lets them go.
    held_s = 0.0 if settings.breaker is None else 2 * (settings.breaker.cool_down_s + rule.retry_every_s) + hold_s
    tokens_s = 0.0 if settings.retry_budget is None else rows / settings.retry_budget.floor_per_s
    ticks = 1 if settings.requeue_limit is None else math.ceil(rows / settings.requeue_limit)
    slack_s = SLACK_S + rule.slack_s
    tick_s = ticks * rule.retry_every_s + tokens_s + held_s + slack_s
    # Each slot works off its share, one batch after the other, and those that were handed a wake-up ahead end theirs.
    work_s = math.ceil(rows / rule.slots) * _longest_call_s(run) + scenario.workers.prefetch * hold_s
    claim_s = boot_s + work_s + held_s + slack_s
    sweep_s = (GRACE_S if settings.sweep_after_s is None else settings.sweep_after_s) + 2 * rule.rescue_every_s
    lease_s = max(GRACE_S if settings.lease_s is None else settings.lease_s, 2 * hold_s) + 2 * rule.rescue_every_s
    relays = math.ceil(rows / settings.relay_limit)
    way_s = scenario.users.latency_s.quantile(0.9999) + REDIAL_S + _noticed_s(run)
    told_s = relays * scenario.beat.relay_every_s + way_s + slack_s
    return Owed(
        heal_s=heal_s,
        tick_s=tick_s,
        claim_s=claim_s,
        queue_s=sweep_s + claim_s,
        lease_s=lease_s + slack_s,
        told_s=told_s,
        end_s=_end_s(run, rule, tick_s + claim_s + hold_s, lease_s, sweep_s),
    )


def _end_s(run: Run, rule: Rules, round_s: float, lease_s: float, sweep_s: float) -> float | None:
    """Return B: all delays, a round per try, the leases that may be lost, and the wake-ups."""
    policy, scenario = rule.settings.policy, run.scenario
    if policy.max_retries is None:
        return None
    tries = policy.max_retries + 1
    delays_s = sum(policy.support(retry)[1] for retry in range(1, tries))
    kills = any(kind.effect == "kill" for kind in scenario.handler.kinds.values())
    leases = 1 + (rule.settings.crash_budget or 0) if kills else 1
    sweeps = tries if scenario.broker.loss else 1
    return delays_s + tries * round_s + leases * lease_s + sweeps * sweep_s


def _noticed_s(run: Run) -> float:
    """Return how long it takes to find out what died unnoticed on the way to a user; 0 where no fault did that.

    A dead socket is found by the second heartbeat that it does not answer, a message or acknowledgement by its absence.
    """
    if not run.faults.loc[run.faults["landed"] > 0, "kind"].isin(UNNOTICED).any():
        return 0.0
    users = run.scenario.users
    return 2 * (users.heartbeat_s or 0.0) + (users.resend_after_s or 0.0)


def _longest_hold_s(run: Run) -> float:
    """Return the longest time from claim to end of an attempt that its worker brought to its end after the heal."""
    ended = _ended(run)
    held = ended["finished_s"] - ended["claimed_s"]
    return max(float(held.max()), 0.0) if held.notna().any() else 0.0


def _longest_call_s(run: Run) -> float:
    """Return the longest call of the handler, or what one takes on average where none was seen."""
    ended, rule = _ended(run), rules(run)
    called = ended["finished_s"] - ended["started_s"]
    seen_s = float(called.max()) if called.notna().any() else 0.0
    return max(seen_s, rule.service_s, rule.fail_s)


def _ended(run: Run) -> pd.DataFrame:
    attempts = run.attempts[run.attempts["outcome"].isin(["ok", "error"])]
    return attempts[attempts["claimed_s"] >= (run.scenario.heal_at_s or 0.0)]


def waits(run: Run) -> pd.DataFrame:
    """Return every stay of an event in a state that is not terminal: event_id, status, begin_s, end_s, whole.

    By the run's own clock where it was watched. Else by the clocks of those who wrote, made late by what faults may
    have set them off. `whole` is False for what the run's end cut short.
    """
    import pandas as pd

    if stream(run).watched:
        return pd.DataFrame(_watched_waits(run), columns=["event_id", "status", "begin_s", "end_s", "whole"])
    found, past = stays(run), history(run)
    names = np.array(["QUEUED" if name == "RETRY" else name for name in OPEN_PHASES])
    return pd.DataFrame(
        {
            "event_id": past.ids[found.event],
            "status": names[found.phase],
            "begin_s": found.begin_s,
            "end_s": found.end_s - rules(run).skew_s,
            "whole": found.whole,
        }
    )


def _watched_waits(run: Run) -> list[tuple[int, str, float, float, bool]]:
    found = []
    for event_id, changes in stream(run).rows.items():
        moves = [change for change in changes if change.moves]
        ends = [*(change.t_s for change in moves[1:]), run.end_s]
        for at, (change, end_s) in enumerate(zip(moves, ends, strict=True)):
            status = str(change.now("status"))
            if status in ("QUEUED", "PROCESSING", "FAILED"):
                found.append((event_id, status, change.t_s, end_s, at < len(moves) - 1))
    return found


def submitted_s(run: Run) -> pd.DataFrame:
    """Return when each event's present life began and when it ended, NaN if it has not: event_id, begin_s, end_s."""
    past, events = history(run), run.events
    begins = past.first | past.has("cause", "replay")
    begin_s = np.full(len(past.ids), np.nan)
    begin_s[past.event[begins]] = past.at_s[begins]
    numbers = event_numbers(run, events["event_id"].to_numpy())
    return events[["event_id", "status"]].assign(begin_s=begin_s[numbers], end_s=events["finished_s"].to_numpy())

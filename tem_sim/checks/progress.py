"""Liveness: that everything moves on within its bound, once all faults are over (`heal_at`).

A wait that its bound has not ended yet, at the end of the run, decides nothing: unknown.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tem_sim.analysis.backlog import BAND_SIGMAS, LOOK_BACK_S, backlog
from tem_sim.analysis.owed import SLACK_S, owed, submitted_s, waits
from tem_sim.analysis.rules import rules
from tem_sim.analysis.stream import stream
from tem_sim.checks.offences import NOT_WATCHED
from tem_sim.checks.verdict import Verdict, count, verdict
from tem_sim.pipeline.settings import ClaimOrder
from tem_sim.pipeline.states import State

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.frames import Run

# Statements that workers may send per row that they change, and how many must have been sent to judge.
STATEMENTS_PER_CHANGE = 20.0
LEAST_STATEMENTS = 200
# A backlog is back at rest within so many times as long as the trouble lasted.
REST_FACTOR = 5.0


def _not_owed(run: Run) -> str:
    """Return why a run owes no progress; empty where it does."""
    if run.status != "complete":
        return f"the run is {run.status}: nothing is owed at its end"
    scenario = run.scenario
    if scenario.heal_at_s is None:
        return "the scenario has no heal_at: faults may have been at work to the end"
    kills = any(kind.effect == "kill" for kind in scenario.handler.kinds.values())
    if kills and scenario.workers.restart_after_s is None:
        return "events kill workers for good: after heal_at there may be none"
    return ""


def _within(name: str, run: Run, rows: pd.DataFrame, bound_s: float, what: str, plural: str) -> Verdict:
    """Judge waits (`begin_s`, `end_s`, `whole`) by a bound that counts from heal_at at the earliest."""
    heal_s = run.scenario.heal_at_s or 0.0
    began_s = np.maximum(rows["begin_s"], heal_s)
    rows = rows.assign(waited_s=np.maximum(rows["end_s"] - began_s, 0.0), allowed_s=bound_s)
    late, undecided = rows[rows["waited_s"] > bound_s], rows[~rows["whole"] & (rows["waited_s"] <= bound_s)]
    told = f"after heal_at ({heal_s:g} s)" if heal_s else "since the beginning"
    if len(late):
        worst_s = float(late["waited_s"].max())
        detail = f"{count(len(late), what, plural)} longer than the {bound_s:.6g} s owed {told}, one {worst_s:.6g} s"
        return verdict(name, "false", detail, late)
    if len(undecided):
        detail = (
            f"{count(len(undecided), what, plural)} open at the run's end, none longer than the {bound_s:.6g} s owed"
        )
        return verdict(name, "unknown", detail, undecided)
    ended = rows[rows["end_s"] >= heal_s]
    longest_s = float(ended["waited_s"].max()) if len(ended) else 0.0
    detail = f"{count(len(ended), what, plural)} {told}, the longest {longest_s:.6g} s of {bound_s:.6g} s owed"
    return verdict(name, "true", detail)


def ends_in_time(run: Run) -> Verdict:
    """After heal_at every event comes to its end within the delays, rounds, leases and sweeps that it may need.

    B = the longest delay before each retry + (max_retries + 1) · (tick + queue + handling) + lease + sweep.
    """
    bound_s = owed(run).end_s
    if why := _not_owed(run):
        return verdict("ends_in_time", "unknown", why)
    if bound_s is None:
        return verdict("ends_in_time", "unknown", "the policy never gives up, so no end is owed")
    lives = submitted_s(run)
    rows = lives.assign(whole=lives["end_s"].notna(), end_s=lives["end_s"].fillna(run.end_s))
    return _within("ends_in_time", run, rows, bound_s, "life of an event", "lives of events")


def queue_served(run: Run) -> Verdict:
    """After heal_at no row stays QUEUED longer than the sweep takes to call a worker, and the queue to get there."""
    if why := _not_owed(run):
        return verdict("queue_served", "unknown", why)
    if rules(run).settings.claim_order is not ClaimOrder.OLDEST_FIRST:
        return verdict("queue_served", "unknown", "the claim order lets rows wait as long as others come")
    rows = waits(run)
    return _within(
        "queue_served",
        run,
        rows[rows["status"] == "QUEUED"],
        owed(run).queue_s,
        "wait in the queue",
        "waits in the queue",
    )


def leases_reclaimed(run: Run) -> Verdict:
    """After heal_at a row whose lease has run out is taken back, or ended by its worker, within the rescue's tick."""
    if why := _not_owed(run):
        return verdict("leases_reclaimed", "unknown", why)
    if not stream(run).watched:
        return verdict("leases_reclaimed", "unknown", NOT_WATCHED)
    import pandas as pd

    found = pd.DataFrame(_expired(run), columns=["event_id", "lease_owner", "begin_s", "end_s", "whole"])
    return _within(
        "leases_reclaimed",
        run,
        found,
        run.scenario.beat.rescue_every_s + SLACK_S,
        "lease that had run out",
        "leases that had run out",
    )


def _expired(run: Run) -> list[tuple[int, str, float, float, bool]]:
    """Return for each lease that ran out while it stood whose it was, when it did, and when the row moved on."""
    found = []
    for event_id, changes in stream(run).rows.items():
        expires_s, owner = math.inf, ""
        for change in changes:
            if change.moves and change.t_s > expires_s:
                found.append((event_id, owner, expires_s, change.t_s, True))
            held = change.now("status") == State.PROCESSING
            expires_s = float(change.now("lease_expires_at")) if held else math.inf
            owner = str(change.now("lease_owner"))
        if run.end_s > expires_s:
            found.append((event_id, owner, expires_s, run.end_s, False))
    return found


def told_in_time(run: Run) -> Verdict:
    """After heal_at the user of a PROCESSED event is shown its notification within a relay's tick and the way there.

    Owed to users who are connected: where they come and go by themselves it is not judged.
    """
    if why := _not_owed(run):
        return verdict("told_in_time", "unknown", why)
    users = run.scenario.users
    if users.session_s is not None or users.connected < 1 or not rules(run).settings.outbox:
        return verdict(
            "told_in_time", "unknown", "users come and go by themselves, or no outbox keeps what they are owed"
        )
    events = run.events[run.events["status"] == "PROCESSED"][["event_id"]]
    # When its batch was settled: its own call may have ended long before.
    log = run.transitions[run.transitions["after"] == "PROCESSED"]
    done = log.drop_duplicates("event_id", keep="last").set_index("event_id")["at_s"]
    if stream(run).watched:
        done = done.copy()
        done.update({c.event_id: c.t_s for c in stream(run).states if c.moves and c.now("status") == State.PROCESSED})
    shown = run.notifications.set_index("event_id")["delivered_s"]
    rows = events.assign(begin_s=events["event_id"].map(done), end_s=events["event_id"].map(shown))
    rows = rows.assign(whole=rows["end_s"].notna(), end_s=rows["end_s"].fillna(run.end_s))
    return _within("told_in_time", run, rows, owed(run).told_s, "notification", "notifications")


def no_livelock(run: Run) -> Verdict:
    """After heal_at what workers send to the store changes rows: so many statements per change, and no more."""
    if why := _not_owed(run):
        return verdict("no_livelock", "unknown", why)
    if not stream(run).watched:
        return verdict("no_livelock", "unknown", NOT_WATCHED)
    heal_s = run.scenario.heal_at_s or 0.0
    sent = sum(
        step.kind == "statement" and step.t_s >= heal_s and step.actor.startswith("worker-")
        for step in stream(run).steps
    )
    changed = sum(change.t_s >= heal_s and change.actor.startswith("worker-") for change in stream(run).states)
    per = sent / max(changed, 1)
    told = f"{count(sent, 'statement')} of workers for {count(changed, 'change')} of rows after heal_at"
    if sent >= LEAST_STATEMENTS and per > STATEMENTS_PER_CHANGE:
        return verdict("no_livelock", "false", f"{told}, more than {STATEMENTS_PER_CHANGE:g} each")
    return verdict("no_livelock", "true", told)


def returns_to_rest(run: Run) -> Verdict:
    """After heal_at the backlog comes back to its level before the first fault, within a multiple of the trouble."""
    if why := _not_owed(run):
        return verdict("returns_to_rest", "unknown", why)
    landed = run.faults[run.faults["landed"] > 0]
    heal_s = run.scenario.heal_at_s or 0.0
    if landed.empty:
        return verdict("returns_to_rest", "true", "no fault landed, so there was nothing to return from")
    began_s, level = float(landed["start_s"].min()), backlog(run)
    before = level.highest(began_s - LOOK_BACK_S, began_s)
    band = before + BAND_SIGMAS * math.sqrt(before + 1)
    deadline_s = heal_s + max(REST_FACTOR * (heal_s - began_s), owed(run).queue_s + owed(run).tick_s)
    back_s = level.first_at_most(band, heal_s)
    if back_s <= deadline_s:
        return verdict("returns_to_rest", "true", f"back at {band:.6g} rows {back_s - heal_s:.6g} s after heal_at")
    told = f"more than {band:.6g} rows up to {min(deadline_s, run.end_s) - heal_s:.6g} s after heal_at"
    return verdict("returns_to_rest", "unknown" if run.end_s < deadline_s else "false", told)

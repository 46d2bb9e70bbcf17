"""Whose turn it is: rows are claimed as soon as they are due and a worker has time, and none is passed over."""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from tem_sim.analysis.owed import owed, waits
from tem_sim.analysis.rules import rules
from tem_sim.analysis.stream import stream
from tem_sim.analysis.stuck import HARMLESS
from tem_sim.checks.offences import NOT_WATCHED, Offence, judged, of_change
from tem_sim.checks.verdict import Verdict, count, verdict
from tem_sim.pipeline.settings import ClaimOrder
from tem_sim.pipeline.states import State

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.analysis.stream import Change, Stream
    from tem_sim.frames import Run

_CLAIM = (State.QUEUED, State.PROCESSING)
_KEYS: dict[ClaimOrder, Any] = {
    ClaimOrder.OLDEST_FIRST: lambda row: (row["queued_at"], row["event_id"]),
    ClaimOrder.NEW_FIRST: lambda row: (row["retry_count"] > 0, row["queued_at"], row["event_id"]),
    ClaimOrder.NEWEST_FIRST: lambda row: (-row["queued_at"], -row["event_id"]),
}


def claimed_when_due(run: Run) -> Verdict:
    """Where no fault landed a retry is queued within a tick, and a QUEUED row claimed as soon as a worker has time.

    So that a row of which nobody was woken is seen although the sweep would find it.
    """
    if not stream(run).watched:
        return verdict("claimed_when_due", "unknown", NOT_WATCHED)
    landed = run.faults[(run.faults["landed"] > 0) & ~run.faults["kind"].isin(HARMLESS)]
    settings = rules(run).settings
    if len(landed) or run.scenario.broker.loss:
        return verdict(
            "claimed_when_due", "unknown", "faults landed, or wake-ups get lost: the sweep may have to find rows"
        )
    if settings.breaker is not None or settings.concurrency_limit is not None or settings.retry_budget is not None:
        return verdict("claimed_when_due", "unknown", "a mitigation holds rows back on purpose")
    if settings.claim_order is not ClaimOrder.OLDEST_FIRST or _kills(run):
        return verdict("claimed_when_due", "unknown", "rows may have to wait for others, or for a worker's return")
    bounds, rows = owed(run), waits(run)
    queued = rows[rows["status"] == "QUEUED"].assign(allowed_s=bounds.claim_s)
    failed = _due(run).assign(allowed_s=bounds.tick_s)
    import pandas as pd

    both = pd.concat([queued, failed], ignore_index=True)
    both = both.assign(waited_s=both["end_s"] - both["begin_s"])
    late = both[both["waited_s"] > both["allowed_s"]]
    if len(late):
        worst_s = float((late["waited_s"] - late["allowed_s"]).max())
        detail = f"{count(len(late), 'row')} waited longer than the tick or the queue takes, one by {worst_s:.6g} s"
        return verdict("claimed_when_due", "false", detail, late)
    detail = f"due rows were queued within {bounds.tick_s:.6g} s, queued ones claimed within {bounds.claim_s:.6g} s"
    return verdict("claimed_when_due", "true", detail)


def _kills(run: Run) -> bool:
    return any(kind.effect == "kill" for kind in run.scenario.handler.kinds.values())


def _due(run: Run) -> pd.DataFrame:
    """Return from when each FAILED row was due, and when it moved on."""
    import pandas as pd

    found = []
    for event_id, changes in stream(run).rows.items():
        due_s: Any = None
        for change in (one for one in changes if one.moves):
            if due_s is not None:
                found.append((event_id, "FAILED", due_s, change.t_s, True))
            # An outcome that was settled late is due at once.
            at_s = change.now("next_retry_at")
            due_s = None if at_s is None else max(at_s, change.t_s)
        if due_s is not None:
            found.append((event_id, "FAILED", due_s, max(run.end_s, due_s), False))
    return pd.DataFrame(found, columns=["event_id", "status", "begin_s", "end_s", "whole"])


def no_starvation(run: Run) -> Verdict:
    """No row is passed over: a claim takes the rows whose turn it is, of all that were in the queue when it began."""
    order = rules(run).settings.claim_order
    found = _passed_over(run, _KEYS[order])
    claims = count(sum(change.edge == _CLAIM for change in stream(run).states), "claim")
    return judged("no_starvation", run, found, f"each of {claims} took the row whose turn it was ({order})")


def _passed_over(run: Run, key: Any) -> list[Offence]:
    """Find the claims that took a row while one whose turn came before it was in the queue, free for the taking.

    What counts is what had been committed when the claim's transaction began; what others were just claiming is locked.
    Which rows those were is not known of a claim that came to nothing: then none of this time is judged.
    """
    seen = stream(run)
    undone = _undone_claims(seen)
    begins = {step.txn: step.step for step in reversed(seen.steps) if step.kind == "begin"}
    claims: defaultdict[int, list[Change]] = defaultdict(list)
    # When each stay in the queue began, by its commit, and when it ended, by the statement that took it.
    queued: list[tuple[int, Any, int]] = []
    taken: dict[tuple[int, int], int] = {}
    open_since: dict[int, int] = {}
    for change in seen.states:
        if change.edge == _CLAIM:
            claims[change.step].append(change)
            taken[change.event_id, open_since.get(change.event_id, 0)] = change.step
        if change.now("status") == State.QUEUED and change.moves:
            open_since[change.event_id] = change.commit_step
            queued.append((change.commit_step, key(change.after), change.event_id))
    queued.sort(key=lambda stay: stay[0])
    waiting: list[tuple[Any, int, int]] = []
    found, at = [], 0
    for step, batch in sorted(claims.items()):
        begin = begins.get(batch[0].txn, step)
        while at < len(queued) and queued[at][0] < begin:
            committed, place, event_id = queued[at]
            heapq.heappush(waiting, (place, event_id, committed))
            at += 1
        while waiting and taken.get((waiting[0][1], waiting[0][2]), math.inf) <= step:
            heapq.heappop(waiting)
        last = max(batch, key=lambda change: key(change.before))
        judgeable = not any(since < step and until > begin for since, until in undone)
        if waiting and judgeable and waiting[0][0] < key(last.before):
            found.append(of_change(run, last, f"taken while event {waiting[0][1]} was before it", "queued_at"))
    return found


def _undone_claims(seen: Stream) -> list[tuple[int, float]]:
    """Return from which step to which the claims held their rows that were never committed."""
    committed = {step.txn for step in seen.steps if step.kind == "commit" and not step.error}
    rolled_back = {step.txn: step.step for step in seen.steps if step.kind == "rollback"}
    return [
        (step.step, rolled_back.get(step.txn, math.inf))
        for step in seen.steps
        if step.label == "claims.claim" and step.kind == "statement" and step.rows > 0 and step.txn not in committed
    ]

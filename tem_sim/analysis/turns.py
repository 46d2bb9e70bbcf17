"""When a waiting row's turn was last put off: by the claim, or the requeueing, of a row that goes before it.

While those before a row move, its own turn has not come, however long it waits. What goes before what is the pipeline's
`claim_order` for QUEUED rows, and the due time for FAILED ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tem_sim.analysis.history import Array, history, tries
from tem_sim.analysis.rules import rules
from tem_sim.pipeline.settings import ClaimOrder

if TYPE_CHECKING:
    from tem_sim.frames import Run


def last_turn_s(run: Run, status: Array, since_s: Array, retried: Array) -> Array:
    """Return for each waiting row when one before it last moved on; -inf where none did, or where rows do not queue.

    `since_s`: when a QUEUED row was queued, when a FAILED one fell due. `retried`: whether the row has failed before.
    """
    order = rules(run).settings.claim_order
    queued, failed = status == "QUEUED", status == "FAILED"
    turns = np.full(len(status), -np.inf)
    turns[failed] = _latest(*_requeues(run), since_s[failed])
    claimed_s, queued_s, retry = _claims(run)
    if order is ClaimOrder.NEWEST_FIRST:
        turns[queued] = _latest(claimed_s, -queued_s, -since_s[queued])
    elif order is ClaimOrder.OLDEST_FIRST:
        turns[queued] = _latest(claimed_s, queued_s, since_s[queued])
    else:
        new, again = queued & ~retried, queued & retried
        turns[new] = _latest(claimed_s[~retry], queued_s[~retry], since_s[new])
        turns[again] = _latest(claimed_s[retry], queued_s[retry], since_s[again])
        turns[again] = np.maximum(turns[again], claimed_s[~retry].max(initial=-np.inf))
    return turns


def _latest(moved_s: Array, place: Array, places: Array) -> Array:
    """Return for each of `places` the latest `moved_s` of those that stand at it or before it."""
    order = np.argsort(place, kind="stable")
    latest = np.append(-np.inf, np.maximum.accumulate(moved_s[order]))
    return np.asarray(latest[np.searchsorted(place[order], places, side="right")])


def _claims(run: Run) -> tuple[Array, Array, Array]:
    """Return of each claim when it was, when its row had been queued, and whether the row had failed before."""
    past = history(run)
    claims = past.has("cause", "claim") & ~past.first
    return past.at_s[claims], past.previous(past.at_s)[claims], past.retry_count[claims] > 0


def _requeues(run: Run) -> tuple[Array, Array]:
    """Return of each requeueing when it was, and when its row had fallen due; those without a due time are left out."""
    past = history(run)
    retries = past.has("cause", "retry")
    at = tries(run).find(past.event[retries], past.attempt_no[retries])
    due_s = np.append((run.attempts["finished_s"] + run.attempts["delay_s"]).to_numpy(), np.nan)[at]
    known = ~np.isnan(due_s)
    return past.at_s[retries][known], due_s[known]

"""Checks of the retries: their number, their count, and that each waited as long as it should."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tem_sim.analysis.history import Array, history, log_rows, tries
from tem_sim.analysis.rules import ROUNDING_S, rules
from tem_sim.checks.verdict import Verdict, count, no_offence, verdict

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.frames import Run
    from tem_sim.pipeline.backoff import Policy


def attempts_bounded(run: Run) -> Verdict:
    """No event has more attempts than max_retries + 1 and its lost or released leases, nor is one given up before.

    A replay begins a new life. A budget of time may end an event's tries early, and so may a deadline, but not
    before it has passed; nor is an event claimed after it handed to its handler.
    """
    if len(wrong := _against_the_deadline(run)):
        detail = (
            f"{count(len(wrong), 'event')} expired before the deadline, or claimed after it and handled all the same"
        )
        return verdict("attempts_bounded", "false", detail, wrong)
    max_retries = rules(run).settings.policy.max_retries
    if max_retries is None:
        return verdict("attempts_bounded", "true", "the policy never gives up, so attempts have no bound")
    import pandas as pd

    past = history(run)
    life = past.event.astype(np.int64) + np.cumsum(past.has("cause", "replay"))
    claims = np.bincount(life[past.has("cause", "claim")], minlength=int(life.max(initial=-1)) + 1)
    lost = np.bincount(life[past.has("cause", "rescue", "crashed", "release")], minlength=len(claims))
    over = claims > max_retries + 1 + lost
    offending = _lives(run, life, over).assign(attempts=claims[over], allowed=(max_retries + 1 + lost)[over])
    if len(early := _given_up_early(run, max_retries)):
        detail = f"{count(len(early), 'event')} given up with no more than {max_retries} failures"
        return verdict("attempts_bounded", "false", detail, pd.concat([offending, early]))
    most = count(int(claims.max(initial=0)), "attempt")
    return no_offence(
        "attempts_bounded",
        offending,
        f"at most {most} in one life, where {max_retries + 1} and one per lost lease are allowed",
        f"{count(len(offending), 'event')} had more than {max_retries + 1} and one per lost lease: {most}",
    )


def _given_up_early(run: Run, max_retries: int) -> pd.DataFrame:
    """Find the events that were given up as exhausted although their policy had retries left, and no budget."""
    past = history(run)
    if rules(run).settings.policy.budget_s is not None:
        return log_rows(run, np.zeros(len(past), dtype=bool))
    return log_rows(run, past.has("cause", "exhausted") & (past.retry_count <= max_retries))


def _against_the_deadline(run: Run) -> pd.DataFrame:
    """Find the ends by a deadline that had not passed yet, and the claims after it that led to a call.

    A worker that is frozen between its look at the clock and its call is late without a fault of its own: so it is the
    claim that is judged, not the call.
    """
    past, rule = history(run), rules(run)
    expired, claims = past.has("cause", "expired"), past.has("cause", "claim")
    deadline_s = rule.settings.deadline_s
    if deadline_s is None:
        return log_rows(run, expired)
    begins = past.first | past.has("cause", "submit", "replay")
    age_s = past.at_s - past.at_s[begins][np.cumsum(begins) - 1]
    slack_s = rule.skew_s + ROUNDING_S
    at = tries(run).find(past.event[claims], past.attempt_no[claims])
    called = np.append(run.attempts["outcome"].isin(["ok", "error"]).to_numpy(), False)[at]
    late = claims.copy()
    late[claims] = called & (age_s[claims] >= deadline_s + slack_s)
    return log_rows(run, late | (expired & (age_s < deadline_s - slack_s)))


def _lives(run: Run, life: Array, chosen: Array) -> pd.DataFrame:
    """Return the events to which the chosen lives belong."""
    import pandas as pd

    past = history(run)
    owner = np.zeros(len(chosen), dtype=np.int64)
    owner[life] = past.event
    return pd.DataFrame({"event_id": past.ids[owner[chosen]]})


def retry_count(run: Run) -> Verdict:
    """`retry_count` is the number of failed attempts since the submit or the last replay, at every step."""
    steps, rows = _miscounted_steps(run), _miscounted_rows(run)
    failed = int((run.attempts["outcome"] == "error").sum())
    if len(rows):
        events = count(len(rows), "event")
        detail = f"{events} say another number than the attempts that failed, {failed:,} in all"
        return verdict("retry_count", "false", detail, rows)
    return no_offence(
        "retry_count",
        steps,
        f"every row counts its failed attempts, {failed:,} in all",
        f"{count(len(steps), 'transition')} changed the count by other than one per failure",
    )


def _miscounted_rows(run: Run) -> pd.DataFrame:
    """Find the events whose row says another number than the attempts that failed in its present life."""
    past, tried = history(run), tries(run)
    since = np.zeros(len(past.ids), dtype=np.int64)
    replays = past.has("cause", "replay")
    np.maximum.at(since, past.event[replays], past.attempt_no[replays])
    outcome = run.attempts["outcome"]
    failed = (outcome.cat.codes.to_numpy() == outcome.cat.categories.get_loc("error"))[tried.order]
    counted = failed & (tried.attempt_no > since[tried.event])
    failures = np.bincount(tried.event[counted], minlength=len(past.ids))
    events = run.events[["event_id", "status", "retry_count"]]
    events = events.assign(failed_attempts=failures[np.searchsorted(past.ids, events["event_id"].to_numpy())])
    return events[events["retry_count"] != events["failed_attempts"]]


def _miscounted_steps(run: Run) -> pd.DataFrame:
    """Find the transitions that do not change the count as they should: by 1 for a failure, else by 0."""
    past = history(run)
    fresh = past.first | past.has("cause", "submit", "replay")
    expected = np.where(fresh, 0, past.previous(past.retry_count) + past.has("cause", "error", "exhausted"))
    return log_rows(run, past.retry_count != expected)


def no_early_claim(run: Run) -> Verdict:
    """No FAILED row is queued or claimed again before its retry is due: the attempt's end plus the delay booked for it.

    A row that is early by no more than the clocks were declared to be off cannot be judged.
    """
    past = history(run)
    retries = past.has("cause", "retry")
    at = tries(run).find(past.event[retries], past.attempt_no[retries])
    due_s = (run.attempts["finished_s"] + run.attempts["delay_s"]).to_numpy()
    # An attempt that is not there was never given a delay either: its retry was due at no time.
    due_s = np.append(due_s, np.nan)[at]
    next_at = tries(run).find(past.event[retries], past.attempt_no[retries] + 1)
    claimed_s = np.append(run.attempts["claimed_s"].to_numpy(), np.nan)[next_at]
    # A retry that nobody has claimed yet is judged by its requeueing alone.
    early_s = np.fmax(due_s - past.at_s[retries], due_s - claimed_s - rules(run).stale_s)
    rows = log_rows(run, retries).assign(due_s=due_s, early_s=early_s)
    skew_s = rules(run).skew_s
    offending = rows[~(early_s <= skew_s + ROUNDING_S)]
    total = count(len(rows), "retry", "retries")
    if len(offending):
        return verdict("no_early_claim", "false", f"{len(offending):,} of {total} came before they were due", offending)
    unclear = rows[early_s > ROUNDING_S]
    if len(unclear):
        detail = f"{len(unclear):,} of {total} came early by no more than the declared clock skew of {skew_s:g} s"
        return verdict("no_early_claim", "unknown", detail, unclear)
    return verdict("no_early_claim", "true", f"none of {total} came before it was due")


def backoff_support(run: Run) -> Verdict:
    """Every delay that was booked lies within what the policy can draw for that retry."""
    policy = rules(run).settings.policy
    booked = _booked(run)
    low_s, high_s = _supports(policy, booked)
    slack_s = ROUNDING_S + 1e-9 * high_s
    delay_s = booked["delay_s"].to_numpy()
    outside = (delay_s < low_s - slack_s) | (delay_s > high_s + slack_s)
    offending = booked.assign(low_s=low_s, high_s=high_s)[outside]
    total = count(len(booked), "delay")
    return no_offence(
        "backoff_support",
        offending,
        f"all of {total} lie within the policy's bounds for their retry",
        f"{len(offending):,} of {total} lie outside the policy's bounds for their retry",
    )


def _booked(run: Run) -> pd.DataFrame:
    """Return the attempts with a delay: event_id, attempt_no, retry (the one after it), previous_s, delay_s.

    Retries are counted from the attempts that failed, not from the row's own count, which a bug may have
    spoilt.
    """
    import pandas as pd

    past, tried = history(run), tries(run)
    delays = run.attempts["delay_s"].to_numpy()[tried.order]
    has = ~np.isnan(delays)
    event, attempt_no, delay_s = tried.event[has], tried.attempt_no[has], delays[has]
    replays = past.has("cause", "replay")
    # A life's number among all lives: events and replays up to this attempt, both in the order of their keys.
    replay_keys = (past.event[replays].astype(np.int64) << 32) | past.attempt_no[replays]
    keys = (event.astype(np.int64) << 32) | attempt_no
    life = event + np.searchsorted(replay_keys, keys, side="left")
    fresh = np.ones(len(life), dtype=bool)
    fresh[1:] = life[1:] != life[:-1]
    retry = np.arange(len(life)) - np.flatnonzero(fresh)[np.cumsum(fresh) - 1] + 1
    previous = np.append(np.nan, delay_s)[: len(delay_s)]
    return pd.DataFrame(
        {
            "event_id": past.ids[event],
            "attempt_no": attempt_no,
            "retry": retry,
            "previous_s": np.where(fresh, np.nan, previous),
            "delay_s": delay_s,
        }
    )


def _supports(policy: Policy, booked: pd.DataFrame) -> tuple[Array, Array]:
    """Return the bounds for each booked delay; most policies need one call per retry number."""
    keys = ["retry", "previous_s"] if policy.needs_previous else ["retry"]
    distinct = booked[keys].drop_duplicates()
    number = booked.groupby(keys, dropna=False, sort=False).ngroup().to_numpy()
    previous = distinct["previous_s"] if policy.needs_previous else [np.nan] * len(distinct)
    bounds = [
        policy.support(int(retry), None if np.isnan(before) else float(before))
        for retry, before in zip(distinct["retry"], previous, strict=True)
    ]
    table = np.array(bounds, dtype=np.float64).reshape(-1, 2)[number]
    return table[:, 0], table[:, 1]

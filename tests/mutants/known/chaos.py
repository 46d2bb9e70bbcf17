"""The thirty known bugs of the chaos reference (§3), in its order and by its numbers."""

from __future__ import annotations

from ..mutant import Mutant, swap
from ..patches import Replace

CHAOS = (
    Mutant(
        chaos=1,
        name="claim-reads-then-writes",
        did="read the ids of QUEUED rows, then updated those rows by id, without asking for their status again",
        patches=(
            Replace(
                "claims",
                """    change = update_picked(pick, _AS_CLAIMED)
    return {dialect: statement.returning(*_CLAIMED) for dialect, statement in change.items()}
""",
                """    change = CHANGE.where(_row.event_id.in_(bindparam("picked", expanding=True))).values(_AS_CLAIMED)
    return {"pick": pick, "change": change.returning(*_CLAIMED)}
""",
            ),
            Replace(
                "claims",
                "        claimed = connection.execute(_CLAIM[settings.claim_order][store.dialect], values)\n",
                """        statements = _CLAIM[settings.claim_order]
        values["picked"] = [row.event_id for row in connection.execute(statements["pick"], values)]
        claimed = connection.execute(statements["change"], values)
""",
            ),
        ),
        named=(
            "double_claim",
            "lost_write",
            "fencing",
            "attribution",
        ),
    ),
    Mutant(
        chaos=2,
        name="claim-without-status",
        did="claimed the longest waiting rows, whatever their status",
        patches=swap(
            "claims",
            "select(_row.event_id).where(status_is(State.QUEUED)).order_by(*order)",
            "select(_row.event_id).order_by(*order)",
        ),
        named=(
            "legal_edges",
            "row_shape",
            "fencing",
        ),
    ),
    Mutant(
        chaos=3,
        name="claim-takes-extinct",
        did="let a claim take EXTINCT rows, too: there is work left in them",
        patches=swap(
            "claims",
            "select(_row.event_id).where(status_is(State.QUEUED)).order_by(*order)",
            'select(_row.event_id).where(_row.status.in_(("QUEUED", "EXTINCT"))).order_by(*order)',
        ),
        named=(
            "legal_edges",
            "row_shape",
        ),
    ),
    Mutant(
        chaos=4,
        name="finish-unguarded",
        did="finished rows by their id alone",
        patches=swap(
            "settle",
            """        status_is(State.PROCESSING),
        _row.attempt_no == bindparam("token"),
        _row.lease_owner == bindparam("actor"),
    ),
}""",
            """        _row.event_id == bindparam("id"),
    ),
}""",
        ),
        named=("fencing",),
    ),
    Mutant(
        chaos=5,
        name="finish-guards-status-only",
        did="asked whether the row is PROCESSING before finishing it, and not whose it is",
        patches=swap(
            "settle",
            """        status_is(State.PROCESSING),
        _row.attempt_no == bindparam("token"),
        _row.lease_owner == bindparam("actor"),
    ),
}""",
            """        status_is(State.PROCESSING),
    ),
}""",
        ),
        named=("fencing",),
    ),
    Mutant(
        chaos=6,
        name="fail-without-fence",
        did="guarded the write of a success, and forgot that of a failure",
        patches=swap(
            "settle",
            "CHANGE.where(ours, *conditions).values(changes) for guard",
            "CHANGE.where(ours, *(conditions if to is State.PROCESSED else ())).values(changes) for guard",
        ),
        named=("fencing",),
    ),
    Mutant(
        chaos=7,
        name="no-lease-written",
        did="set the owner of a lease and not its end",
        patches=swap(
            "claims", '"actor": worker, "lease_expires_at": expires_at}', '"actor": worker, "lease_expires_at": None}'
        ),
        named=("row_shape",),
    ),
    Mutant(
        chaos=8,
        name="no-rescue",
        did="left the rescue out of the scheduler's task",
        patches=swap(
            "tasks",
            """        rescued = lifecycle.rescue_expired(pipe.store, settings, now=pipe.clock.now(), actor=actor)
        found += rescued.requeued
""",
            "        found += 0\n",
        ),
        named=("liveness",),
    ),
    Mutant(
        chaos=9,
        name="no-sweep",
        did="left the sweep out of the scheduler's task",
        patches=swap(
            "tasks",
            "        found += lifecycle.sweep_queued("
            "pipe.store, now=pipe.clock.now(), sweep_after_s=settings.sweep_after_s)\n",
            "        found += 0\n",
        ),
        named=("liveness",),
    ),
    Mutant(
        chaos=10,
        name="one-retry-too-many",
        did="counted from the wrong end: one retry more than max_retries",
        patches=(
            Replace("settle", "failures > policy.max_retries:", "failures > policy.max_retries + 1:"),
            Replace("backoff", "failures > self.max_retries:", "failures > self.max_retries + 1:"),
        ),
        named=("extinct_budget",),
    ),
    Mutant(
        chaos=11,
        name="never-extinct",
        did="made the limit of retries a thing of the policy, which never looks at it",
        patches=(
            Replace(
                "settle",
                "    if policy.max_retries is not None and failures > policy.max_retries:\n"
                "        return Decision(None, None)\n",
                "",
            ),
            Replace(
                "backoff",
                "        if self.max_retries is not None and failures > self.max_retries:\n            return True\n",
                "",
            ),
        ),
        named=("extinct_budget",),
    ),
    Mutant(
        chaos=12,
        name="retry-not-counted",
        did="wrote the count back as it was read",
        patches=swap(
            "settle",
            'values["failures"] = claimed.retry_count if settings.write_guard is WriteGuard.STALE else failures',
            'values["failures"] = claimed.retry_count',
        ),
        named=("retry_accounting",),
    ),
    Mutant(
        chaos=13,
        name="retry-counted-twice",
        did="counted the failure where it is decided and again where it is written",
        patches=swap(
            "settle",
            'values["failures"] = claimed.retry_count if settings.write_guard is WriteGuard.STALE else failures',
            'values["failures"] = failures + 1',
        ),
        named=("retry_accounting",),
    ),
    Mutant(
        chaos=14,
        name="retry-count-from-a-stale-object",
        did="counted failures in a transaction of their own, then wrote the object as it was claimed over it",
        patches=(
            Replace("settle", "if settings.write_guard in (WriteGuard.STALE, WriteGuard.REFRESH):", "if outcomes:"),
            Replace(
                "settle",
                'values["failures"] = claimed.retry_count if settings.write_guard is WriteGuard.STALE else failures',
                'values["failures"] = claimed.retry_count',
            ),
        ),
        named=("retry_accounting",),
    ),
    Mutant(
        chaos=15,
        name="exponent-one-too-high",
        did="took the number of the retry for the exponent",
        patches=swap("growth", "self.factor ** min(k - 1, 2**53)", "self.factor ** min(k, 2**53)"),
        named=("policy_law",),
    ),
    Mutant(
        chaos=16,
        name="no-cap",
        did="kept the cap in the settings and never applied it",
        patches=swap(
            "backoff",
            "        return MAX_DELAY_S if self.cap_s is None else self.cap_s",
            "        return MAX_DELAY_S",
        ),
        named=("policy_law",),
    ),
    Mutant(
        chaos=17,
        name="jitter-below-zero",
        did="spread the wait to both sides by the whole width, below zero where the wait is short",
        patches=swap("jitter", "return value_s, self.width_s", "return value_s - self.width_s, 2 * self.width_s"),
        named=("policy_law",),
    ),
    Mutant(
        chaos=18,
        name="scheduler-on-local-time",
        did="asked the scheduler's clock for local time, an hour ahead",
        patches=swap(
            "tasks",
            "due = lifecycle.requeue_due(pipe.store, pipe.settings, now=pipe.clock.now(), actor=actor, at_most=probes)",
            "due = lifecycle.requeue_due("
            "pipe.store, pipe.settings, now=pipe.clock.now() + 3600, actor=actor, at_most=probes)",
        ),
        named=("due_times",),
    ),
    Mutant(
        chaos=19,
        name="no-due-time",
        did="moved a row to FAILED without saying when its retry is due",
        patches=swap("settle", '            _row.next_retry_at: bindparam("due"),\n', ""),
        named=("row_shape",),
    ),
    Mutant(
        chaos=20,
        name="requeue-ignores-due-time",
        did="requeued whatever is FAILED",
        patches=swap(
            "lifecycle",
            '.where(status_is(State.FAILED), _row.next_retry_at <= bindparam("now"))',
            ".where(status_is(State.FAILED))",
        ),
        named=("due_times",),
    ),
    Mutant(
        chaos=21,
        name="requeue-never-true",
        did="compared the due time with now for equality",
        patches=swap(
            "lifecycle",
            '.where(status_is(State.FAILED), _row.next_retry_at <= bindparam("now"))',
            '.where(status_is(State.FAILED), _row.next_retry_at == bindparam("now"))',
        ),
        named=("liveness",),
    ),
    Mutant(
        chaos=22,
        name="requeue-takes-extinct",
        did="gave the dead letters one more chance at each tick",
        patches=swap(
            "lifecycle",
            '.where(status_is(State.FAILED), _row.next_retry_at <= bindparam("now"))',
            '.where((status_is(State.FAILED) & (_row.next_retry_at <= bindparam("now"))) | status_is(State.EXTINCT))',
        ),
        named=(
            "legal_edges",
            "row_shape",
        ),
    ),
    Mutant(
        chaos=23,
        name="requeue-reads-then-writes",
        did="read what is due in one transaction and requeued it in the next, by id alone",
        patches=(
            Replace(
                "lifecycle",
                """    with store.begin() as connection:
        if settings.retry_budget is None:
            return _requeue(store, connection, limit, now, actor)
""",
                """    if settings.retry_budget is None:
        with store.begin() as connection:
            due = connection.execute(_DUE, {"now": now, "limit": limit}).scalars().all()
        with store.begin() as connection:
            return store.execute_many(
                connection, _REQUEUE_ONE, [{"id": event_id, "now": now, "actor": actor} for event_id in due]
            )
    with store.begin() as connection:
""",
            ),
            Replace(
                "lifecycle",
                "# Both stores take a limit of this size for none.\n",
                """_DUE = (
    select(_row.event_id)
    .where(status_is(State.FAILED), _row.next_retry_at <= bindparam("now"))
    .order_by(_row.next_retry_at, _row.event_id)
    .limit(bindparam("limit"))
)
_REQUEUE_ONE = (
    update(processing_state)
    .where(_row.event_id == bindparam("id"))
    .values({**REQUEUED, **moved(Cause.RETRY)})
)
# Both stores take a limit of this size for none.
""",
            ),
        ),
        named=(
            "lost_write",
            "legal_edges",
            "illegal_edge",
        ),
    ),
    Mutant(
        chaos=24,
        name="requeue-without-wake",
        did="requeued what is due and woke nobody; the sweep hides it",
        patches=swap("tasks", "    _wake(pipe, max(due, 1) if probes else due)\n", ""),
        named=("wake_after_commit",),
    ),
    Mutant(
        chaos=25,
        name="requeue-wakes-before-commit",
        did="woke the workers first, so that they lose no time",
        patches=(
            Replace(
                "tasks",
                "    if probes != 0:\n        due = ",
                "    if probes != 0:\n        _wake(pipe, 1)\n        due = ",
            ),
            Replace("tasks", "    _wake(pipe, max(due, 1) if probes else due)\n", ""),
        ),
        named=("wake_after_commit",),
    ),
    Mutant(
        chaos=26,
        name="submit-wakes-before-commit",
        did="sent the wake-up of a submission before the rows were committed",
        patches=(
            Replace(
                "tasks",
                "    answers = lifecycle.submit(",
                "    _wake(pipe, len(submissions))\n    answers = lifecycle.submit(",
            ),
            Replace("tasks", "    _wake(pipe, sum(answer.created for answer in answers))\n", ""),
        ),
        named=("wake_after_commit",),
    ),
    Mutant(
        chaos=27,
        name="notify-before-commit",
        did="told the user as soon as the handler was done, and settled afterwards",
        patches=swap(
            "tasks",
            '    pipe.failpoints.reach("before_settle")\n',
            """    done = [outcome.claimed for outcome in outcomes if outcome.error is None]
    pipe.publisher.publish(
        [Notification(e.event_id, e.user_id, f"event-{e.event_id}-processed", pipe.clock.now()) for e in done]
    )
    pipe.failpoints.reach("before_settle")
""",
        ),
        named=("notify_after_commit",),
    ),
    Mutant(
        chaos=28,
        name="rowcount-not-looked-at",
        did="did not look at how many rows the finishing write changed",
        patches=swap(
            "settle",
            """            if store.execute_many(connection, _FINISH[state][guard], rows) != len(rows):
                raise _SupersededError
""",
            "            store.execute_many(connection, _FINISH[state][guard], rows)\n",
        ),
        named=(
            "attribution",
            "notification_unearned",
            "notify_after_commit",
        ),
    ),
    Mutant(
        chaos=29,
        name="publish-again-each-tick",
        did="forgot that what was published need not be published again",
        patches=swap("outbox", "    .where(_note.published_at.is_(None))\n", ""),
        named=("calm",),
    ),
    Mutant(
        chaos=30,
        name="failure-swallowed",
        did="settled what succeeded and dropped what failed: its row stays PROCESSING",
        patches=swap(
            "tasks",
            """    if pipe.settings.isolation is Isolation.BATCH:
        outcomes = _fail_together(outcomes)
""",
            """    if pipe.settings.isolation is Isolation.BATCH:
        outcomes = _fail_together(outcomes)
    outcomes = [outcome for outcome in outcomes if outcome.error is None]
    if not outcomes:
        return
""",
        ),
        named=("attempts_settled",),
    ),
)

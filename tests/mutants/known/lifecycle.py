"""Bugs of our own in submitting, claiming, requeueing, rescuing, sweeping, replaying."""

from __future__ import annotations

from ..mutant import Mutant, swap
from ..patches import Replace

LIFECYCLE = (
    Mutant(
        name="lookup-by-id",
        did="looked a repeated submission up by its id instead of its key",
        patches=(
            Replace(
                "lifecycle",
                'event_table.c.idempotency_key == bindparam("key")',
                'event_table.c.id == bindparam("key")',
            ),
            Replace(
                "lifecycle",
                "found = _find(store, submission.idempotency_key)",
                "found = _find(store, submission.event_id)",
            ),
        ),
        named=("event_twice", "reference"),
    ),
    Mutant(
        name="row-in-a-second-transaction",
        did="inserted events in one transaction and their rows in the next",
        patches=(
            Replace(
                "lifecycle",
                """        _insert_events(store, connection, submissions, now, actor)


def _insert_events(""",
                """        _insert_events(store, connection, submissions, now, actor)
    with store.begin() as connection:
        states = [{"id": s.event_id, "created_at": now, "actor": actor} for s in submissions]
        store.execute_many(connection, _INSERT_STATE, states)


def _insert_events(""",
            ),
            Replace(
                "lifecycle",
                """    states = [{"id": s.event_id, "created_at": now, "actor": actor} for s in submissions]
    store.execute_many(connection, _INSERT_STATE, states)


def _submit_one""",
                """

def _submit_one""",
            ),
        ),
        named=("conserved_rows",),
    ),
    Mutant(
        name="requeue-limit-ignored",
        did="left the LIMIT out of the requeue",
        patches=swap(
            "lifecycle",
            '    .order_by(_row.next_retry_at, _row.event_id)\n    .limit(bindparam("limit")),\n    {**REQUEUED',
            "    .order_by(_row.next_retry_at, _row.event_id),\n    {**REQUEUED",
        ),
        named=("limits",),
    ),
    Mutant(
        name="requeue-unordered",
        did="left the ORDER BY out of the requeue, so that a full tick may pass over the longest due",
        patches=swap(
            "lifecycle",
            '    .order_by(_row.next_retry_at, _row.event_id)\n    .limit(bindparam("limit")),\n    {**REQUEUED',
            '    .order_by(_row.event_id.desc())\n    .limit(bindparam("limit")),\n    {**REQUEUED',
        ),
        named=("in_turn",),
    ),
    Mutant(
        name="requeue-forgets-due-time",
        did="compared with the time at which the row last changed instead of its due time",
        patches=swap(
            "lifecycle",
            '.where(status_is(State.FAILED), _row.next_retry_at <= bindparam("now"))',
            '.where(status_is(State.FAILED), _row.changed_at <= bindparam("now"))',
        ),
        named=("due_times",),
    ),
    Mutant(
        name="requeue-keeps-its-place",
        did="let a retry keep the place in the queue that its event had at first",
        patches=swap("rows", '    _row.queued_at: bindparam("now"),\n', ""),
        named=("reference",),
    ),
    Mutant(
        name="rescue-live-leases",
        did="turned the comparison around: took back leases that still live",
        patches=swap(
            "lifecycle",
            '_row.lease_expires_at <= bindparam("now"))\n    .order_by(_row.lease_expires_at',
            '_row.lease_expires_at >= bindparam("now"))\n    .order_by(_row.lease_expires_at',
        ),
        named=("attribution", "liveness"),
    ),
    Mutant(
        name="rescue-resets-retries",
        did="gave a rescued event its retries back",
        patches=swap(
            "lifecycle",
            '.values({**REQUEUED, _row.crash_count: bindparam("crashes"), **moved(Cause.RESCUE)})',
            '.values({**REQUEUED, _row.retry_count: 0, _row.crash_count: bindparam("crashes"), **moved(Cause.RESCUE)})',
        ),
        named=("retry_accounting",),
    ),
    Mutant(
        name="rescue-counts-as-retry",
        did="counted a worker's death as a failure of its event",
        patches=swap(
            "lifecycle",
            '.values({**REQUEUED, _row.crash_count: bindparam("crashes"), **moved(Cause.RESCUE)})',
            ".values({**REQUEUED, _row.retry_count: _row.retry_count + 1,"
            ' _row.crash_count: bindparam("crashes"), **moved(Cause.RESCUE)})',
        ),
        named=("retry_accounting",),
    ),
    Mutant(
        name="rescue-without-crash-count",
        did="rescued a row without counting its crash: a poison event kills workers for ever",
        patches=swap("lifecycle", '"crashes": row.crash_count + blamed,', '"crashes": row.crash_count,'),
        named=("extinct_budget",),
    ),
    Mutant(
        name="rescue-budget-too-small",
        did="compared the crashes with the budget by < instead of <=",
        patches=(
            Replace("lifecycle", 'row["crashes"] <= budget]', 'row["crashes"] < budget]'),
            Replace("lifecycle", 'row["crashes"] > budget]', 'row["crashes"] >= budget]'),
        ),
        named=("extinct_budget",),
    ),
    Mutant(
        name="rescue-without-wake",
        did="rescued rows and woke nobody for them; the sweep hides it",
        patches=swap("tasks", "        found += rescued.requeued\n", ""),
        named=("wake_after_commit",),
    ),
    Mutant(
        name="rescue-forgets-its-attempt",
        did="put a row back and left its attempt out of the log",
        patches=swap("lifecycle", "        store.execute_many(connection, _RECORD_LOST, expired)\n", ""),
        named=(
            "attribution",
            "reference",
            "attempt_missing",
        ),
    ),
    Mutant(
        name="sweep-forgets-when-it-woke",
        did="let the sweep wake without noting that it did, so that it wakes at every tick",
        patches=swap("lifecycle", '    {_row.woken_at: bindparam("now")},\n', "    {_row.woken_at: _row.woken_at},\n"),
        named=(
            "wake_after_commit",
            "reference",
        ),
    ),
    Mutant(
        name="sweep-after-forgotten",
        did="swept with now instead of the time before which nobody was woken",
        patches=swap(
            "lifecycle",
            '{"now": now, "before": round(now - sweep_after_s, 6)}',
            '{"now": now, "before": round(sweep_after_s - now, 6)}',
        ),
        named=("liveness",),
    ),
    Mutant(
        name="replay-keeps-retries",
        did="replayed an event without giving it its retries back",
        patches=swap("lifecycle", "            _row.retry_count: 0,\n            _row.crash_count: 0,\n", ""),
        named=("reference",),
    ),
    Mutant(
        name="replay-anything",
        did="let an operator replay whatever has the id",
        patches=swap(
            "lifecycle",
            '.where(_row.event_id == bindparam("id"), status_is(State.EXTINCT))',
            '.where(_row.event_id == bindparam("id"))',
        ),
        named=("reference",),
    ),
    Mutant(
        name="claim-limit-ignored",
        did="left the LIMIT out of the claim: the first worker takes all there is",
        patches=swap("claims", '.order_by(*order).limit(bindparam("limit"))', ".order_by(*order)"),
        named=("limits",),
    ),
    Mutant(
        name="claim-newest-first",
        did="sorted the queue by what came last",
        patches=swap(
            "claims",
            "ClaimOrder.OLDEST_FIRST: (_row.queued_at, _row.event_id),",
            "ClaimOrder.OLDEST_FIRST: (_row.queued_at.desc(), _row.event_id),",
        ),
        named=(
            "in_turn",
            "no_starvation",
        ),
    ),
    Mutant(
        name="claim-without-token",
        did="claimed a row without raising its attempt number",
        patches=swap(
            "claims",
            '    _row.attempt_no: _row.attempt_no + literal_column("1"),\n',
            "    _row.attempt_no: _row.attempt_no,\n",
        ),
        named=("fencing",),
    ),
    Mutant(
        name="lease-in-the-past",
        did="took the lease off the time instead of adding it",
        patches=swap("claims", "else round(now + settings.lease_s, 6)\n", "else round(now - settings.lease_s, 6)\n"),
        named=("row_shape",),
    ),
    Mutant(
        name="lease-renewed-by-a-stale-clock",
        did="renewed the lease from the time at which it was taken, not from now",
        patches=swap(
            "tasks",
            "        now = self._pipe.clock.now()\n        self._renew_at = now + self._half_s\n",
            "        now = self._renew_at - self._half_s\n        self._renew_at = now + 2 * self._half_s\n",
        ),
        named=("calm",),
    ),
    Mutant(
        name="lease-never-renewed",
        did="asked whether the lease is due by comparing the wrong way around",
        patches=swap(
            "tasks",
            "return self._pipe.clock.now() >= self._renew_at",
            "return self._pipe.clock.now() < self._renew_at - 2 * self._half_s",
        ),
        named=("calm",),
    ),
    Mutant(
        name="renew-whoever-holds-it",
        did="renewed the lease of its events without asking whose they are by now",
        patches=(
            Replace(
                "claims",
                '        status_is(State.PROCESSING),\n        _row.lease_owner == bindparam("worker"),\n',
                "        status_is(State.PROCESSING),\n",
            ),
            Replace(
                "claims",
                '[event.event_id for event in events], "worker": worker, "lease_expires_at": until}',
                '[event.event_id for event in events], "lease_expires_at": until}',
            ),
        ),
        named=("attribution",),
    ),
)

"""Bugs of our own in handling, settling and telling the user."""

from __future__ import annotations

from ..mutant import Mutant, swap
from ..patches import Replace

SETTLING = (
    Mutant(
        name="failure-taken-for-success",
        did="wrote `except Exception: pass` around the handler",
        patches=swap(
            "tasks",
            "    except Exception as failure:\n        error = _describe(failure)\n    finished_at",
            "    except Exception:\n        pass\n    finished_at",
        ),
        named=("outcomes",),
    ),
    Mutant(
        name="batch-fails-with-its-first",
        did="turned the question around: a batch fails together unless the settings say so",
        patches=swap(
            "tasks",
            "    if pipe.settings.isolation is Isolation.BATCH:\n        outcomes = _fail",
            "    if pipe.settings.isolation is not Isolation.BATCH:\n        outcomes = _fail",
        ),
        named=("outcomes",),
    ),
    Mutant(
        name="batch-stops-at-superseded",
        did="returned from the loop when one outcome turned out to be another's by now",
        patches=swap(
            "settle",
            "            superseded += 1\n            _record_superseded(store, outcome, worker)\n",
            "            superseded += 1\n            _record_superseded(store, outcome, worker)\n            break\n",
        ),
        named=("attempts_settled",),
    ),
    Mutant(
        name="superseded-not-recorded",
        did="took a superseded outcome for nothing worth a record",
        patches=swap("settle", "            _record_superseded(store, outcome, worker)\n", ""),
        named=("attempts_settled",),
    ),
    Mutant(
        name="outbox-in-a-second-transaction",
        did="wrote the outbox after the commit, in a transaction of its own",
        patches=swap(
            "settle",
            """        if settings.outbox:
            store.execute_many(connection, _OWE, [_owed(note) for note in owed])
    return owed
""",
            """    if settings.outbox:
        with store.begin() as connection:
            store.execute_many(connection, _OWE, [_owed(note) for note in owed])
    return owed
""",
        ),
        named=("notify_after_commit",),
    ),
    Mutant(
        name="notify-the-wrong-event",
        did="numbered the successes and looked them up among all outcomes",
        patches=swap(
            "settle",
            "    owed = [_notification(outcome, settings) for outcome in outcomes if outcome.error is None]\n",
            "    done = sum(outcome.error is None for outcome in outcomes)\n"
            "    owed = [_notification(outcomes[n], settings) for n in range(done)]\n",
        ),
        named=("notifications",),
    ),
    Mutant(
        name="user-and-event-swapped",
        did="swapped the first two arguments of the notification",
        patches=swap(
            "settle",
            "    return Notification(claimed.event_id, claimed.user_id, key, outcome.finished_at)",
            "    return Notification(claimed.event_id, claimed.event_id, key, outcome.finished_at)",
        ),
        named=("notifications",),
    ),
    Mutant(
        name="due-from-the-start",
        did="counted the delay from the start of the attempt instead of its end",
        patches=swap(
            "settle",
            "return Decision(delay_s, round(outcome.finished_at + delay_s, 6))",
            "return Decision(delay_s, round(outcome.started_at + delay_s, 6))",
        ),
        named=("due_times",),
    ),
    Mutant(
        name="due-an-hour-late",
        did="wrote the due time as local time, an hour ahead",
        patches=swap(
            "settle",
            "return Decision(delay_s, round(outcome.finished_at + delay_s, 6))",
            "return Decision(delay_s, round(outcome.finished_at + delay_s + 3600, 6))",
        ),
        named=("due_times",),
    ),
    Mutant(
        name="jitter-applied-twice",
        did="spread the delay again where it was booked",
        patches=swap(
            "settle",
            "    delay_s = round(policy.delay(failures, rng, claimed.last_delay_s), 6)\n",
            "    delay_s = round(policy.delay(failures, rng, claimed.last_delay_s) * (0.5 + rng.random()), 6)\n",
        ),
        named=("backoff_support",),
    ),
    Mutant(
        name="delay-of-the-attempt",
        did="took the number of the attempt for the number of the retry",
        patches=swap(
            "settle",
            "policy.delay(failures, rng, claimed.last_delay_s)",
            "policy.delay(claimed.attempt_no, rng, claimed.last_delay_s)",
        ),
        named=(
            "due_times",
            "backoff_support",
        ),
    ),
    Mutant(
        name="jitter-the-same-for-all",
        did="drew the jitter from one stream for all events, so that all of them wait alike",
        patches=swap(
            "settle",
            'rng = chance.stream("backoff", claimed.event_id, claimed.attempt_no)',
            'rng = chance.stream("backoff", claimed.attempt_no)',
        ),
        named=(
            "jitter_law",
            "jitter_spread",
        ),
    ),
    Mutant(
        name="previous-delay-forgotten",
        did="did not keep the delay that the next one grows from",
        patches=swap("settle", '            _row.last_delay_s: bindparam("delay_s"),\n', ""),
        named=("broken",),
    ),
    Mutant(
        name="budget-of-time-forgotten",
        did="measured the time since the attempt began instead of the event's age",
        patches=swap(
            "settle",
            "policy.gives_up(failures, outcome.finished_at - claimed.created_at, delay_s)",
            "policy.gives_up(failures, outcome.finished_at - outcome.started_at, delay_s)",
        ),
        named=("extinct_budget",),
    ),
    Mutant(
        name="deadline-swapped",
        did="swapped the two times of the deadline, so that nothing is ever overdue",
        patches=swap(
            "tasks",
            "pipe.clock.now() - event.created_at >= deadline_s",
            "event.created_at - pipe.clock.now() >= deadline_s",
        ),
        named=("attempts_bounded",),
    ),
    Mutant(
        name="deadline-ends-the-batch",
        did="ended the whole batch when its first event was overdue",
        patches=swap(
            "tasks",
            "    unhandled.expire(pipe.store, overdue, now=pipe.clock.now(), worker=worker)\n",
            "    unhandled.expire(pipe.store, events, now=pipe.clock.now(), worker=worker)\n",
        ),
        named=(
            "attempts_bounded",
            "extinct_budget",
        ),
    ),
    Mutant(
        name="published-marked-too-soon",
        did="marked notifications as published, then published them",
        patches=(
            Replace(
                "tasks",
                '    pipe.failpoints.reach("before_publish")\n    try:\n        receivers = ',
                "    outbox.mark_published(pipe.store, [note.event_id for note in owed], now=pipe.clock.now())\n"
                '    pipe.failpoints.reach("before_publish")\n    try:\n        receivers = ',
            ),
            Replace("tasks", "    outbox.mark_published(pipe.store, reached, now=pipe.clock.now())\n", ""),
        ),
        named=("published",),
    ),
    Mutant(
        name="ack-takes-others-along",
        did="acknowledged all notifications up to the one that the client has",
        patches=swap(
            "outbox",
            '    .where(_note.event_id == bindparam("id"), _note.acked_at.is_(None))\n',
            '    .where(_note.event_id <= bindparam("id"), _note.acked_at.is_(None))\n',
        ),
        named=("notifications",),
    ),
    Mutant(
        name="sends-again-what-is-acknowledged",
        did="turned the question around for users who connect: sent them what they have acknowledged",
        patches=swap(
            "outbox",
            "        _note.acked_at.is_(None),\n        _note.user_id",
            "        _note.acked_at.is_not(None),\n        _note.user_id",
        ),
        named=("told_in_time", "notifications", "calm"),
    ),
    Mutant(
        name="relay-limit-ignored",
        did="left the LIMIT out of the relay",
        patches=swap(
            "outbox",
            '    .order_by(_note.created_at, _note.event_id)\n    .limit(bindparam("limit"))\n',
            "    .order_by(_note.created_at, _note.event_id)\n",
        ),
        named=("limits",),
    ),
    Mutant(
        name="wake-only-for-one",
        did="woke a worker when exactly one event waits",
        patches=swap(
            "tasks", "    if not events:\n        return\n    pipe", "    if events != 1:\n        return\n    pipe"
        ),
        named=("wake_after_commit",),
    ),
    Mutant(
        name="wakes-rounded-down",
        did="divided by the batch size and rounded down",
        patches=swap(
            "tasks",
            "pipe.broker.wake(-(-events // pipe.settings.batch_size))",
            "pipe.broker.wake(events // pipe.settings.batch_size)",
        ),
        named=("claimed_when_due",),
    ),
    Mutant(
        name="wake-refused-kills-the-task",
        did="let the exception of an unreachable broker escape after the commit",
        patches=swap(
            "tasks",
            "        # The rows are durable and QUEUED; the sweep wakes a worker for them.\n        return",
            "        raise",
        ),
        named=("broken",),
    ),
)

"""How transactions and tasks are kept: nothing left open, nothing left undone, nothing beyond the limits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tem_sim.analysis.rules import rules
from tem_sim.analysis.stream import OUTSIDE, stream
from tem_sim.checks.offences import Offence, judged, of_change, of_step
from tem_sim.checks.verdict import Verdict, count
from tem_sim.pipeline.states import State

if TYPE_CHECKING:
    from tem_sim.analysis.stream import Change, Step
    from tem_sim.frames import Run

_ENDS = ("commit", "rollback")
_BREAKS = ("task", "task_failed", "killed")


def transaction_hygiene(run: Run) -> Verdict:
    """After an error a transaction is rolled back, no more; none is open across a call, across a send or at rest."""
    seen = stream(run)
    found = [one for steps in seen.threads.values() for one in _left_open(steps)]
    total = count(len({step.txn for step in seen.steps if step.txn}), "transaction")
    return judged("transaction_hygiene", run, found, f"each of {total} was ended before its thread did anything else")


def _left_open(steps: list[Step]) -> Iterator[Offence]:
    # The transaction that has written, or taken locks, and not ended: one that only reads ends without a word.
    open_txn, failed_txn = 0, 0
    for step in steps:
        if step.kind == "answer_lost":
            open_txn, failed_txn = 0, step.txn
        elif step.kind in _ENDS or step.kind in _BREAKS:
            open_txn = failed_txn = 0
        elif step.kind == "statement":
            if step.txn == failed_txn:
                yield of_step(step, "a statement in a transaction that has failed")
            if step.error:
                failed_txn = step.txn
            elif not step.reads:
                open_txn = step.txn
        if step.kind in OUTSIDE and (step.txn or open_txn):
            yield of_step(step, f"a transaction open at {step.kind}")


def attempts_settled(run: Run) -> Verdict:
    """Each call of the handler that came back is recorded by its worker before its task ends.

    A task that dies or fails records nothing, and the rescue counts its attempts as lost.
    """
    seen = stream(run)
    records: defaultdict[int, int] = defaultdict(int)
    for change in seen.of("attempt"):
        records[change.commit_step] += change.op == "insert"
    found = [one for steps in seen.threads.values() for one in _unsettled(steps, records)]
    calls = count(sum(step.kind == "handled" for step in seen.steps), "call")
    return judged("attempts_settled", run, found, f"{calls} came back, and each whose task ended well was recorded")


def _unsettled(steps: list[Step], records: dict[int, int]) -> Iterator[Offence]:
    handled: list[Step] = []
    recorded = 0
    for step in steps:
        recorded += records.get(step.step, 0)
        if step.kind == "handled":
            handled.append(step)
        elif step.kind == "task_done" and len(handled) > recorded:
            missing = len(handled) - recorded
            yield of_step(handled[-1], f"{count(missing, 'call')} came back and never got recorded")
        if step.kind in (*_BREAKS, "task_done"):
            handled, recorded = [], 0


def limits(run: Run) -> Verdict:
    """One tick requeues no more than its limit, one claim takes no more than a batch, a relay no more than it may.

    Under a concurrency limit no claim is made while as many others hold events under a living lease.
    """
    settings = rules(run).settings
    ticks = _by_task(run, (State.FAILED, State.QUEUED))
    found: list[Offence] = []
    for requeued in ticks:
        found += _too_many(run, requeued, settings.requeue_limit, "requeued in one tick")
    for changes in stream(run).transactions.values():
        claimed = [change for change in changes if change.edge == (State.QUEUED, State.PROCESSING)]
        found += _too_many(run, claimed, settings.batch_size, "claimed at once")
    if settings.concurrency_limit is not None:
        found += _crowded(run, settings.concurrency_limit)
    if settings.outbox:
        relayed = (step for step in stream(run).steps if step.kind == "publish" and step.rows > settings.relay_limit)
        found += [of_step(step, f"{step.rows} published in one tick") for step in relayed]
    most = max((len(tick) for tick in ticks), default=0)
    return judged("limits", run, found, f"at most {count(most, 'retry', 'retries')} queued in one tick")


def _by_task(run: Run, edge: tuple[State, State]) -> list[list[Change]]:
    """Return the changes along an edge, task by task."""
    commits: defaultdict[int, list[Change]] = defaultdict(list)
    for change in stream(run).states:
        if change.edge == edge:
            commits[change.commit_step].append(change)
    found: list[list[Change]] = []
    for steps in stream(run).threads.values():
        task: list[Change] = []
        for step in steps:
            if step.kind == "task":
                found.append(task)
                task = []
            task += commits.get(step.step, ())
        found.append(task)
    return [task for task in found if task]


def _too_many(run: Run, changes: list[Change], most: int | None, what: str) -> list[Offence]:
    if most is None or len(changes) <= most:
        return []
    return [of_change(run, changes[most], f"{len(changes)} {what}, where {most} are allowed")]


def _crowded(run: Run, most: int) -> Iterator[Offence]:
    """Yield the claims beside as many other holders as are allowed at a time."""
    held: dict[int, tuple[str, float]] = {}
    for change in stream(run).states:
        if change.now("status") != State.PROCESSING:
            held.pop(change.event_id, None)
            continue
        owner, until_s = change.now("lease_owner"), change.now("lease_expires_at")
        if change.moves:
            others = {who for who, expires_s in held.values() if expires_s > change.at_s and who != owner}
            if len(others) >= most:
                yield of_change(run, change, f"claimed beside {count(len(others), 'other')}, where {most} may work")
        held[change.event_id] = owner, until_s

"""What should happen sometimes: a campaign in which it never did has not tested what its checks are about.

A check that holds because nothing ever came near to breaking it says nothing. Each `Sometimes` counts, in one run, how
often something happened that the pipeline has to get right; over all runs of a campaign each should have been seen.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tem_sim.analysis.stream import stream
from tem_sim.pipeline.states import Cause, State

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.frames import Run

_CLAIM = (State.QUEUED, State.PROCESSING)


@dataclass(frozen=True, slots=True)
class Sometimes:
    """Something that should be seen in a campaign; `watched`: only a watched run shows it."""

    about: str
    count: Callable[[Run], int]
    watched: bool = True


def _outcomes(word: str) -> Callable[[Run], int]:
    return lambda run: int((run.attempts["outcome"] == word).sum())


def _causes(cause: Cause) -> Callable[[Run], int]:
    return lambda run: int((run.transitions["cause"] == str(cause)).sum())


def _steps(kind: str) -> Callable[[Run], int]:
    return lambda run: int((run.steps["kind"] == kind).sum())


def _errors(*names: str) -> Callable[[Run], int]:
    return lambda run: sum(step.error.startswith(names) for step in stream(run).steps if step.error)


def _changed(column: str) -> Callable[[Run], int]:
    return lambda run: sum(not one.moves and column in one.differing() for one in stream(run).states)


def _lost_answers(*, committed: bool) -> Callable[[Run], int]:
    def count(run: Run) -> int:
        seen = stream(run)
        lost = (step for step in seen.steps if step.kind == "answer_lost" and step.txn)
        return sum((step.txn in seen.transactions) == committed for step in lost)

    return count


def _idle_tasks(run: Run) -> int:
    """Count the tasks of workers that found nothing to claim, whatever woke them."""
    claimed = {change.commit_step for change in stream(run).states if change.edge == _CLAIM}
    idle = 0
    for thread, steps in stream(run).threads.items():
        found = False
        for step in steps if thread.startswith("worker-") else ():
            found = step.kind != "task" and (found or step.step in claimed)
            idle += step.kind == "task_done" and not found
    return idle


def _raced_claims(run: Run) -> int:
    """Count the claims that were made while another thread's claim was in the middle of its transaction."""
    seen = stream(run)
    begins = {step.txn: step.step for step in reversed(seen.steps) if step.kind == "begin"}
    spans = sorted(
        {(begins.get(one.txn, one.step), one.commit_step, one.txn) for one in seen.states if one.edge == _CLAIM}
    )
    raced, last = 0, -1
    for begin, commit, _ in spans:
        raced += begin < last
        last = max(last, commit)
    return raced


def _killed_inside(run: Run) -> int:
    """Count the threads that were killed in the middle of a transaction."""
    open_txn: defaultdict[str, int] = defaultdict(int)
    killed = 0
    for step in stream(run).steps:
        if step.kind in ("begin", "statement"):
            open_txn[step.thread] = step.txn
        elif step.kind == "killed":
            killed += bool(open_txn.pop(step.thread, 0))
        else:
            open_txn.pop(step.thread, None)
    return killed


def _repeats_suppressed(run: Run) -> int:
    notes = run.notifications
    return int((notes["received"] - notes["shown"]).clip(lower=0).sum())


def _effects_again(run: Run) -> int:
    had = run.attempts[run.attempts["effect_s"].notna()]
    return len(had) - had["event_id"].nunique()


def _submitted_again(run: Run) -> int:
    found = run.samples[run.samples["name"] == "submissions_repeated"]["value"]
    return int(found.max()) if len(found) else 0


SOMETIMES: dict[str, Sometimes] = {
    "zombie_rejected": Sometimes("a late worker's write was refused", _outcomes("superseded"), watched=False),
    "lease_rescued": Sometimes("a lease ran out and was taken back", _causes(Cause.RESCUE), watched=False),
    "crash_budget_spent": Sometimes("an event lost too many leases", _causes(Cause.CRASHED), watched=False),
    "extinct_reached": Sometimes("an event failed for the last time", _causes(Cause.EXHAUSTED), watched=False),
    "retried": Sometimes("a failed event was queued again", _causes(Cause.RETRY), watched=False),
    "repeat_suppressed": Sometimes("a client knew a notification already", _repeats_suppressed, watched=False),
    "effect_repeated": Sometimes("a side effect came again", _effects_again, watched=False),
    "submitted_again": Sometimes("a key came that was known", _submitted_again, watched=False),
    "wake_skipped": Sometimes("a wake-up found nothing to claim", _idle_tasks),
    "claims_raced": Sometimes("a claim began while another was under way", _raced_claims),
    "lease_renewed": Sometimes("a lease was renewed", _changed("lease_expires_at")),
    "row_swept": Sometimes("a row was announced again", _changed("woken_at")),
    "lock_waited_for": Sometimes(
        "a statement waited for another's lock", lambda run: int((run.steps["waited_s"] > 0).sum())
    ),
    "conflict_lost": Sometimes(
        "a transaction lost a conflict", _errors("SerializationFailure", "DeadlockDetected", "OperationalError")
    ),
    "task_failed": Sometimes("the database failed a task", _steps("task_failed")),
    "answer_lost_committed": Sometimes("a commit was made and its answer lost", _lost_answers(committed=True)),
    "answer_lost_undone": Sometimes("an answer was lost, and its transaction with it", _lost_answers(committed=False)),
    "killed_in_transaction": Sometimes("a thread died inside a transaction", _killed_inside),
}


def sometimes(run: Run) -> dict[str, int]:
    """Return how often each thing happened in a run; what only a watched run shows is left out of others."""
    shown = {name: one for name, one in SOMETIMES.items() if stream(run).watched or not one.watched}
    return {name: one.count(run) for name, one in shown.items()}


def vacuity(runs: Iterable[Run]) -> pd.DataFrame:
    """Return what a campaign saw: `about`, `hits`, `runs_hit`, `runs` that could show it, and whether it was `hit`.

    What was never hit, its campaign has not tested.
    """
    import pandas as pd

    hits: defaultdict[str, list[int]] = defaultdict(list)
    for run in runs:
        for name, number in sometimes(run).items():
            hits[name].append(number)
    rows = [
        (name, one.about, sum(hits[name]), sum(map(bool, hits[name])), len(hits[name]))
        for name, one in SOMETIMES.items()
    ]
    table = pd.DataFrame(rows, columns=["name", "about", "hits", "runs_hit", "runs"]).set_index("name")
    return table.assign(hit=table["hits"] > 0)

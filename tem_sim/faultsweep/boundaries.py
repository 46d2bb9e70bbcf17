"""Where one fault can come in: every statement, commit, wake-up, publish and call that a run without faults makes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from tem_sim.analysis.stream import stream

if TYPE_CHECKING:
    from tem_sim.analysis.stream import Step, Stream
    from tem_sim.frames import Run
    from tem_sim.scenario.models import Scenario

# Steps at which something is sent to another process, or a call to the user's code begins or ends.
KINDS = ("statement", "commit", "wake", "publish", "handle", "handled")


class Boundary(NamedTuple):
    """One step of one node, at `t_s` of the run without faults.

    `nth`: which of its node's steps of this kind it is, from 1, as faults at an edge count them; of statements and
    commits those with this label. `next_s` is
    when the same thread does the next thing that takes time, so that between the two it can be struck.
    """

    number: int
    node: str
    thread: str
    kind: str
    label: str
    sql: str
    rows: int
    nth: int
    t_s: float
    next_s: float

    @property
    def place(self) -> str:
        """Where it is, in words: by which kind of node, in which function, doing what."""
        what = verb(self.sql) if self.kind == "statement" else self.kind
        return f"{self.node.partition('-')[0]} {self.label}: {what}"

    @property
    def name(self) -> str:
        """The same, and which of them."""
        return f"{self.place} {self.nth}"


def verb(sql: str) -> str:
    """Return what a statement does to which table: `UPDATE processing_state`."""
    words = sql.replace(" OR FAIL", "").split()
    if not words:
        return ""
    before = {"UPDATE": 0, "INSERT": words.index("INTO") if "INTO" in words else 0}.get(words[0])
    if before is None:
        before = words.index("FROM") if "FROM" in words else 0
    return f"{words[0]} {words[before + 1]}" if len(words) > before + 1 else words[0]


def boundaries(scenario: Scenario) -> list[Boundary]:
    """Run a reduced scenario without faults and return its boundaries, in the order in which they are passed.

    A scheduler that looks again and again while nothing changes passes the same boundary again and again: the first
    time counts. Raises `SimulationError` when the run itself breaks.
    """
    from tem_sim.sim.world import simulate

    return boundaries_of(simulate(scenario, progress=lambda *_: None))


def boundaries_of(run: Run) -> list[Boundary]:
    """Return the boundaries of a watched run."""
    seen = stream(run)
    return list(_first_of_each(_all(seen.steps), seen))


def _all(steps: tuple[Step, ...]) -> Iterator[Boundary]:
    passed: Counter[tuple[str, str, str]] = Counter()
    next_s = _next_s(steps)
    for step in steps:
        if step.kind not in KINDS:
            continue
        # A fault at an edge of the tasks counts whoever passes it, one at a statement those of its function.
        key = step.actor, step.kind, step.label if step.kind in ("statement", "commit") else ""
        passed[key] += 1
        yield Boundary(
            number=step.step,
            node=step.actor,
            thread=step.thread,
            kind=step.kind,
            label=step.label,
            sql=step.sql if step.kind == "statement" else "",
            rows=step.rows,
            nth=passed[key],
            t_s=step.t_s,
            next_s=next_s[step.step],
        )


def _next_s(steps: tuple[Step, ...]) -> dict[int, float]:
    """Return for each step when its thread's next step at another instant is; for the last its own time."""
    found: dict[int, float] = {}
    ahead: dict[str, tuple[float, float]] = {}
    for step in reversed(steps):
        at_s, then_s = ahead.get(step.thread, (step.t_s, step.t_s))
        found[step.step] = then_s = then_s if at_s == step.t_s else at_s
        ahead[step.thread] = step.t_s, then_s
    return found


def _first_of_each(every: Iterator[Boundary], seen: Stream) -> Iterator[Boundary]:
    """Leave out what a thread did before when nothing in the store has changed since, and what found nothing to do."""
    commits = [change.commit_step for change in seen.changes]
    idle = _idle(seen)
    known = set()
    phase = 0
    for one in every:
        while phase < len(commits) and commits[phase] < one.number:
            phase += 1
        when = -1 if one.number in idle else phase
        key = one.thread.rstrip("0123456789"), one.kind, one.label, one.sql, when, one.rows > 0
        if key not in known:
            known.add(key)
            yield one


def _idle(seen: Stream) -> set[int]:
    """Return the steps that matter to nobody: reads after which the task is over, and commits of nothing."""
    found = set()
    for steps in seen.threads.values():
        for step, then in pairwise(steps):
            found_nothing = step.reads and then.kind in ("task_done", "begin", "commit")
            if found_nothing or (step.kind == "commit" and step.txn not in seen.transactions):
                found.add(step.step)
    return found

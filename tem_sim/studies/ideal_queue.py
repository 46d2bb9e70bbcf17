"""The queue that the formulas describe, driven by a scenario's own luck: M/M/c with retries, and nothing else.

An independent account of what the simulator should do where every latency is 0, without store, broker and workers, in
thirty lines. Each attempt's service time, luck and delay come from the same named streams, so two things follow. With
the scheduler's tick it must agree with the simulator to the microsecond. And without one its means are known exactly:
what the simulator does otherwise is the simulator's own doing, and not the luck of the run.
"""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING

import numpy as np

from tem_sim.analysis.history import history
from tem_sim.scenario.arrivals import arrival_times
from tem_sim.scenario.streams import Streams

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.frames import Run
    from tem_sim.scenario.models import Scenario

COLUMNS = ("event_id", "attempt_no", "queued_s", "begun_s", "ended_s", "failed")
ENDS = ("FAILED", "PROCESSED", "EXTINCT")


def ideal_queue(scenario: Scenario, seed: int, *, tick_s: float | None = None) -> pd.DataFrame:
    """Return every attempt of an ideal queue with this scenario's arrivals, slots, luck and policy.

    Columns event_id, attempt_no, queued_s, begun_s, ended_s, failed; sorted by the first two. Rows are served in the
    order in which they were queued, and by event where that was in one instant. A row that is due is queued at once, or
    at the next multiple of `tick_s`. Runs until every event has ended. Only for scenarios of one kind of event.
    """
    import pandas as pd

    streams, policy, handler = Streams(seed), scenario.policy(), scenario.handler
    (kind,) = scenario.events.kinds
    waiting: list[tuple[float, int, int, float | None]] = [
        (at_s, number, 1, None) for number, at_s in enumerate(arrival_times(scenario, streams).tolist(), start=1)
    ]
    heapq.heapify(waiting)
    free_s = [0.0] * (scenario.workers.count * scenario.workers.concurrency)
    rows = []
    while waiting:
        queued_s, event, attempt, previous_s = heapq.heappop(waiting)
        begun_s = max(queued_s, free_s[0])
        luck = streams.uniform("service", event, attempt), streams.uniform("luck", event, attempt)
        decision = handler.decide(kind, attempt, *luck)
        ended_s = begun_s + decision.service_s
        heapq.heapreplace(free_s, ended_s)
        rows.append((event, attempt, queued_s, begun_s, ended_s, decision.error is not None))
        if decision.error is not None and (policy.max_retries is None or attempt <= policy.max_retries):
            delay_s = policy.delay(attempt, streams.stream("backoff", event, attempt), previous_s)
            due_s = round(round(ended_s, 6) + round(delay_s, 6), 6)
            heapq.heappush(waiting, (_tick_after(due_s, tick_s), event, attempt + 1, round(delay_s, 6)))
    return pd.DataFrame(sorted(rows), columns=COLUMNS)


def _tick_after(due_s: float, tick_s: float | None) -> float:
    """Return the first tick at which a row is due; the quotient is rounded, since 0.3 / 0.1 is less than 3."""
    return due_s if tick_s is None else math.ceil(round(due_s / tick_s, 6)) * tick_s


def attempts_as_logged(run: Run) -> pd.DataFrame:
    """Return every attempt of a run in the columns of `ideal_queue`, from the store's own log of transitions.

    An attempt ends when its outcome is committed. ValueError where an attempt was lost, rescued or never ended: such a
    run is no queue.
    """
    import pandas as pd

    past = history(run)
    queued, begun, ended = past.has("after", "QUEUED"), past.has("after", "PROCESSING"), past.has("after", *ENDS)
    in_turn = np.array_equal(past.event[queued], past.event[begun]) and np.array_equal(
        past.event[begun], past.event[ended]
    )
    if not in_turn or past.has("cause", "rescue", "replay", "crashed").any():
        raise ValueError(f"{run.name}: an attempt was lost, rescued or never ended")
    columns = (
        *(past.ids[past.event[begun]], past.attempt_no[begun]),
        *(past.at_s[queued], past.at_s[begun], past.at_s[ended]),
        ~past.has("after", "PROCESSED")[ended],
    )
    return pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)))


def furthest_apart_s(seen: pd.DataFrame, ideal: pd.DataFrame) -> float:
    """Return the largest difference of any attempt's times between two such tables; inf where attempts differ."""
    same = ["event_id", "attempt_no", "failed"]
    if len(seen) != len(ideal) or not bool((seen[same].to_numpy() == ideal[same].to_numpy()).all()):
        return math.inf
    times = ["queued_s", "begun_s", "ended_s"]
    return float(np.abs(seen[times].to_numpy() - ideal[times].to_numpy()).max(initial=0.0))

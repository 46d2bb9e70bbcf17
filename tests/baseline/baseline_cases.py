"""Cases made by hand: a scenario that is never run, with numbers as if it had been."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from tem_sim.analysis.metrics import METRICS
from tem_sim.baseline.guards import Guard
from tem_sim.baseline.judged import Judged, Pairs, judged
from tem_sim.baseline.seen import Case, Seen
from tem_sim.scenario.models import Scenario

SEEDS = 10
LOG = tuple(f"{1_000_000 * n}|{n % 3}|QUEUED|PROCESSING|claim|worker-1|{n}" for n in range(1, 7))


def scenario(**sections) -> Scenario:
    return Scenario.model_validate({"scenario": "made", "arrivals": {"kind": "burst", "events": 5}, **sections})


def case(
    metrics: Mapping[str, Sequence[float]], *, digest: str = "a", log: Sequence[str] = LOG, checks=None, **sections
) -> Case:
    """Return a case of as many seeds as the metrics have values; metrics that are not given are 1."""
    number = len(next(iter(metrics.values())))
    runs = [
        Seen(
            seed=seed,
            digest=f"{digest}{seed}",
            values={**dict.fromkeys(METRICS, 1.0), **{name: values[seed - 1] for name, values in metrics.items()}},
            checks={"lost_events": "true", **(checks or {})},
            log=tuple(log) if seed == 1 else None,
        )
        for seed in range(1, number + 1)
    ]
    return Case(scenario=scenario(**sections), runs=tuple(runs))


def broken(one: Case) -> Case:
    """Return the case with its first run broken."""
    gone = Seen(seed=one.runs[0].seed, error="ZeroDivisionError: division by zero (handler.py:3)")
    return dataclasses.replace(one, runs=(gone, *one.runs[1:]))


def pairs(before: Sequence[float], now: Sequence[float], metric: str = "amplification", **guard) -> Pairs:
    return Pairs(
        scenario="made",
        metric=metric,
        guard=Guard(**guard),
        before=dict(enumerate(before)),
        now=dict(enumerate(now)),
    )


def finding(before: Sequence[float], now: Sequence[float], **more) -> Judged:
    return judged([pairs(before, now, **more)])[0]

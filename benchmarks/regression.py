"""How often `tem-sim check` cries wolf, and how often it misses the wolf: the figures that docs/regression.md quotes.

    python -m benchmarks.regression [--jobs N] [--quick]

A/A: the same scenario against itself under other seeds, 200 times. Runs of one seed are the same run, and their
difference is 0; so two blocks of seeds that have none in common are taken as if they were pairs. That is harder than
any change that changes nothing: all of the luck is other luck. 2,000 runs are shuffled into 100 comparisons twice.

A/B: a scenario whose amplification is truly 10 % higher, in pairs by seed, 100 times 10 seeds. How much higher it truly
is, is told by all 1,000 pairs together.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tem_sim.analysis.equivalence import fieller
from tem_sim.analysis.metrics import METRICS
from tem_sim.analysis.statistics import wilson
from tem_sim.baseline.guards import GUARDED, guards_of
from tem_sim.baseline.judged import FAILING, Judged, Pairs, judged
from tem_sim.baseline.seen import rounded
from tem_sim.frames import Run
from tem_sim.scenario.loader import loads
from tem_sim.scenario.models import Scenario
from tem_sim.scenario.seeds import DEFAULT_SEEDS
from tem_sim.studies.cells import Cell, run_cells

SCENARIO = """
scenario: regression
horizon: 2m
arrivals: {kind: poisson, rate: 16/s, from: 0s, until: 4s}
pipeline: {outbox: false, backoff: {growth: fixed, base: 500ms, jitter: equal, max_retries: 60}}
workers: {count: 1, concurrency: 2, startup: 0s}
beat: {retry_every: 200ms, rescue_every: 60s, relay_every: 60s}
users: {count: 1}
handler: {service_time: 20ms, fail_time: 5ms, failure_rate: 0.05}
faults: [{kind: outage, at: 1s, for: 2s}]
"""
WORSE = ("faults[0].for=2.2s",)
TRIALS = 100
# Trials of made-up numbers, which cost nothing: how often an effect is found, by the scatter of the differences.
SCATTERS = (0.01, 0.02, 0.03, 0.04, 0.06, 0.1)
DRAWS = 300
Values = Mapping[int, Mapping[str, float]]


def measured(run: Run) -> dict[str, float]:
    """Return the guarded metrics of a run."""
    return {name: rounded(METRICS[name].of(run)) for name in GUARDED}


def rows(scenario: Scenario, seeds: Sequence[int], jobs: int | None) -> Values:
    """Run a scenario and return its metrics by seed."""
    found = run_cells([Cell("", scenario, seed) for seed in seeds], measured, jobs=jobs)
    assert not any(row.error for row in found), found
    return {row.seed: row.values for row in found}


def compared(before: Sequence[Mapping[str, float]], now: Sequence[Mapping[str, float]]) -> list[Judged]:
    """Judge all guarded metrics of a baseline and as many runs, pair by pair, as `tem-sim check` does."""
    guards = guards_of({name: [row[name] for row in before] for name in GUARDED})
    return judged(
        [
            Pairs(
                scenario="",
                metric=name,
                guard=guard,
                before={number: row[name] for number, row in enumerate(before)},
                now={number: row[name] for number, row in enumerate(now)},
            )
            for name, guard in guards.items()
        ]
    )


def blocks(seeds: Sequence[int], shuffles: int) -> Iterator[tuple[Sequence[int], Sequence[int]]]:
    """Yield pairs of blocks of seeds that have none in common; each seed is in one pair per shuffle."""
    for shuffle in range(shuffles):
        order = np.random.default_rng(shuffle).permutation(seeds).tolist()
        for start in range(0, len(order) - 2 * DEFAULT_SEEDS + 1, 2 * DEFAULT_SEEDS):
            middle = start + DEFAULT_SEEDS
            yield order[start:middle], order[middle : middle + DEFAULT_SEEDS]


def told(what: str, successes: int, n: int) -> str:
    """Return a share with its 95 % interval (Wilson)."""
    share, low, high, _ = wilson(successes, n)
    return f"{what}: {successes} of {n}, {share:.1%} [{low:.1%}, {high:.1%}]"


def a_against_a(values: Values, shuffles: int) -> Iterator[str]:
    """Yield what became of comparing the scenario with itself."""
    found = [
        compared([values[seed] for seed in ours], [values[seed] for seed in others])
        for ours, others in blocks(list(values), shuffles)
    ]
    wolf = [any(one.finding in FAILING for one in each) for each in found]
    open_ones = [any(one.open for one in each) and not cried for each, cried in zip(found, wolf, strict=True)]
    yield told("A/A, false alarms (any of the metrics a regression)", sum(wolf), len(found))
    yield told("A/A, inconclusive (exit code 4)", sum(open_ones), len(found))
    unsure = [sum(one.finding == "unsure" for one in each) for each in found]
    yield f"A/A, metrics of which nothing could be told: {np.mean(unsure):.1f} of {len(GUARDED)} on average"


def a_against_b(before: Values, now: Values) -> Iterator[str]:
    """Yield how often the true effect was found."""
    seeds = list(now)
    a, b = (np.array([values[seed]["amplification"] for seed in seeds]) for values in (before, now))
    low, high = fieller(a, b)
    truly = f"{b.mean() / a.mean() - 1:+.1%} [{low:.1%}, {high:.1%}]"
    yield f"A/B, true effect on amplification: {truly}, {len(seeds)} pairs"
    yield f"A/B, scatter of the differences: {(b - a).std(ddof=1) / a.mean():.1%} of the mean"
    gain = (a.var(ddof=1) + b.var(ddof=1)) / (b - a).var(ddof=1)
    yield f"A/B, variance reduction by pairs: {gain:.1f}"
    parts = [seeds[start : start + DEFAULT_SEEDS] for start in range(0, len(seeds), DEFAULT_SEEDS)]
    found = [compared([before[seed] for seed in part], [now[seed] for seed in part]) for part in parts]
    hits = sum(any(one.metric == "amplification" and one.finding == "worse" for one in each) for each in found)
    yield told("A/B, amplification found worse", hits, len(found))


def by_scatter(metrics: int = 10) -> Iterator[str]:
    """Yield how often +10 % at a tolerated 5 % is found among so many metrics, by the scatter of the differences.

    Of made-up normal numbers, not of runs; the other metrics have as much luck and no effect.
    """
    chance = np.random.default_rng(1)
    guards = dict.fromkeys(GUARDED[:metrics], guards_of({name: [1.0] * 10 for name in GUARDED})["amplification"])
    for scatter in SCATTERS:
        hits = 0
        for _ in range(DRAWS):
            now = 1 + scatter * chance.standard_normal((metrics, DEFAULT_SEEDS))
            now[0] += 0.1
            family = [
                Pairs(
                    scenario="",
                    metric=name,
                    guard=guard,
                    before=dict.fromkeys(range(DEFAULT_SEEDS), 1.0),
                    now=dict(enumerate(now[number].tolist())),
                )
                for number, (name, guard) in enumerate(guards.items())
            ]
            hits += judged(family)[0].finding == "worse"
        yield told(f"made up, differences scatter by {scatter:.0%}: found", hits, DRAWS)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, help="processes; one per core if left out")
    parser.add_argument("--quick", action="store_true", help="a tenth of all")
    asked = parser.parse_args()
    trials = TRIALS // 10 if asked.quick else TRIALS
    began_s = time.perf_counter()
    before = rows(loads(SCENARIO), range(1, 2 * trials * DEFAULT_SEEDS + 1), asked.jobs)
    now = rows(loads(SCENARIO, WORSE), range(1, trials * DEFAULT_SEEDS + 1), asked.jobs)
    print(f"{len(before) + len(now)} runs in {time.perf_counter() - began_s:.0f} s", flush=True)
    for line in (*a_against_a(before, shuffles=2), *a_against_b(before, now), *by_scatter()):
        print(line, flush=True)


if __name__ == "__main__":
    main()

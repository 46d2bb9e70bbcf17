"""The jitter study of a million rows, and what a loop over rows and retries takes for its bare numbers.

The study is what a user calls: every policy as configured and at matched means, three seeds, intervals, the delays
against theory. Of its work only rows × retries × policies × seeds count; the matched half comes on top. The loop draws
each row's delays as the pipeline does, adds them up, counts bins in dicts and sorts for the time to spread: once,
without matching, intervals or theory.
"""

from __future__ import annotations

import math
import random
from collections import Counter

from benchmarks.measure import Measurement, peak_mb, timed

RETRIES = 5


def measure_study(n: int) -> Measurement:
    """Study n rows, five retries and the six kinds of jitter."""
    from tem_sim.analysis.jitter import jitter_study

    # What is imported when it is first used is imported before the clock starts.
    jitter_study(n=10, retries=RETRIES)
    with timed() as watch:
        study = jitter_study(n=n, retries=RETRIES)
    policies, seeds = study.table["policy"].nunique(), study.rows["seed"].nunique()
    return Measurement("jitter", n * RETRIES * policies * seeds, watch.cpu_s, watch.wall_s, peak_mb())


def measure_loop(n: int) -> Measurement:
    """Do the same for n rows in plain Python, policy by policy, row by row."""
    from tem_sim.analysis.lineup import jitters

    policies = jitters(max_retries=RETRIES)
    with timed() as watch:
        for policy in policies.values():
            starts: list[list[float]] = [[] for _ in range(RETRIES)]
            chance = random.Random(1)
            for _ in range(n):
                at_s = 0.0
                for retry, delay_s in enumerate(policy.chain(chance, RETRIES)):
                    at_s += delay_s
                    starts[retry].append(at_s)
            _looked_at(starts)
    return Measurement("jitter loop", n * RETRIES * len(policies), watch.cpu_s, watch.wall_s, peak_mb())


def _looked_at(starts: list[list[float]]) -> list[tuple[int, int, float]]:
    """Return the peaks per 100 ms and 1 s and the time to spread, per retry, and the peaks of all together."""
    rows = []
    every: dict[float, Counter[int]] = {0.1: Counter(), 1.0: Counter()}
    for times_s in starts:
        peaks = []
        for width_s, together in every.items():
            counts = Counter(math.floor(at_s / width_s) for at_s in times_s)
            together.update(counts)
            peaks.append(max(counts.values()))
        ordered, n = sorted(times_s), len(times_s)
        rows.append((*peaks, ordered[math.ceil(0.9 * n) - 1] - ordered[math.ceil(0.1 * n) - 1]))
    return [*rows, (max(every[0.1].values()), max(every[1.0].values()), 0.0)]

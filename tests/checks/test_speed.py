"""Checks and metrics stay cheap beside the run that they judge."""

import time
import tracemalloc

import pytest
from synthetic_storm import storm

from tem_sim.analysis.metrics import metrics
from tem_sim.checks.registry import run_checks


@pytest.mark.slow
def test_a_hundred_thousand_events_are_judged_in_seconds_and_little_memory():
    run = storm(events=100_000, outage_s=1000.0, rate_per_s=20_000.0)
    assert len(run.transitions) > 1_500_000
    tracemalloc.start()
    began = time.perf_counter()
    run_checks(run)
    metrics(run)
    assert time.perf_counter() - began < 10.0
    assert tracemalloc.get_traced_memory()[1] < 150e6
    tracemalloc.stop()

"""The policy by itself, and what it does to the pipeline."""

import random

import pytest
from my_pkg.backoff import CAP_S, policy


def test_no_retry_comes_at_once_and_none_later_than_the_cap():
    delays_s = [policy(retry, random.Random(seed)) for retry in (1, 5, 20) for seed in range(100)]
    assert min(delays_s) >= 1.0
    assert max(delays_s) <= 1.0 + CAP_S


@pytest.mark.tem("scenarios/outage.yaml", seeds=2)
def test_events_that_met_the_outage_are_done_within_two_minutes_of_its_end(tem_run):
    run = tem_run()
    last_s = run.attempts["finished_s"].max()
    assert last_s < 40 + 120


@pytest.mark.tem("scenarios/outage.yaml", set=["faults[0].for=60s"])
def test_an_outage_twice_as_long_loses_nothing(tem_run):
    assert set(tem_run().events["status"]) == {"PROCESSED"}

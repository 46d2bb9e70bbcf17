"""The retry budget: no more retries than tokens, whoever asks, and nothing that waits for one is lost."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipeline_ledger import SETTINGS, assert_balanced, claim, ended, finish, row, statuses, submit
from test_real_threads import at_once

from tem_sim.pipeline import lifecycle
from tem_sim.pipeline.retry_budget import Bucket, RetryBudget
from tem_sim.pipeline.tables import retry_bucket

THREE = replace(SETTINGS, retry_budget=RetryBudget(ratio=0.5, floor_per_s=0.1, burst=3.0))


def requeue(store, now, settings=THREE):
    return lifecycle.requeue_due(store, settings, now=now, actor="beat")


def fail(store, *numbers, now=0.0):
    """Let new events fail at once; they are due ten seconds later."""
    submit(store, *numbers, now=now)
    finish(store, [ended(event, "boom", now) for event in claim(store, now=now, settings=THREE)], now=now)


def tokens(store):
    return rows_of_bucket(store)[0]["tokens"]


def rows_of_bucket(store):
    with store.begin() as connection:
        return [dict(row._mapping) for row in connection.execute(retry_bucket.select())]


def test_a_tick_requeues_no_more_than_the_bucket_holds_the_longest_due_first(store):
    for number in (3, 1, 4, 2, 5):
        fail(store, number, now=number / 10)
    assert requeue(store, now=20.0) == 3
    assert statuses(store) == ["QUEUED", "QUEUED", "QUEUED", "FAILED", "FAILED"]
    left = row(store, 4)
    assert (left["next_retry_at"], left["retry_count"]) == (10.4, 1)


def test_time_pays_for_what_is_left_so_nothing_waits_for_ever(store):
    fail(store, *range(1, 7))
    assert [requeue(store, now=now) for now in (20.0, 29.999, 30.0, 39.0, 40.0, 50.0)] == [3, 0, 1, 0, 1, 1]
    assert statuses(store) == ["QUEUED"] * 6
    assert_balanced(store, THREE)


def test_a_bucket_holds_no_more_than_its_burst_however_long_nobody_takes(store):
    fail(store, *range(1, 9))
    assert (requeue(store, now=20.0), requeue(store, now=1e6)) == (3, 3)


def test_first_tries_pay_in_and_retries_do_not(store):
    fail(store, *range(1, 7))
    requeue(store, now=20.0)
    assert tokens(store) == 0.0
    finish(store, [ended(event, "boom", 20.0) for event in claim(store, now=20.0, settings=THREE)], now=20.0)
    assert tokens(store) == 0.0
    submit(store, 10, 11, 12, now=20.0)
    claim(store, now=20.0, settings=THREE)
    assert tokens(store) == 1.5
    assert requeue(store, now=20.0) == 1


def test_an_event_whose_worker_died_is_no_first_try(store):
    fail(store, *range(1, 4))
    requeue(store, now=20.0)
    finish(store, [ended(event) for event in claim(store, now=20.0)], now=20.0)
    submit(store, 10, now=20.0)
    claim(store, now=20.0)
    lifecycle.rescue_expired(store, SETTINGS, now=80.0, actor="beat")
    claim(store, now=80.0, settings=THREE)
    assert tokens(store) == 0.0


def test_the_limit_of_a_tick_holds_beside_the_budget(store):
    fail(store, *range(1, 7))
    assert requeue(store, now=20.0, settings=replace(THREE, requeue_limit=2)) == 2
    assert tokens(store) == 1.0


def test_a_tick_that_finds_nothing_due_takes_nothing(store):
    fail(store, 1)
    assert requeue(store, now=1.0) == 0
    assert requeue(store, now=11.0) == 1
    assert tokens(store) == 2.0


def test_a_scheduler_whose_clock_is_behind_neither_pays_in_nor_takes_away(store):
    fail(store, *range(1, 7))
    requeue(store, now=1000.0)
    assert requeue(store, now=20.0) == 0
    assert rows_of_bucket(store) == [{"id": 1, "tokens": 0.0, "filled_at": 1000.0}]
    assert requeue(store, now=1010.0) == 1


def test_schedulers_that_tick_at_once_share_one_bucket(shared_store):
    for n in range(6):
        now = 1000.0 * n
        fail(shared_store, *range(10 * n + 1, 10 * n + 9), now=now)
        assert sum(at_once(*[lambda now=now: requeue(shared_store, now + 500.0)] * 2)) == 3
        lifecycle.requeue_due(shared_store, SETTINGS, now=now + 600, actor="beat")
        finish(shared_store, [ended(event) for event in claim(shared_store, now=now + 600)], now=now + 600)


def test_without_a_budget_no_bucket_is_kept(store):
    fail(store, 1)
    lifecycle.requeue_due(store, SETTINGS, now=20.0, actor="beat")
    assert rows_of_bucket(store) == []


BUDGET = RetryBudget(ratio=0.25, floor_per_s=2.0, burst=5.0)


@given(st.lists(st.tuples(st.floats(0.0, 10.0), st.integers(0, 20), st.integers(0, 20))))
def test_over_any_time_retries_are_bounded_by_burst_floor_and_share(steps):
    bucket, now, taken, earned = BUDGET.full(0.0), 0.0, 0, 0.0
    for seconds, first_tries, wanted in steps:
        now += seconds
        bucket = BUDGET.filled(bucket, now)
        bucket = bucket._replace(tokens=min(BUDGET.burst, bucket.tokens + BUDGET.earned(first_tries)))
        earned += BUDGET.earned(first_tries)
        retries = min(wanted, bucket.whole)
        bucket = bucket.less(retries)
        taken += retries
        assert 0.0 <= bucket.tokens <= BUDGET.burst
        assert taken <= BUDGET.burst + BUDGET.floor_per_s * now + earned + 1e-3


def test_a_sum_of_floats_that_falls_short_of_a_token_by_its_rounding_is_one():
    assert [Bucket(tokens, 0.0).whole for tokens in (0.999, 1 - 1e-9, 1.0, 2.5)] == [0, 1, 1, 2]


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
@pytest.mark.parametrize("name", ["ratio", "floor_per_s", "burst"])
def test_a_budget_that_makes_no_sense_is_refused(name, value):
    with pytest.raises(ValueError, match=rf"retry_budget\.{name}: "):
        RetryBudget(**{name: value})


def test_a_budget_under_which_retries_could_starve_is_refused():
    with pytest.raises(ValueError, match=r"retry_budget\.floor_per_s: "):
        RetryBudget(floor_per_s=0.0)
    with pytest.raises(ValueError, match=r"retry_budget\.burst: "):
        RetryBudget(burst=0.5)

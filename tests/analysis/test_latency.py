"""Latencies and their percentiles."""

import math

import numpy as np
import pytest
from frame_builder import story

from tem_sim.analysis.latency import (
    PERCENTILES,
    grouped_percentile,
    latencies,
    latency_percentiles,
    percentile,
    percentile_interval,
    percentile_name,
)


def test_latency_ends_with_the_commit_that_made_the_event_processed():
    told = story()
    told.event(7, at_s=1.0).claim(2.0).ok(2.5, committed_s=4.0)
    table = latencies(told.run())
    assert table[["event_id", "attempts", "processed_s", "delivered_s"]].values.tolist() == [[7, 1, 3.0, 1.5]]


def test_events_that_were_not_processed_or_told_have_no_latency():
    told = story()
    told.event(1).claim(1.0).exhausted(2.0)
    told.event(2).claim(1.0).ok(2.0, shown=0)
    table = latencies(told.run())
    assert np.isnan(table["processed_s"]).tolist() == [True, False]
    assert np.isnan(table["delivered_s"]).tolist() == [True, True]


@pytest.mark.parametrize(("percent", "least"), [(50, 2), (95, 20), (99, 100), (99.9, 1000)])
def test_a_percentile_needs_enough_values(percent, least):
    values = np.arange(1.0, least + 1)
    assert math.isnan(percentile(values[1:], percent))
    assert percentile(values, percent) == math.ceil(least * percent / 100)


def test_a_percentile_is_a_value_that_was_seen():
    assert percentile(np.array([1.0, 2.0, 100.0, 200.0]), 50) == 2.0


def test_percentiles_are_given_by_attempts_used_with_their_n():
    told = story()
    told.event(1).claim(1.0).ok(1.5)
    told.event(2).claim(1.0).ok(2.5)
    told.event(3).claim(1.0).error(1.1, 10.0).retry(12.0).claim(13.0).ok(13.5)
    table = latency_percentiles(told.run())
    assert table.index.tolist() == [1, 2, "all"]
    assert table["n"].tolist() == [2, 1, 3]
    assert table["p50_s"].tolist() == [1.5, pytest.approx(math.nan, nan_ok=True), 2.5]
    assert table["p99_s"].isna().all()


def test_a_run_without_latencies_has_only_the_row_of_all_with_n_0():
    table = latency_percentiles(story().event(1).story.run(), to="delivered")
    assert table["n"].to_dict() == {"all": 0}


def test_a_destination_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match='to must be "processed" or "delivered"'):
        latency_percentiles(story().run(), to="moon")


def test_percentiles_have_names_that_are_names():
    assert [percentile_name(percent) for percent in PERCENTILES] == ["p50", "p95", "p99", "p999"]


def test_a_percentiles_interval_is_made_of_order_statistics():
    # Of ten values, P(2 ≤ B ≤ 8) = 0.979 for a median, and P(3 ≤ B ≤ 7) = 0.891 would be too little.
    assert percentile_interval(np.arange(1.0, 11.0), 50) == (2.0, 9.0)
    assert percentile_interval(np.arange(1.0, 11.0), 50, level=0.8) == (3.0, 8.0)


def test_a_bound_that_no_value_can_give_does_not_exist():
    low, high = percentile_interval(np.arange(1.0, 41.0), 95)
    assert low == 35.0
    assert math.isnan(high)
    assert all(math.isnan(bound) for bound in percentile_interval(np.arange(3.0), 50))
    assert all(math.isnan(bound) for bound in percentile_interval(np.zeros(0), 50))


@pytest.mark.parametrize("percent", [50, 95])
def test_the_interval_holds_the_true_percentile_as_often_as_it_says(percent):
    luck = np.random.default_rng(1)
    truth = -math.log(1 - percent / 100)
    held = sum(
        low <= truth <= high
        for low, high in (percentile_interval(luck.exponential(size=200), percent) for _ in range(2000))
    )
    # 95 % promised, a little more kept since ranks are whole; 2000 draws are sure to 1.5 %.
    assert 0.94 < held / 2000 < 0.98


def test_percentiles_of_many_groups_are_those_of_each():
    luck = np.random.default_rng(2)
    group, values = luck.integers(0, 30, 3000), np.round(luck.exponential(size=3000), 1)
    group[group == 7] = 8
    for percent in (50, 95, 99):
        apart = [percentile(values[group == number], percent) for number in range(31)]
        np.testing.assert_array_equal(grouped_percentile(group, values, 31, percent), apart)


def test_a_table_of_percentiles_has_an_interval_beside_each():
    told = story()
    for number in range(200):
        told.event(number).claim(1.0).ok(1.0 + number)
    row = latency_percentiles(told.run()).loc["all"]
    assert row["p50_low_s"] < row["p50_s"] < row["p50_high_s"]
    assert row["p95_low_s"] < row["p95_s"] < row["p95_high_s"]
    assert row[["p999_s", "p999_low_s", "p999_high_s"]].isna().all()

"""Latencies and their percentiles."""

import math

import numpy as np
import pytest
from frame_builder import story

from tem_sim.analysis.latency import latencies, latency_percentiles, percentile


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


@pytest.mark.parametrize(("percent", "least"), [(50, 2), (95, 20), (99, 100)])
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

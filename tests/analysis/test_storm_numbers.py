"""Attempts per bin, peak, storm factor, amplification, waste, throughput."""

import math

import numpy as np
import pytest
from frame_builder import story

from tem_sim.analysis.storm import (
    amplification,
    attempts_by_number,
    bin_numbers,
    extinct_rate,
    retry_peak_per_s,
    storm_factor,
    throughput,
    wasted_work,
)


def three_events():
    """First tries at 0.5, 0.5 and 5 s; retries at 12.1, 12.9 and 40 s."""
    told = story()
    told.event(1).claim(0.5).error(0.6, 10.0).retry(11.0).claim(12.1).error(12.2, 20.0).retry(35.0).claim(40.0).ok(40.5)
    told.event(2).claim(0.5).error(0.7, 10.0).retry(11.0).claim(12.9).ok(13.0)
    told.event(3).claim(5.0).ok(5.5)
    return told.run(end_s=50.0)


def test_attempts_are_counted_by_number_and_bin_and_empty_bins_are_zero():
    table = attempts_by_number(three_events())
    assert table.index.tolist() == [float(second) for second in range(51)]
    assert table.columns.tolist() == [1, 2, 3]
    assert table[table.any(axis=1)].reset_index().values.tolist() == [
        [0.0, 2, 0, 0],
        [5.0, 1, 0, 0],
        [12.0, 0, 2, 0],
        [40.0, 0, 0, 1],
    ]


def test_the_last_column_can_gather_all_later_attempts():
    table = attempts_by_number(three_events(), group_from=2)
    assert table.sum().to_dict() == {1: 3, 2: 3}


def test_an_attempt_that_never_began_is_in_no_bin():
    run = story().event(1).claim(1.0).rescue(62.0).claim(63.0).ok(64.0).story.run(end_s=70.0)
    assert attempts_by_number(run).sum().to_dict() == {1: 0, 2: 1}


def test_a_time_on_an_edge_belongs_to_the_bin_that_begins_there():
    assert bin_numbers(np.array([0.0, 0.1, 0.3, 0.7, 0.999999, -3.0]), 0.1).tolist() == [0, 1, 3, 7, 9, 0]


def test_a_bin_below_the_stores_resolution_is_refused():
    with pytest.raises(ValueError, match="bin_s must be at least a microsecond"):
        retry_peak_per_s(three_events(), bin_s=0.0)


def test_the_retry_peak_is_the_fullest_bin_per_second():
    run = three_events()
    assert retry_peak_per_s(run) == 2.0
    assert retry_peak_per_s(run, bin_s=0.5) == 2.0
    assert retry_peak_per_s(run, bin_s=10.0) == 0.2


def test_the_storm_factor_is_the_peak_over_the_mean_between_first_and_last_retry():
    # Three retries in the 29 bins from second 12 to second 40.
    assert storm_factor(three_events()) == pytest.approx(2 / (3 / 29))


def test_a_longer_horizon_makes_no_storm_worse():
    told = story()
    told.event(1).claim(0.0).error(0.1, 10.0).retry(11.0).claim(12.0).ok(13.0)
    assert storm_factor(told.run(end_s=20.0)) == storm_factor(told.run(end_s=2000.0)) == 1.0


def test_without_retries_there_is_a_peak_of_nothing_and_no_factor():
    run = story().event(1).claim(0.0).ok(1.0).story.run(end_s=10.0)
    assert retry_peak_per_s(run) == 0.0
    assert math.isnan(storm_factor(run))


def test_ratios_of_an_empty_run_do_not_exist():
    run = story().run()
    assert math.isnan(amplification(run))
    assert math.isnan(extinct_rate(run))


def test_amplification_is_attempts_per_event():
    assert amplification(three_events()) == 2.0


def test_the_extinct_rate_is_the_part_of_events_that_ended_so():
    told = story()
    told.event(1).claim(0.0).exhausted(1.0)
    for number in (2, 3, 4):
        told.event(number).claim(0.0).ok(1.0)
    assert extinct_rate(told.run()) == 0.25


def test_wasted_work_is_counted_by_outcome_with_the_time_it_took():
    told = story()
    told.event(1).claim(1.0).error(1.5, 10.0).retry(12.0).claim(13.0).ok(14.0)
    told.event(2).claim(1.0).rescue(62.0)
    table = wasted_work(told.run())
    assert table.index.tolist() == ["error", "lost", "superseded"]
    assert table["attempts"].tolist() == [1, 1, 0]
    # The lost attempt's handler call has no known beginning, and so no known length.
    assert table["worker_s"].tolist() == [0.5, 0.0, 0.0]


def test_goodput_counts_only_events_that_became_processed():
    table = throughput(three_events(), bin_s=10.0)
    assert (table["throughput_per_s"] * 10).tolist() == [3, 2, 0, 0, 1, 0]
    assert (table["goodput_per_s"] * 10).tolist() == [1, 1, 0, 0, 1, 0]

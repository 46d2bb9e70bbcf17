"""Time in each state, and the age of the oldest row."""

import math

import numpy as np
import pytest
from frame_builder import story
from synthetic_storm import storm

from tem_sim.analysis.backlog import backlog, rows_by_state
from tem_sim.analysis.stays import OPEN_PHASES, longest_stay_s, oldest_rows, stays, time_in_state


def two_events():
    """One that is tried twice and done at 15 s; one that is claimed at 4 s and still at work at the end, 20 s."""
    told = story()
    told.event(1, at_s=1.0).claim(2.0).error(5.0, 4.0).retry(10.0).claim(12.0).ok(15.0)
    told.event(2, at_s=3.0).claim(4.0)
    return told.run(end_s=20.0)


def test_time_in_state_counts_whole_stays_and_keeps_cut_ones_apart():
    table = time_in_state(two_events())
    assert table.index.tolist() == list(OPEN_PHASES) == ["QUEUED", "RETRY", "PROCESSING", "FAILED"]
    assert table["n"].tolist() == [2, 1, 2, 1]
    assert table["mean_s"].tolist() == [1.0, 2.0, 3.0, 5.0]
    assert table["censored"].tolist() == [0, 0, 1, 0]
    assert table["total_s"].tolist() == [2.0, 2.0, 22.0, 5.0]
    assert table["share"].tolist() == [2 / 31, 2 / 31, 22 / 31, 5 / 31]
    assert table.loc["QUEUED", "p50_s"] == 1.0
    assert math.isnan(table.loc["RETRY", "p50_s"])


def test_a_run_without_events_spends_no_time_in_any_state():
    table = time_in_state(story().run())
    assert table["n"].tolist() == [0] * 4
    assert table["total_s"].tolist() == [0.0] * 4
    assert table[["mean_s", "p50_s", "share"]].isna().all(axis=None)


def test_the_oldest_row_is_as_old_as_its_submit_and_its_wait_as_its_last_queueing():
    table = oldest_rows(two_events(), step_s=2.5)
    assert table.index.tolist() == [0.0, 2.5, 5.0, 7.5, 10.0, 12.5, 15.0, 17.5, 20.0]
    assert table["backlog"].tolist() == [0, 1, 2, 2, 2, 2, 1, 1, 1]
    assert table["oldest_s"].tolist()[1:] == [1.5, 4.0, 6.5, 9.0, 11.5, 12.0, 14.5, 17.0]
    assert table["queued"].tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0]
    assert table["oldest_queued_s"].dropna().to_dict() == {10.0: 0.0}
    assert math.isnan(table["oldest_s"].iloc[0])


def test_a_replay_makes_a_row_young_again():
    told = story()
    told.event(1).claim(1.0).exhausted(2.0).replay(10.0)
    assert oldest_rows(told.run(end_s=12.0), step_s=6.0)["oldest_s"].tolist() == [
        0.0,
        pytest.approx(math.nan, nan_ok=True),
        2.0,
    ]


def test_an_empty_run_has_no_oldest_row_at_any_time():
    table = oldest_rows(story().run(end_s=3.0))
    assert table["backlog"].tolist() == [0, 0, 0, 0]
    assert table[["oldest_s", "oldest_queued_s"]].isna().all(axis=None)
    assert math.isnan(longest_stay_s(story().run(), "QUEUED"))


def test_the_longest_stay_is_the_peak_of_the_oldest_rows_age():
    run = storm(events=300)
    fine = oldest_rows(run, step_s=0.01)["oldest_queued_s"].max()
    assert longest_stay_s(run, "QUEUED", "RETRY") == pytest.approx(fine, abs=0.02)


def test_a_skewed_clock_makes_no_stay_negative():
    told = story()
    told.event(1, at_s=10.0).claim(-20.0).ok(50.0)
    assert stays(told.run(end_s=40.0)).lasted_s().tolist() == [0.0, 40.0]


@pytest.fixture(scope="module")
def big():
    return storm(events=500, outage_s=40.0)


def test_ages_are_those_of_a_search_through_all_rows(big):
    table = oldest_rows(big, step_s=0.7)
    every = stays(big)
    ends = {e: every.end_s[every.event == e].max() for e in np.unique(every.event)}
    begins = {e: every.begin_s[every.event == e].min() for e in np.unique(every.event)}
    for t_s in table.index[::7]:
        ages = [t_s - begins[e] for e in begins if begins[e] <= t_s < ends[e]]
        assert table.loc[t_s, "backlog"] == len(ages)
        assert table.loc[t_s, "oldest_s"] == pytest.approx(max(ages, default=math.nan), nan_ok=True)


def test_queued_rows_are_those_by_state(big):
    states = rows_by_state(big, step_s=0.7)
    table = oldest_rows(big, step_s=0.7)
    assert (table["queued"] == states["QUEUED"] + states["RETRY"]).all()
    assert (table["backlog"] == states[list(OPEN_PHASES)].sum(axis=1)).all()


def test_row_seconds_are_the_area_under_the_backlog(big):
    """Little's law without its rates: L·T is the sum of the stays."""
    steps = backlog(big)
    area = float((steps.level[:-1] * np.diff(steps.at_s)).sum() + steps.level[-1] * (big.end_s - steps.at_s[-1]))
    assert time_in_state(big)["total_s"].sum() == pytest.approx(area)

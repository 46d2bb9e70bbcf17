"""The warm-up cut, and which events count."""

import numpy as np
import pytest
from frame_builder import story
from hypothesis import given
from hypothesis import strategies as st

from tem_sim.analysis.warm_up import after_warm_up, mser5


def noisy(level, seed=1, sigma=0.1):
    level = np.asarray(level, dtype=float)
    return level + np.random.default_rng(seed).normal(0, sigma, len(level))


def by_definition(series):
    """MSER-5 as White writes it: every cut tried, every sum from scratch."""
    batches = np.reshape(series[: len(series) // 5 * 5], (-1, 5)).mean(axis=1)
    scores = [((rest - rest.mean()) ** 2).sum() / len(rest) ** 2 for rest in map(batches.__getitem__, cuts(batches))]
    return 5 * int(np.argmin(scores))


def cuts(batches):
    return [slice(d, None) for d in range(len(batches) - 5)]


def test_a_step_is_cut_where_it_is():
    assert mser5(noisy([0.0] * 100 + [5.0] * 900)).cut == 100


def test_a_slow_start_is_cut_and_the_mean_of_the_rest_is_unbiased():
    series = noisy(10 - 10 * np.exp(-np.arange(2000) / 60))
    found = mser5(series)
    assert 150 < found.cut < 600
    assert series[found.cut :].mean() == pytest.approx(10, abs=0.05)


def test_a_series_in_steady_state_keeps_nearly_everything():
    kept = [1 - mser5(noisy([3.0] * 1000, seed)).cut / 1000 for seed in range(20)]
    assert np.median(kept) > 0.9


def test_a_series_that_never_settles_says_so():
    found = mser5(np.arange(500.0))
    assert (found.cut, found.settled) == (0, False)
    assert "too short" in found.note


def test_too_few_values_have_no_warm_up_to_be_found():
    assert mser5([1.0] * 49) == (0, 49, False)
    assert mser5([1.0] * 50) == (0, 50, True)


def test_the_cut_is_told_in_a_sentence():
    assert mser5(noisy([0.0] * 100 + [5.0] * 900)).note == "The first 100 of 1000 values were cut as warm-up (MSER-5)."


@given(st.integers(50, 400), st.integers(0, 10**6), st.floats(-1e3, 1e3))
def test_running_sums_find_what_the_definition_finds(n, seed, level):
    series = level + np.random.default_rng(seed).normal(size=n).cumsum() * 0.2
    found = mser5(series)
    expected = by_definition(series)
    assert found.settled == (expected <= n // 5 // 2 * 5)
    assert found.cut == (expected if found.settled else 0)


def test_a_hole_in_the_series_is_an_error():
    with pytest.raises(ValueError, match="without a NaN"):
        mser5([np.nan] * 60)


# --- cohorts


def three_events():
    told = story()
    told.event(1, at_s=1.0).claim(1.5).ok(2.0)
    told.event(2, at_s=5.0).claim(5.5).error(6.0, 10.0).retry(16.0).claim(17.0).ok(18.0)
    told.event(3, at_s=9.0).claim(9.5)
    return told.run(end_s=20.0)


def test_an_event_counts_whole_by_when_it_was_submitted():
    cohort = after_warm_up(three_events(), warm_up_s=5.0, before_s=9.0)
    assert cohort.events["event_id"].tolist() == [2]
    assert cohort.attempts[["event_id", "attempt_no"]].to_numpy().tolist() == [[2, 1], [2, 2]]
    assert (cohort.left_out, cohort.unfinished, cohort.drained) == (2, 0, True)


def test_events_that_never_ended_are_counted_as_censored():
    cohort = after_warm_up(three_events(), warm_up_s=2.0)
    assert cohort.events["event_id"].tolist() == [2, 3]
    assert not cohort.drained
    assert cohort.note == (
        "Of 3 events, the 2 submitted from 2 s to 20 s count; 1 had not ended when the run did (censored)."
    )


def test_without_a_cut_all_events_count():
    cohort = after_warm_up(three_events(), warm_up_s=0.0)
    assert cohort.left_out == 0
    assert cohort.note.startswith("Of 3 events, the 3 submitted from 0 s to 20 s count; ")


@pytest.mark.parametrize("warm_up_s", [-1.0, 20.0, 30.0])
def test_a_cut_that_leaves_nothing_is_an_error(warm_up_s):
    with pytest.raises(ValueError, match="warm_up_s must be from 0 to before 20 s"):
        after_warm_up(three_events(), warm_up_s)

"""Counting times per bin, however far apart, and the time that they take to spread."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tem_sim.analysis.bursts import Bursts, bursts, spread_s

micros = st.lists(st.integers(0, 5_000_000), min_size=1, max_size=40)


@given(micros, st.sampled_from([100_000, 250_000, 1_000_000]))
def test_bins_hold_what_a_counter_counts(times, width):
    found = bursts(np.array(times) / 1e6, width / 1e6)
    counted = Counter(time // width for time in times)
    assert dict(zip(found.bins.tolist(), found.counts.tolist(), strict=True)) == dict(sorted(counted.items()))
    assert found.peak == max(counted.values())
    assert found.total == len(times)


@given(micros)
def test_bins_ten_times_as_wide_are_those_counted_anew(times):
    times_s = np.array(times) / 1e6
    narrow, wide = bursts(times_s, 0.1).wider(10), bursts(times_s, 1.0)
    assert (narrow.bins.tolist(), narrow.counts.tolist()) == (wide.bins.tolist(), wide.counts.tolist())


@given(micros, micros)
def test_merged_counts_are_those_of_all_times_together(some, others):
    parts = [bursts(np.array(times) / 1e6, 0.25) for times in (some, others)]
    together, merged = bursts(np.array(some + others) / 1e6, 0.25), Bursts.merged(parts)
    assert (merged.bins.tolist(), merged.counts.tolist()) == (together.bins.tolist(), together.counts.tolist())


def test_years_between_two_times_cost_no_memory():
    found = bursts(np.array([0.05, 0.06, 3e8]), 0.1)
    assert found.counts.tolist() == [2, 1]
    assert found.t_s.tolist() == [0.0, 3e8]


def test_of_nothing_the_peak_is_0_and_the_spread_unknown():
    assert bursts(np.zeros(0), 0.1).peak == 0
    assert np.isnan(spread_s(np.zeros(0)))


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=60), st.sampled_from([0.1, 0.25]))
def test_the_spread_is_the_distance_of_two_ranks(times, tail):
    ordered, n = sorted(times), len(times)
    first, last = (max(1, int(np.ceil(share * n))) for share in (tail, 1 - tail))
    assert spread_s(np.array(times), tail) == pytest.approx(ordered[last - 1] - ordered[first - 1], abs=1e-9)


def test_a_uniform_jitter_spreads_over_eight_tenths_of_its_width():
    assert spread_s(np.random.default_rng(1).uniform(5, 15, 100_000)) == pytest.approx(8.0, rel=0.01)

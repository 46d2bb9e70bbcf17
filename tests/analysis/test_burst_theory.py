"""The fullest bin: exact counts for few balls, drawn ones for many."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tem_sim.analysis.theory import expected_max, expected_tick_burst, mean_largest_tick_share, uniform_shares


def exactly(n, m):
    """E[max] over m equal bins, by the coefficients of (Σ_{j≤k} z^j/j!)^m."""
    total = 0.0
    for most in range(n):
        terms, power = np.array([1 / math.factorial(j) for j in range(most + 1)]), np.ones(1)
        for _ in range(m):
            power = np.convolve(power, terms)[: n + 1]
        total += 1 - (power[n] * math.factorial(n) / m**n if len(power) > n else 0.0)
    return total


@pytest.mark.parametrize(
    ("n", "m", "tolerance"),
    [
        *((1, 7, 1e-12), (2, 2, 0.01), (3, 2, 0.01), (3, 10, 0.01), (9, 3, 0.01)),
        *((10, 2, 0.004), (10, 5, 0.004), (10, 100, 0.004), (30, 3, 0.004), (60, 10, 0.004)),
        *((100, 2, 0.001), (100, 20, 0.001), (150, 7, 0.001)),
    ],
)
def test_it_agrees_with_exact_counts(n, m, tolerance):
    assert expected_max(n, np.full(m, 1 / m)) == pytest.approx(exactly(n, m), rel=tolerance)


@pytest.mark.parametrize(("n", "m"), [(1000, 7), (10_000, 1000), (1_000_000, 60)])
def test_it_agrees_with_many_thrown_balls(n, m):
    thrown = np.random.default_rng(1).multinomial(n, np.full(m, 1 / m), size=400).max(axis=1)
    error = thrown.std() / math.sqrt(len(thrown))
    assert expected_max(n, np.full(m, 1 / m)) == pytest.approx(thrown.mean(), abs=4 * error)


@pytest.mark.parametrize("n", [20, 1000, 100_000])
def test_uneven_bins_are_as_good(n):
    rng = np.random.default_rng(2)
    shares = rng.dirichlet(np.ones(40))
    thrown = rng.multinomial(n, shares, size=4000).max(axis=1)
    error = thrown.std() / math.sqrt(len(thrown))
    assert expected_max(n, shares) == pytest.approx(thrown.mean(), abs=4 * error + 0.002 * thrown.mean())


def test_balls_may_fall_outside_of_every_bin():
    rng = np.random.default_rng(3)
    thrown = rng.multinomial(500, [0.2, 0.2, 0.1, 0.5], size=4000)[:, :3].max(axis=1)
    assert expected_max(500, [0.2, 0.2, 0.1]) == pytest.approx(thrown.mean(), abs=0.5)


@given(st.integers(1, 10**6), st.integers(1, 2000))
def test_the_fullest_bin_holds_more_than_the_mean_and_no_more_than_all(n, m):
    made = expected_max(n, np.full(m, 1 / m))
    assert max(1.0, n / m) * (1 - 0.01) <= made <= n


def test_one_bin_takes_all():
    assert expected_max(50, [1.0]) == 50
    assert expected_max(50, [0.5, 0.0]) == 25


@pytest.mark.parametrize("shares", [[], [0.6, 0.6], [-0.1, 1.0], [[1.0]], [0.0]])
def test_shares_are_parts_of_one(shares):
    with pytest.raises(ValueError, match="shares must be"):
        expected_max(10, shares)


@pytest.mark.parametrize("n", [0, -1, 2.5])
def test_balls_are_counted(n):
    with pytest.raises(ValueError, match="n must be a whole number"):
        expected_max(n, [1.0])


# --- a jitter's shares


def test_a_window_off_the_grid_has_a_part_at_each_end():
    assert uniform_shares(10.25, 1.5, 1.0) == pytest.approx([0.5, 0.5])
    assert uniform_shares(0.0, 3.0, 1.0) == pytest.approx([1 / 3] * 3)
    assert uniform_shares(0.75, 1.5, 1.0) == pytest.approx([1 / 6, 2 / 3, 1 / 6])


def test_a_window_within_one_bin_is_all_in_it():
    assert uniform_shares(10.2, 0.0, 1.0).tolist() == [1.0]
    assert uniform_shares(10.2, 0.5, 1.0).tolist() == [1.0]


@given(st.floats(0, 100), st.floats(0, 100), st.floats(0.1, 10))
def test_shares_add_up_to_one(low_s, width_s, bin_s):
    assert uniform_shares(low_s, width_s, bin_s).sum() == pytest.approx(1)


def test_jitter_narrower_than_the_tick_is_erased():
    assert expected_tick_burst(1000, 10.0, 0.9, 1.0) == 1000
    assert expected_tick_burst(1000, 10.0, 10.0, 1.0) == pytest.approx(100, rel=0.25)
    assert expected_tick_burst(1000, 10.0, 0.9, 1.0, limit=200) == 200


def test_a_tick_burst_is_what_a_scheduler_finds():
    rng = np.random.default_rng(4)
    due_s = 3.3 + rng.uniform(0, 4.0, (2000, 300))
    ticks = np.ceil(due_s / 1.0).astype(int)
    bursts = [np.bincount(row).max() for row in ticks]
    error = np.std(bursts) / math.sqrt(len(bursts))
    assert expected_tick_burst(300, 3.3, 4.0, 1.0) == pytest.approx(np.mean(bursts), abs=4 * error)


@pytest.mark.parametrize("width_s", [0.0, 0.3, 1.0, 1.4, 2.0, 3.7])
def test_the_largest_tick_at_a_random_phase(width_s):
    phases = (np.arange(4000) + 0.5) / 4000
    largest = np.mean([uniform_shares(phase, width_s, 1.0).max() for phase in phases])
    assert mean_largest_tick_share(width_s, 1.0) == pytest.approx(largest, abs=1e-3)


@pytest.mark.parametrize(("width_s", "period_s"), [(-1.0, 1.0), (1.0, 0.0)])
def test_a_tick_has_a_period(width_s, period_s):
    with pytest.raises(ValueError, match="period_s > 0"):
        mean_largest_tick_share(width_s, period_s)
    with pytest.raises(ValueError, match="bin_s > 0"):
        uniform_shares(0.0, width_s, period_s)

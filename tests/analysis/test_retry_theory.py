"""What a policy comes to on paper, against counting, drawing, and the limits that are known without either."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tem_sim.analysis.theory import (
    attempts_per_event,
    decorrelated_mass_at_cap,
    decorrelated_mean_s,
    delay_moments,
    layered_attempts,
    p_extinct,
    retry_horizon,
)
from tem_sim.pipeline.backoff import Backoff, Decorrelated, Equal, Exponential, Fixed, Full, NoJitter
from tem_sim.pipeline.presets import PRESETS

probabilities = st.floats(0, 1)
retries = st.integers(0, 60)


@given(probabilities, retries)
def test_attempts_per_event_are_a_sum_of_powers(p, most):
    assert attempts_per_event(p, most) == pytest.approx(math.fsum(p**k for k in range(most + 1)), rel=1e-12)


@pytest.mark.parametrize("p", [1 - 1e-15, 1 - 1e-12, 1 - 1e-9])
def test_attempts_keep_their_digits_where_nearly_everything_fails(p):
    assert attempts_per_event(p, 9) == pytest.approx(math.fsum(p**k for k in range(10)), rel=1e-14)


def test_endless_retries_try_until_it_works():
    assert attempts_per_event(0.75, None) == 4
    assert attempts_per_event(1.0, None) == math.inf
    assert (p_extinct(0.75, None), p_extinct(1.0, None)) == (0.0, 0.0)


def test_attempts_and_extinct_agree_with_counting():
    luck = np.random.default_rng(1).random((200_000, 4)) < 0.6
    failures_before_success = np.where(luck.all(axis=1), 4, luck.argmin(axis=1))
    attempts = np.minimum(failures_before_success + 1, 4)
    assert attempts.mean() == pytest.approx(attempts_per_event(0.6, 3), rel=0.005)
    assert luck.all(axis=1).mean() == pytest.approx(p_extinct(0.6, 3), rel=0.02)


@given(probabilities, retries)
def test_every_attempt_either_fails_or_ends_its_event(p, most):
    # Per event: attempts·(1 − p) succeed, and what did not is EXTINCT.
    assert attempts_per_event(p, most) * (1 - p) + p_extinct(p, most) == pytest.approx(1)


def test_three_retries_at_three_layers_are_64_attempts():
    assert layered_attempts([3, 3, 3]) == 64
    assert layered_attempts([3] * 5) == 1024
    assert layered_attempts([0]) == 1


def test_layers_agree_with_simulated_stacks():
    rng = np.random.default_rng(2)

    def call(layers):
        """Return the attempts at the bottom and whether the call went well."""
        if not layers:
            return 1, rng.random() >= 0.7
        total = 0
        for _ in range(layers[0] + 1):
            made, well = call(layers[1:])
            total += made
            if well:
                return total, True
        return total, False

    counts = np.array([call((1, 2, 1))[0] for _ in range(20_000)])
    error = counts.std() / math.sqrt(len(counts))
    assert counts.mean() == pytest.approx(layered_attempts([1, 2, 1], 0.7), abs=4 * error)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=4), probabilities)
def test_means_of_layers_multiply(layers, p):
    product, failure = 1.0, p
    for most in reversed(layers):
        product *= attempts_per_event(failure, most)
        failure = p_extinct(failure, most)
    assert layered_attempts(layers, p) == pytest.approx(product, rel=1e-9)


@pytest.mark.parametrize(
    ("jitter", "mean", "variance"), [(NoJitter(), 1, 0), (Full(), 1 / 2, 1 / 12), (Equal(), 3 / 4, 1 / 48)]
)
def test_delay_moments_per_jitter(jitter, mean, variance):
    known = delay_moments(Backoff(Exponential(10.0), jitter, cap_s=60.0), 3)
    assert (known.mean_s, known.var_s2) == pytest.approx((40 * mean, 40**2 * variance))


def test_a_mean_is_known_for_every_policy_there_is():
    for preset in PRESETS.values():
        for retry in (1, 2, 5):
            known = delay_moments(preset.policy, retry)
            assert known.mean_s == pytest.approx(preset.policy.mean_s(retry))


@pytest.mark.parametrize("retry", [1, 2, 3, 8])
def test_the_decorrelated_mean_grows_by_half_each_time(retry):
    assert decorrelated_mean_s(10.0, retry) == pytest.approx(10 * (2 * 1.5**retry - 1))


def test_decorrelated_jitter_clamped_at_its_cap_piles_up_there():
    drawn_s = np.full(200_000, 1.0)
    rng = np.random.default_rng(3)
    for _ in range(40):
        drawn_s = np.minimum(60.0, rng.uniform(1.0, 3 * drawn_s))
    assert decorrelated_mass_at_cap(1.0, 40, 60.0) == pytest.approx((drawn_s == 60.0).mean(), abs=0.005)
    # A third of all late delays for a cap of 60 bases: what `Decorrelated` warns of.
    assert decorrelated_mass_at_cap(1.0, 40, 60.0) == pytest.approx(1 / 3, abs=0.02)


def test_the_default_cap_of_decorrelated_jitter_holds_no_mass():
    policy = Backoff(Fixed(1.0), Decorrelated(), cap_s=60.0)
    assert policy.mass_at_cap(40) == 0
    assert decorrelated_mean_s(1.0, 40, cap_s=60.0) == pytest.approx(policy.mean_s(40))


# --- horizon


def test_the_horizon_is_the_sum_of_the_delays():
    assert retry_horizon(Backoff(Exponential(10.0), max_retries=3)) == (70.0, 70.0, 70.0)
    assert retry_horizon(Backoff(Exponential(10.0), Full(), max_retries=3)) == (0.0, 35.0, 70.0)
    assert retry_horizon(Backoff(max_retries=0)) == (0.0, 0.0, 0.0)


def test_a_decorrelated_horizon_lies_between_its_extremes():
    policy = Backoff(Fixed(2.0), Decorrelated(), max_retries=4)
    rng = np.random.default_rng(4)
    sums_s = np.array([sum(policy.chain(rng, 4)) for _ in range(4000)])
    horizon = retry_horizon(policy)
    assert horizon.min_s <= sums_s.min() < sums_s.max() <= horizon.max_s
    assert sums_s.mean() == pytest.approx(horizon.mean_s, rel=0.05)


def test_a_budget_bounds_the_horizon_and_leaves_its_mean_unknown():
    bounded = retry_horizon(Backoff(Exponential(10.0), max_retries=3, budget_s=50.0))
    assert (bounded.min_s, bounded.max_s) == (0.0, 50.0)
    assert math.isnan(bounded.mean_s)
    assert retry_horizon(Backoff(Exponential(10.0), max_retries=3, budget_s=90.0)).mean_s == 70.0
    assert retry_horizon(Backoff(max_retries=None)) == (math.inf, math.inf, math.inf)


@pytest.mark.parametrize("wrong", [-0.1, 1.1, math.nan])
def test_a_failure_rate_is_a_probability(wrong):
    with pytest.raises(ValueError, match="failure must be a probability from 0 to 1"):
        attempts_per_event(wrong, 3)
    with pytest.raises(ValueError, match="failure must be a probability from 0 to 1"):
        p_extinct(wrong, 3)


@pytest.mark.parametrize("wrong", [-1, 2.5])
def test_retries_are_counted(wrong):
    with pytest.raises(ValueError, match="max_retries must be a whole number"):
        attempts_per_event(0.5, wrong)
    with pytest.raises(ValueError, match="max_retries"):
        layered_attempts([])

"""P(EXTINCT) in an outage: closed forms, integrals of polynomials, drawn events, and the real code's own decisions."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tem_sim.analysis.theory import equal_points, extinct_in_outage
from tem_sim.foreign.policies import OwnPolicy
from tem_sim.pipeline.backoff import Additive, Backoff, Decorrelated, Equal, Exponential, Fixed, Full, Proportional
from tem_sim.pipeline.presets import PRESETS, preset_policy


def drawn(policy, outage_s, events=8_000, extra_s=0.0, seed=1):
    """Follow events through an outage one by one, asking the policy whether to give up as the pipeline does."""
    rng = np.random.default_rng(seed)
    extinct = 0
    for submitted_s in rng.uniform(0, outage_s, events):
        now_s, failures, previous_s = submitted_s, 1, None
        while now_s < outage_s:
            delay_s = policy.delay(failures, rng, previous_s)
            if policy.gives_up(failures, now_s - submitted_s, delay_s):
                extinct += 1
                break
            now_s, previous_s, failures = now_s + delay_s + extra_s, delay_s, failures + 1
    return extinct / events


def by_inclusion_and_exclusion(widths_s, outage_s):
    """E[(D − ΣU(0, w))⁺]/D: the integral of a sum of uniforms' distribution function, a sum over all corners."""
    n, total = len(widths_s), 0.0
    for chosen in itertools.product((0, 1), repeat=n):
        corner_s = outage_s - sum(w for w, c in zip(widths_s, chosen, strict=True) if c)
        total += (-1) ** sum(chosen) * max(0.0, corner_s) ** (n + 1)
    return total / math.factorial(n + 1) / math.prod(widths_s) / outage_s


def test_without_jitter_the_form_is_closed():
    value, error = extinct_in_outage(Backoff(Exponential(10.0), max_retries=3), [50.0, 70.0, 100.0, 700.0])
    assert value.tolist() == pytest.approx([0, 0, 0.3, 0.9])
    assert error.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("retries", [1, 2, 3, 4])
def test_full_jitter_is_a_sum_of_uniforms(retries):
    lengths_s = np.array([20.0, 45.0, 90.0, 400.0])
    value, error = extinct_in_outage(Backoff(Exponential(10.0), Full(), max_retries=retries), lengths_s)
    exact = [by_inclusion_and_exclusion([10.0 * 2**k for k in range(retries)], one) for one in lengths_s]
    assert value == pytest.approx(exact, rel=1e-5, abs=1e-9)
    assert (np.abs(value - exact) <= error + 1e-9).all()


def test_a_long_outage_leaves_the_mean_horizon_over_its_length():
    # Once D exceeds every sum of delays, E[(D − S)⁺]/D is 1 − E S/D for any law.
    for jitter in (Full(), Equal(), Additive(3.0), Proportional(0.2), Decorrelated()):
        policy = Backoff(Exponential(1.0), jitter, max_retries=4)
        mean_s = sum(policy.mean_s(k) for k in range(1, 5))
        made = extinct_in_outage(policy, 2000.0)
        assert made.value[0] == pytest.approx(1 - mean_s / 2000, abs=2 * made.error[0] + 1e-6)


@pytest.mark.parametrize(
    ("policy", "outage_s"),
    [
        (Backoff(Exponential(1.0), Full(), max_retries=3), 4.0),
        (Backoff(Exponential(1.0), Equal(), cap_s=3.0, max_retries=4), 12.0),
        (Backoff(Fixed(1.0), Decorrelated(), max_retries=3), 12.0),
        (Backoff(Fixed(1.0), Decorrelated(), cap_s=4.0, cap_after_jitter=True, max_retries=5), 14.0),
        (Backoff(Exponential(1.0), Full(), max_retries=8, budget_s=6.0), 5.0),
        (Backoff(Exponential(1.0), Full(), max_retries=None, budget_s=10.0), 8.0),
        (preset_policy("celery-autoretry"), 9.0),
        (preset_policy("dramatiq", max_retries=3), 200.0),
    ],
)
def test_it_agrees_with_events_followed_one_by_one(policy, outage_s):
    made = extinct_in_outage(policy, outage_s)
    share = made.value[0]
    assert 0.02 < share < 0.9
    assert drawn(policy, outage_s) == pytest.approx(
        share, abs=4 * math.sqrt(share * (1 - share) / 8_000) + made.error[0]
    )


def test_time_spent_besides_the_delays_helps_to_outlive_the_outage():
    policy = Backoff(Exponential(1.0), Full(), max_retries=3)
    later = extinct_in_outage(policy, 8.0, extra_s=0.5).value[0]
    assert later < extinct_in_outage(policy, 8.0).value[0]
    assert drawn(policy, 8.0, extra_s=0.5) == pytest.approx(later, abs=0.02)


def test_an_outage_shorter_than_the_least_horizon_kills_nothing():
    assert extinct_in_outage(Backoff(Fixed(5.0), Equal(), max_retries=4), [1.0, 9.9]).value.tolist() == [0, 0]


def test_without_retries_everything_submitted_during_it_is_extinct():
    assert extinct_in_outage(Backoff(max_retries=0), [0.1, 50.0]).value.tolist() == [1, 1]


def test_endless_retries_outlive_every_outage():
    assert extinct_in_outage(Backoff(max_retries=None), 1e6).value[0] == 0


@settings(max_examples=25)
@given(st.sampled_from(sorted(PRESETS)), st.floats(0.5, 5000))
def test_it_is_a_probability_that_grows_with_the_outage(name, outage_s):
    policy = preset_policy(name)
    value, error = extinct_in_outage(policy, [outage_s, 2 * outage_s])
    assert (value >= 0).all()
    assert (value <= 1).all()
    assert value[0] <= value[1] + error.sum() + 1e-12


def test_short_and_long_outages_in_one_call_are_about_as_exact_as_alone():
    policy = Backoff(Exponential(1.0), Full(), max_retries=3)
    lengths_s = [0.5, 3.0, 5000.0]
    together = extinct_in_outage(policy, lengths_s).value
    assert together == pytest.approx([extinct_in_outage(policy, one).value[0] for one in lengths_s], rel=1e-5)


def test_a_policy_of_the_users_own_is_as_good_as_its_formula():
    own = OwnPolicy(lambda k, rng: rng.uniform(0, 2 ** (k - 1)), max_retries=3, name="own")
    made = extinct_in_outage(own, [4.0, 20.0])
    assert made.value == pytest.approx(
        extinct_in_outage(Backoff(Exponential(1.0), Full(), max_retries=3), [4.0, 20.0]).value
    )


def test_equal_points_have_the_delays_moments():
    for name in ("dramatiq", "celery-autoretry", "sidekiq", "polly-decorrelated-v2"):
        policy = preset_policy(name)
        points_s = equal_points(policy, 3)
        assert points_s.mean() == pytest.approx(policy.mean_s(3), rel=1e-3)


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.inf, math.nan])
def test_an_outage_has_a_length(wrong):
    with pytest.raises(ValueError, match="outage_s must be lengths above 0 s"):
        extinct_in_outage(Backoff(), wrong)


def test_time_is_not_given_back():
    with pytest.raises(ValueError, match="extra_s must be from 0 s on"):
        extinct_in_outage(Backoff(), 10.0, extra_s=-1.0)

"""What every policy promises, over every growth, jitter, cap and preset."""

import math
import random
from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_catalogue import ALL, CAPS, COMPOSED, GROWTHS, any_policy

from tem_sim.pipeline import backoff, preset_formulas, preset_pairs, scaled
from tem_sim.pipeline.backoff import MAX_DELAY_S, Backoff, Decorrelated, Full, describe

DRAWS = 200_000


def ids(policy):
    return policy.name or policy.formula


def marginal_draws(policy, retry, seed):
    """Draw the delay before this retry over many events, walking each event's chain where it matters."""
    rng, delays_s = np.random.default_rng(seed), None
    first = 1 if policy.needs_previous else retry
    for step in range(first, retry + 1):
        delays_s = policy.delays(step, rng, DRAWS, delays_s)
    return delays_s


@settings(deadline=None)
@given(any_policy(), st.integers(1, 2000), st.integers(0, 2**32), st.floats(0, 1e6))
def test_every_delay_is_finite_and_within_the_support(policy, retry, seed, previous_s):
    low_s, high_s = policy.support(retry, previous_s)
    everyone = policy.support(retry)
    delay_s = policy.delay(retry, random.Random(seed), previous_s)
    assert 0 <= low_s <= delay_s <= high_s <= MAX_DELAY_S
    assert math.isfinite(delay_s)
    if not policy.needs_previous:
        assert everyone == (low_s, high_s)


@settings(deadline=None)
@given(any_policy(), st.integers(1, 60), st.integers(0, 2**32), st.integers(0, 40))
def test_scalar_and_vectorised_draws_agree_bit_for_bit(policy, retry, seed, size):
    previous_s = np.random.default_rng(seed).uniform(0, 1e4, size)
    one, many = np.random.default_rng(seed), np.random.default_rng(seed)
    scalars = [policy.delay(retry, one, float(previous)) for previous in previous_s]
    np.testing.assert_array_equal(scalars, policy.delays(retry, many, size, previous_s))
    assert one.random() == many.random(), "both took the same number of uniforms"


@settings(deadline=None)
@given(any_policy(), st.integers(2, 60), st.integers(0, 2**32), st.floats(0, 1e5))
def test_one_previous_delay_may_stand_for_all_events(policy, retry, seed, previous_s):
    one, many = np.random.default_rng(seed), np.random.default_rng(seed)
    scalars = [policy.delay(retry, one, previous_s) for _ in range(3)]
    np.testing.assert_array_equal(scalars, policy.delays(retry, many, 3, previous_s))


@settings(deadline=None)
@given(any_policy())
def test_a_policy_is_a_value_that_its_repr_pastes(policy):
    names = {**vars(backoff), **vars(preset_formulas), **vars(preset_pairs), **vars(scaled)}
    pasted = eval(repr(policy), names)
    assert pasted == policy
    assert hash(pasted) == hash(policy)
    with pytest.raises(FrozenInstanceError):
        setattr(policy, fields(policy)[0].name, 0)
    assert not hasattr(policy, "__dict__")


@pytest.mark.parametrize("policy", ALL, ids=ids)
@pytest.mark.parametrize("retry", [1, 5])
def test_the_draws_have_the_moments_that_are_promised(policy, retry):
    delays_s = marginal_draws(policy, retry, seed=retry)
    moments = policy.moments(retry)
    spread_s = delays_s.std()
    slack_s = 5 * spread_s / math.sqrt(DRAWS) + 1e-4 * policy.mean_s(retry)
    exact = moments.mean_s is not None
    assert abs(delays_s.mean() - policy.mean_s(retry)) <= (1e-12 + slack_s)
    assert moments.min_s <= delays_s.min()
    assert delays_s.max() <= moments.max_s
    assert exact == (moments.var_s2 is not None)
    if exact:
        fourth = ((delays_s - delays_s.mean()) ** 4).mean()
        error_s2 = math.sqrt(max(0.0, fourth - spread_s**4) / DRAWS)
        assert abs(spread_s**2 - moments.var_s2) <= 6 * error_s2 + 1e-9 * (1 + moments.max_s**2)


@pytest.mark.parametrize("policy", ALL, ids=ids)
def test_the_support_is_no_wider_than_the_draws_need(policy):
    """With 200 000 draws the ends of the support are nearly reached, so a sloppy bound would show."""
    delays_s = marginal_draws(policy, 2, seed=1)
    low_s, high_s = policy.support(2)
    width_s = high_s - low_s
    # Products of two uniforms rarely reach the far corner of their square.
    slack = 0.02 if policy.needs_previous or policy.draws == 2 else 1e-3
    assert delays_s.min() <= low_s + slack * width_s
    assert delays_s.max() >= high_s - slack * width_s


@pytest.mark.parametrize("policy", ALL, ids=ids)
def test_retries_without_end_stay_finite(policy):
    for retry in (1_100, 10**4, 10**400):
        low_s, high_s = policy.support(retry)
        delay_s = policy.delay(retry, random.Random(1), 5.0)
        assert 0 <= low_s <= delay_s <= high_s <= MAX_DELAY_S
        assert math.isfinite(policy.mean_s(retry))


@pytest.mark.parametrize("growth", [growth for growth in GROWTHS if "1, 0" not in growth.formula], ids=repr)
def test_growth_never_shrinks(growth):
    values_s = [growth.value_s(retry) for retry in range(1, 200)]
    assert values_s == sorted(values_s)


@pytest.mark.parametrize("cap", CAPS[1:], ids=str)
def test_a_cap_is_where_growth_ends(cap):
    """After the jitter nothing passes the cap; before it only what the jitter itself adds does."""
    for policy in COMPOSED:
        if policy.cap_s == 11.0 and policy.cap_after_jitter == ("cap_after_jitter" in cap):
            _, high_s = policy.support(50)
            over_s = 0 if policy.cap_after_jitter else policy.jitter.interval_s(11.0)[1]
            assert high_s <= 11.0 + over_s


# Polly's chain carries more than the previous delay; test_presets compares it with Polly's own.
CHAINED = [policy for policy in ALL if policy.name != "polly-decorrelated-v2"]


@pytest.mark.parametrize("policy", CHAINED, ids=ids)
def test_a_chain_is_what_one_event_would_draw(policy):
    rng, expected, previous_s = random.Random(5), [], None
    for retry in range(1, 8):
        previous_s = policy.delay(retry, rng, previous_s)
        expected.append(previous_s)
    assert policy.chain(random.Random(5), 7) == tuple(expected)


def test_two_events_sharing_a_policy_do_not_share_its_history():
    policy = Backoff(backoff.Fixed(1.0), Decorrelated(), cap_s=1000.0)
    alone = policy.chain(random.Random(1), 6)
    first, second, shared = random.Random(1), random.Random(2), []
    previous_s = other_s = None
    for retry in range(1, 7):
        previous_s = policy.delay(retry, first, previous_s)
        other_s = policy.delay(retry, second, other_s)
        shared.append(previous_s)
    assert tuple(shared) == alone


def test_an_event_gives_up_after_its_last_retry_and_when_its_budget_cannot_hold_the_next():
    policy = Backoff(max_retries=2, budget_s=100.0)
    assert not policy.gives_up(failures=2, elapsed_s=10.0, next_delay_s=90.0)
    assert policy.gives_up(failures=3, elapsed_s=10.0, next_delay_s=1.0)
    assert policy.gives_up(failures=1, elapsed_s=10.0, next_delay_s=90.1)
    assert not Backoff(max_retries=None).gives_up(10**6, 1e9, 1e9)
    assert Backoff(max_retries=0).gives_up(1, 0.0, 0.0)


def test_chain_draws_as_many_delays_as_the_policy_grants():
    assert len(backoff.chain(Backoff(max_retries=4), random.Random(1))) == 4
    assert len(backoff.chain(Backoff(max_retries=None), random.Random(1))) == 10


@pytest.mark.parametrize(
    ("policy", "line"),
    [
        (
            Backoff(jitter=Full(), cap_s=300.0),
            "Backoff: U(0, v), v = min(300, 10·2^(k−1)) s, at most 5 retries",
        ),
        (
            Backoff(jitter=Full(), cap_s=300.0, cap_after_jitter=True, name="mine", budget_s=60.0),
            "mine: min(300, U(0, v)), v = 10·2^(k−1) s, at most 5 retries within 60 s",
        ),
        (
            Backoff(backoff.Fixed(2.0), Decorrelated(), cap_s=60.0, max_retries=None),
            "Backoff: U(2, min(60, 3·previous)) s, retries for ever",
        ),
    ],
)
def test_describe_says_what_a_policy_does(policy, line):
    assert describe(policy) == line

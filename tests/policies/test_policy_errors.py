"""A number that makes no sense is refused in one line: field, rule, value, remedy. A huge one saturates."""

import math
import random
import re

import numpy as np
import pytest

from tem_sim.pipeline.backoff import (
    MAX_DELAY_S,
    Additive,
    Backoff,
    Decorrelated,
    Explicit,
    Exponential,
    Fibonacci,
    Fixed,
    Full,
    Linear,
    Polynomial,
    Proportional,
)
from tem_sim.pipeline.preset_formulas import CeleryAutoretry, Huey, Resilience4j, Rq, Urllib3
from tem_sim.pipeline.preset_pairs import Dramatiq, PollyDecorrelatedV2
from tem_sim.pipeline.presets import PRESETS, delay_table, preset_policy

BAD = [math.nan, math.inf, -math.inf, -1.0, 10**400, "10", None, MAX_DELAY_S * 1.01]
SECONDS_FIELDS = [
    (Fixed, "delay_s"),
    (Linear, "base_s"),
    (Exponential, "base_s"),
    (Polynomial, "base_s"),
    (Fibonacci, "base_s"),
    (Additive, "width_s"),
    (PollyDecorrelatedV2, "median_first_s"),
    (Huey, "retry_delay_s"),
    (Urllib3, "backoff_max_s"),
    (CeleryAutoretry, "retry_backoff_max"),
]


@pytest.mark.parametrize("value", BAD, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize(("kind", "field"), SECONDS_FIELDS, ids=lambda part: getattr(part, "__name__", part))
def test_a_delay_that_is_no_sensible_number_of_seconds_is_refused(kind, field, value):
    if value == "10":
        value = "ten"
    with pytest.raises(ValueError, match=rf"^{kind.__name__}\.{field}: must be .*, got .*; give ") as caught:
        kind(**{field: value})
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Exponential(0.0), "Exponential.base_s: must be > 0, got 0.0; give seconds such as 10.0"),
        (lambda: Exponential(1.0, 0.5), "Exponential.factor: must be >= 1, got 0.5; give a number such as 2"),
        (
            lambda: Exponential(1.0, math.nan),
            "Exponential.factor: must be a finite number, got nan; give a number such as 2",
        ),
        (lambda: Polynomial(1.0, -1), "Polynomial.power: must be >= 0, got -1; give a number such as 2"),
        (
            lambda: Proportional(1.5),
            "Proportional.fraction: must be between 0 and 1, got 1.5; give a number such as 0.1",
        ),
        (
            lambda: Decorrelated(0.9),
            "Decorrelated.factor: must be between 1 and 1e+06, got 0.9; give a number such as 3",
        ),
        (
            lambda: Explicit(()),
            "Explicit.delays_s: must hold at least one delay, got (); give seconds such as (10.0, 60.0)",
        ),
        (
            lambda: Explicit((1.0, math.nan)),
            "Explicit.delays_s[1]: must be a finite number, got nan; give seconds such as 10.0",
        ),
        (
            lambda: Backoff(Exponential(10.0), cap_s=5.0),
            "Backoff.cap_s: must be >= the first delay of the growth (10), got 5.0; raise the cap or lower the base",
        ),
        (
            lambda: Backoff(cap_s=math.nan),
            "Backoff.cap_s: must be a finite number, got nan; give seconds such as 10.0",
        ),
        (lambda: Backoff(cap_s=-1.0), "Backoff.cap_s: must be > 0, got -1.0; give seconds such as 10.0"),
        (
            lambda: Backoff(max_retries=-1),
            "Backoff.max_retries: must be a whole number >= 0, got -1; give one such as 5",
        ),
        (
            lambda: Backoff(max_retries=2.5),
            "Backoff.max_retries: must be a whole number >= 0, got 2.5; give one such as 5",
        ),
        (
            lambda: Backoff(max_retries=True),
            "Backoff.max_retries: must be a whole number >= 0, got True; give one such as 5",
        ),
        (
            lambda: Backoff(budget_s=0.0),
            "Backoff.budget_s: must be > 0, got 0.0; give seconds such as 3600.0, or None",
        ),
        (lambda: Rq(max_retries=-1), "Rq.max_retries: must be a whole number >= 0, got -1; give one such as 5"),
        (
            lambda: Dramatiq(min_backoff_ms=0),
            "Dramatiq.min_backoff_ms: must be a whole number >= 1, got 0; give one such as 5",
        ),
        (
            lambda: Resilience4j(randomization=2),
            "Resilience4j.randomization: must be between 0 and 1, got 2; give a number such as 0.5",
        ),
        (
            lambda: preset_policy("sidekik"),
            "preset: must be a known name, got 'sidekik'; did you mean 'sidekiq'?",
        ),
        (
            lambda: preset_policy("stamina", max_retry=3),
            "preset stamina: has no field 'max_retry'; did you mean 'max_retries'?",
        ),
        (
            lambda: preset_policy("oban", max_retries=-2),
            "Oban.max_retries: must be a whole number >= 0, got -2; give one such as 5",
        ),
    ],
)
def test_a_refusal_names_the_field_the_rule_the_value_and_the_remedy(make, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()


@pytest.mark.parametrize("retry", [0, -3, 1.5, True, None])
def test_retries_count_from_one(retry):
    for preset in PRESETS.values():
        for use in (preset.policy.support, preset.policy.moments, preset.policy.spread):
            with pytest.raises(ValueError, match=r"^retry: must be a whole number >= 1, got "):
                use(retry)


def test_the_first_delay_is_that_of_retry_one():
    with pytest.raises(ValueError, match=r"^retry: must be a whole number >= 1, got 0; give one such as 5$"):
        Backoff().delay(0, random.Random(1))


def test_numpy_counts_are_counts():
    assert Backoff().moments(np.int64(3)).mean_s == 40.0


@pytest.mark.parametrize("previous_s", [-1.0, math.nan, math.inf])
def test_a_previous_delay_must_be_one(previous_s):
    policy = Backoff(Fixed(1.0), Decorrelated())
    with pytest.raises(ValueError, match=r"^previous_s: must be "):
        policy.delay(2, random.Random(1), previous_s)
    with pytest.raises(ValueError, match=r"^previous_s: must be "):
        policy.delays(2, np.random.default_rng(1), 2, np.array([1.0, previous_s]))


def test_decorrelated_jitter_asks_for_the_previous_delay_from_the_second_retry_on():
    policy = Backoff(Fixed(1.0), Decorrelated())
    assert 1.0 <= policy.delay(1, random.Random(1)) <= 3.0
    with pytest.raises(ValueError, match=r"^previous_s: decorrelated jitter needs it from retry 2 on"):
        policy.delay(2, random.Random(1))


def test_one_previous_delay_is_needed_per_draw():
    policy = Backoff(Fixed(1.0), Decorrelated())
    with pytest.raises(ValueError, match=r"^previous_s: must have shape \(3,\), got \(2,\)$"):
        policy.delays(2, np.random.default_rng(1), 3, np.ones(2))


@pytest.mark.parametrize("growth", [Exponential(1.0), Polynomial(1.0, 50), Fibonacci(1.0), Linear(1.0)], ids=repr)
def test_uncapped_growth_saturates_at_ten_years(growth):
    assert growth.value_s(10**400) == MAX_DELAY_S
    assert Backoff(growth, Full()).support(10**400) == (0.0, MAX_DELAY_S)


def test_two_to_the_ten_thousand_meets_the_cap():
    assert Backoff(Exponential(10.0), cap_s=300.0).delay(10**4, random.Random(1)) == 300.0


def test_a_factor_of_one_never_grows_however_often_it_is_applied():
    assert Exponential(2.0, 1.0).value_s(10**400) == 2.0


def test_an_uncapped_decorrelated_chain_ends_at_ten_years_and_not_at_infinity():
    policy = Backoff(Fixed(1e6), Decorrelated())
    delays_s = policy.chain(random.Random(3), 500)
    assert max(delays_s) <= MAX_DELAY_S
    assert policy.moments(500).mean_s is None
    assert 0 < policy.mean_s(500) < MAX_DELAY_S


def test_a_table_needs_at_least_one_row():
    with pytest.raises(ValueError, match=r"^retries: must be a whole number >= 1, got 0"):
        delay_table(Backoff(), 0)

"""Jitter is tested for its shape: one with a hole in the middle would pass a test of its bounds."""

import numpy as np
import pytest
from scipy import stats

from tem_sim.pipeline.backoff import (
    Additive,
    Backoff,
    Decorrelated,
    Equal,
    Exponential,
    Fixed,
    Full,
    Proportional,
)
from tem_sim.pipeline.presets import PRESETS

N = 100_000


def draws(policy, retry, previous_s=None, size=N):
    return policy.delays(retry, np.random.default_rng(7), size, previous_s)


def chained(policy, retries, size=N):
    rng, previous_s = np.random.default_rng(11), None
    for retry in range(1, retries + 1):
        previous_s = policy.delays(retry, rng, size, previous_s)
    return previous_s


@pytest.mark.parametrize(
    ("jitter", "low_s", "high_s"),
    [
        (Additive(5.0), 40.0, 45.0),
        (Proportional(0.25), 30.0, 50.0),
        (Full(), 0.0, 40.0),
        (Equal(), 20.0, 40.0),
    ],
    ids=repr,
)
def test_the_third_delay_of_the_seed_formula_is_uniform(jitter, low_s, high_s):
    policy = Backoff(Exponential(10.0), jitter)
    result = stats.kstest(draws(policy, 3), stats.uniform(low_s, high_s - low_s).cdf)
    assert result.pvalue > 1e-3
    assert policy.support(3) == (low_s, high_s)


def test_decorrelated_jitter_is_uniform_between_base_and_three_times_the_previous_delay():
    policy = Backoff(Fixed(2.0), Decorrelated())
    assert stats.kstest(draws(policy, 4, 10.0), stats.uniform(2, 28).cdf).pvalue > 1e-3
    assert policy.support(4, 10.0) == (2.0, 30.0)


def test_a_capped_decorrelated_delay_is_uniform_up_to_the_cap():
    policy = Backoff(Fixed(2.0), Decorrelated(), cap_s=20.0)
    assert stats.kstest(draws(policy, 4, 10.0), stats.uniform(2, 18).cdf).pvalue > 1e-3


def test_an_uncapped_decorrelated_chain_has_its_textbook_mean():
    """b·(2·1.5^k − 1), from E[d] = (b + 3·E[previous])/2."""
    policy = Backoff(Fixed(2.0), Decorrelated())
    for retry in range(1, 12):
        assert policy.moments(retry).mean_s == pytest.approx(2.0 * (2 * 1.5**retry - 1), rel=1e-12)


def test_a_decorrelated_chain_that_meets_its_cap_admits_that_it_has_no_closed_mean():
    moments = PRESETS["aws-decorrelated"].policy.moments(4)
    assert (moments.min_s, moments.mean_s, moments.max_s, moments.var_s2) == (1.0, None, 60.0, None)


@pytest.mark.parametrize("after", [False, True], ids=["truncated", "clamped"])
@pytest.mark.parametrize("retry", [4, 8, 40])
def test_the_quadrature_of_a_decorrelated_chain_agrees_with_draws(after, retry):
    policy = Backoff(Fixed(1.0), Decorrelated(), cap_s=60.0, cap_after_jitter=after)
    delays_s = chained(policy, retry)
    share = float((delays_s == 60.0).mean())
    assert delays_s.mean() == pytest.approx(policy.mean_s(retry), abs=5 * delays_s.std() / N**0.5)
    assert share == pytest.approx(policy.mass_at_cap(retry), abs=5 * 0.5 / N**0.5)


def test_the_quadrature_agrees_with_the_closed_mean_where_both_exist():
    from tem_sim.pipeline.decorrelated import marginal

    policy = Backoff(Fixed(1.0), Decorrelated())
    for retry in (2, 5, 8):
        mean_s, mass = marginal(1.0, 3.0, 1e4, retry, clipped=True)
        assert mean_s == pytest.approx(policy.moments(retry).mean_s, rel=1e-5)
        assert mass == pytest.approx(0.0, abs=1e-9)


def test_our_decorrelated_jitter_leaves_nothing_on_the_cap_where_the_clamped_one_piles_up():
    ours = Backoff(Fixed(1.0), Decorrelated(), cap_s=60.0)
    clamped = PRESETS["aws-decorrelated"].policy
    assert (chained(ours, 30) == 60.0).sum() == 0
    assert (chained(clamped, 30) == 60.0).mean() > 0.3
    assert ours.mass_at_cap(30) == 0.0


@pytest.mark.parametrize("jitter", [Additive(5.0), Proportional(0.25), Full(), Equal()], ids=repr)
def test_a_cap_before_the_jitter_leaves_no_pile_and_one_after_it_does(jitter):
    before = Backoff(Exponential(10.0), jitter, cap_s=42.0)
    after = Backoff(Exponential(10.0), jitter, cap_s=42.0, cap_after_jitter=True)
    assert before.mass_at_cap(6) == 0.0
    assert (draws(before, 6) == 42.0).sum() == 0
    share = float((draws(after, 3) == 42.0).mean())
    assert share == pytest.approx(after.mass_at_cap(3), abs=5 * 0.5 / N**0.5)


def test_additive_jitter_clipped_at_the_cap_has_its_atom_and_moments_worked_out():
    """40 + U(0, 5) clipped at 42: two fifths uniform on 40..42, three fifths exactly 42."""
    policy = Backoff(Exponential(10.0), Additive(5.0), cap_s=42.0, cap_after_jitter=True)
    moments = policy.moments(3)
    assert policy.mass_at_cap(3) == pytest.approx(0.6)
    assert moments.mean_s == pytest.approx(0.4 * 41 + 0.6 * 42)
    assert moments.var_s2 == pytest.approx(0.4 * (4 / 12 + 41**2) + 0.6 * 42**2 - moments.mean_s**2)
    assert (moments.min_s, moments.max_s) == (40.0, 42.0)


def test_once_growth_alone_passes_a_late_cap_every_delay_is_the_cap():
    policy = Backoff(Exponential(10.0), Additive(5.0), cap_s=42.0, cap_after_jitter=True)
    assert policy.mass_at_cap(4) == 1.0
    assert policy.support(4) == (42.0, 42.0)
    assert policy.moments(4).var_s2 == 0.0


def test_without_a_cap_there_is_no_mass_on_it():
    assert Backoff(Exponential(10.0)).mass_at_cap(3) == 0.0


@pytest.mark.parametrize(
    ("name", "retry", "least", "most"),
    [("celery-autoretry", 4, 0, 8), ("sidekiq", 2, 16, 35)],
)
def test_whole_second_jitters_make_every_second_as_likely(name, retry, least, most):
    seconds, counts = np.unique(draws(PRESETS[name].policy, retry), return_counts=True)
    assert seconds.tolist() == list(range(least, most + 1))
    assert stats.chisquare(counts).pvalue > 1e-3


def test_obans_last_second_is_rarer_than_the_others():
    """trunc(U(0, 0.1)·143) is 0..13 evenly and 14 with the 0.3 that is left."""
    counts = np.unique(draws(PRESETS["oban"].policy, 7), return_counts=True)[1]
    expected = np.append(np.full(14, 1.0), 0.3) * N / 14.3
    assert stats.chisquare(counts, expected).pvalue > 1e-3


def test_dramatiq_spreads_what_passes_its_maximum_over_the_upper_half():
    from tem_sim.pipeline.preset_pairs import Dramatiq

    policy = Dramatiq(min_backoff_ms=1000, max_backoff_ms=10_000)
    late_s = draws(policy, 9)
    assert stats.kstest(late_s, stats.uniform(5, 5).cdf).statistic < 0.01
    assert policy.support(9) == (5.0, 9.999)

"""The law of a delay: a distribution, the policy's own, and the one that the delays are drawn from."""

import dataclasses
import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_catalogue import ALL, any_policy

from tem_sim.analysis.delay_fit import delay_fit, ks_fit
from tem_sim.analysis.delay_law import ROUNDING_S, DelayLaw, delay_law
from tem_sim.analysis.lineup import jitters
from tem_sim.pipeline.backoff import Additive, Backoff, Decorrelated, Equal, Exponential, Fixed, Full, Moments, NoJitter
from tem_sim.pipeline.presets import PRESETS

FULL = Backoff(Fixed(10), Full())


class Own:
    """A policy of someone's own, which says nothing of how its delays are spread."""

    name, max_retries, budget_s, formula, draws, needs_previous = "own", 3, None, "7", 0, False

    def delays(self, retry, rng, size, previous_s=None):
        return np.full(size, 7.0)

    def mean_s(self, retry):
        return 7.0

    def support(self, retry, previous_s=None):
        return 7.0, 7.0

    def moments(self, retry):
        return Moments(7.0, 7.0, 7.0, 0.0)


def mean_under(law, low_s, high_s):
    """Integrate 1 − F; steps are met to a two thousandth of the support, and to the microsecond that F looks ahead."""
    edges_s = np.linspace(low_s, high_s, 4001)
    middles_s = (edges_s[1:] + edges_s[:-1]) / 2
    return low_s + float((1 - law.at(middles_s)).mean()) * (high_s - low_s)


@settings(max_examples=60)
@given(any_policy(), st.integers(1, 6))
def test_a_law_is_a_distribution_on_the_support_with_the_mean_of_the_policy(policy, retry):
    law, (low_s, high_s) = delay_law(policy, retry), policy.support(retry)
    ends_s = np.array([low_s - 1e-5 * (1 + low_s), high_s])
    assert law.at(ends_s).tolist() == [0.0, 1.0]
    at_s = np.linspace(low_s, high_s, 200)
    assert np.all(np.diff(law.at(at_s)) >= -1e-12)
    assert np.all(law.below(at_s) <= law.at(at_s) + 1e-12)
    assert mean_under(law, low_s, high_s) == pytest.approx(
        policy.mean_s(retry), rel=2e-3, abs=ROUNDING_S + 2e-3 * (high_s - low_s)
    )


def test_no_delay_of_any_policy_is_refused_by_its_law():
    fit = delay_fit({str(number): policy for number, policy in enumerate(ALL)}, n=1000, retries=3)
    assert not fit.table["refused"].any()
    assert (fit.table["law"] != "none").all()
    assert fit.verdict.startswith(f"All {len(fit.table)} delays are distributed as their policies promise")


@pytest.mark.parametrize(
    ("promised", "kept"),
    [
        (Full(), Equal()),
        (Full(), NoJitter()),
        (NoJitter(), Additive(0.1)),
        (Additive(2.0), Additive(2.2)),
        (Decorrelated(), Full()),
    ],
    ids=str,
)
def test_delays_of_another_jitter_are_refused(promised, kept):
    drawn_s = Backoff(Fixed(10), kept).delays(1, np.random.default_rng(1), 2000)
    assert ks_fit(drawn_s, delay_law(Backoff(Fixed(10), promised), 1)).p < 1e-6


def test_a_hole_in_the_middle_is_found_where_bounds_and_mean_are_right():
    # The jitter of Oban that passed a test of its bounds: 9 to 11 s, and never 9.5 to 10.5.
    rng = random.Random(1)
    drawn_s = np.array([10 + rng.choice([-1, 1]) * rng.uniform(0.5, 1) for _ in range(2000)])
    law = delay_law(Backoff(Fixed(9), Additive(2.0)), 1)
    assert ks_fit(drawn_s, law).distance == pytest.approx(0.25, abs=0.03)
    assert ks_fit(drawn_s, law).p < 1e-6


def test_the_distance_is_scipys_where_the_law_has_no_steps():
    from scipy.stats import kstest, uniform

    drawn_s = FULL.delays(1, np.random.default_rng(3), 500)
    expected = kstest(drawn_s, uniform(0, 10).cdf)
    found = ks_fit(drawn_s, delay_law(FULL, 1))
    assert found == pytest.approx((expected.statistic, expected.pvalue), rel=1e-9)


def test_a_pile_at_the_cap_is_part_of_the_law():
    piled = Backoff(Fixed(10), Additive(4.0), cap_s=13.0, cap_after_jitter=True)
    law = delay_law(piled, 1)
    assert law.below(np.array([13.0])) == pytest.approx([0.75])
    assert law.at(np.array([13.0])) == pytest.approx([1.0])


@pytest.mark.parametrize("name", ["aws-decorrelated", "polly-decorrelated-v2"])
def test_laws_without_a_closed_form_say_so(name):
    assert delay_law(PRESETS[name].policy, 3).exact is False
    assert delay_law(PRESETS["sidekiq"].policy, 3).exact is True


def test_the_quadrature_of_pollys_delays_agrees_with_a_grid_of_its_own_uniforms():
    policy = PRESETS["polly-decorrelated-v2"].policy
    spread = policy.spread(3)
    grid = (np.arange(400) + 0.5) / 400
    delays_s = np.sort([spread.at((u, v)) for u in grid[::4] for v in grid])
    at_s = np.linspace(*policy.support(3), 50)
    shares = np.searchsorted(delays_s, at_s, side="right") / len(delays_s)
    assert delay_law(policy, 3).at(at_s) == pytest.approx(shares, abs=0.005)


def test_a_stretched_law_is_that_of_delays_so_many_times_as_long():
    law, twice = delay_law(FULL, 1).stretched(2.0), delay_law(Backoff(Fixed(20), Full()), 1)
    at_s = np.linspace(0, 25, 60)
    assert law.at(at_s) == pytest.approx(twice.at(at_s))


def test_the_share_between_two_edges_is_what_the_law_says():
    assert delay_law(FULL, 1).between([0, 1, 5, 20]) == pytest.approx([0.1, 0.4, 0.5])


def test_a_policy_of_ones_own_has_no_law_and_is_none_the_worse_for_it():
    assert delay_law(Own(), 1) is None
    fit = delay_fit({"own": Own(), "full": FULL}, n=200)
    assert fit.table.groupby("policy")["law"].unique().map(list).to_dict() == {"own": ["none"], "full": ["exact"]}
    assert "3 more have no law to be held against" in fit.verdict
    assert math.isnan(fit.table["p"].iloc[0])


def test_a_verdict_names_the_policy_that_does_not_keep_its_promise(monkeypatch):
    from tem_sim.analysis import delay_fit as module

    said = delay_law(FULL, 1)
    wrong = DelayLaw(lambda x: said.at(x / 1.1), lambda x: said.below(x / 1.1))
    monkeypatch.setattr(module, "delay_law", lambda policy, retry: wrong)
    fit = delay_fit({"full": dataclasses.replace(FULL, max_retries=1)}, n=5000)
    assert fit.verdict.startswith("1 of 1 delays are NOT distributed as their policy promises; furthest off is retry 1")


def test_the_fit_looks_at_each_retry_that_the_policy_makes():
    fit = delay_fit(jitters(max_retries=2), n=100, retries=4)
    assert fit.table.groupby("policy")["retry"].max().eq(2).all()
    assert fit.table.loc[fit.table["policy"] == "full", "expected_mean_s"].tolist() == [5.0, 10.0]
    assert Backoff(Exponential(10.0), Full()).mean_s(2) == 10.0

"""What a jitter is worth: the order of the jitters, matched means, and the numbers on paper."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_catalogue import any_policy

from tem_sim.analysis.burst_theory import expected_max
from tem_sim.analysis.delay_law import delay_law
from tem_sim.analysis.jitter import CONFIGURED, MATCHED, jitter_study, stretches
from tem_sim.analysis.jitter_by_n import peak_by_n
from tem_sim.analysis.lineup import jitters
from tem_sim.analysis.ticks import Tick
from tem_sim.pipeline.backoff import Backoff, Exponential, Fixed, Full
from tem_sim.pipeline.presets import PRESETS

N = 4_000


@pytest.fixture(scope="module")
def study():
    return jitter_study(n=N, retries=4, seeds=5)


def peaks(study, means, column="peak_1s"):
    table = study.table[study.table["means"] == means]
    return table.set_index("policy")[column]


def test_without_jitter_all_come_back_together_and_full_jitter_spreads_more_than_equal(study):
    found = peaks(study, CONFIGURED)
    assert found["none"] == N
    assert N > found["proportional"] > found["equal"] > found["full"] > N / 40


def test_matched_policies_wait_equally_long_on_average(study):
    assert peaks(study, MATCHED, "mean_delay_s").to_numpy() == pytest.approx(np.full(6, (10 + 20 + 40 + 80) / 4))
    assert peaks(study, CONFIGURED, "mean_delay_s")[["none", "equal", "full"]].tolist() == [37.5, 28.125, 18.75]


def test_at_equal_means_full_jitter_gains_what_it_was_short_of(study):
    configured, matched = (peaks(study, means) for means in (CONFIGURED, MATCHED))
    assert peaks(study, MATCHED, "stretch")[["none", "equal", "full"]].tolist() == pytest.approx([1, 4 / 3, 2])
    # Twice the width is half the peak.
    assert matched["full"] == pytest.approx(configured["full"] / 2, rel=0.06)
    assert matched["none"] == configured["none"]


@pytest.mark.parametrize(("policy", "width_s"), [("additive", 5.0), ("equal", 5.0), ("full", 10.0)])
def test_the_first_retrys_peak_is_the_one_on_paper(study, policy, width_s):
    row = study.by_retry.query("policy == @policy and means == @CONFIGURED and retry == 1").iloc[0]
    for column, bins in (("peak_100ms", width_s * 10), ("peak_1s", width_s)):
        paper = expected_max(N, np.full(round(bins), 1 / bins))
        assert row[column] == pytest.approx(paper, rel=0.03)


def test_a_later_retry_is_spread_wider_and_peaks_lower(study):
    full = study.by_retry.query("policy == 'full' and means == @CONFIGURED")
    assert full["spread_s"].is_monotonic_increasing
    assert full["peak_1s"].is_monotonic_decreasing
    assert full["spread_s"].iloc[0] == pytest.approx(8.0, rel=0.03)
    assert study.by_retry.query("policy == 'none'")["spread_s"].eq(0).all()


def test_every_estimate_has_its_interval_and_no_bound_leaves_what_is_possible(study):
    for table in (study.table, study.by_retry):
        for column in ("peak_100ms", "peak_1s"):
            assert (table[f"{column}_low"] <= table[column]).all()
            assert (table[column] <= table[f"{column}_high"]).all()
    assert study.by_retry["peak_1s_high"].max() <= N


def test_differences_from_the_reference_are_paired_and_judged_together(study):
    full = study.compared.query("policy == 'full' and means == @CONFIGURED").iloc[0]
    found = peaks(study, CONFIGURED)
    assert full["difference"] == pytest.approx(found["full"] - found["none"])
    assert full["low"] < full["difference"] < full["high"]
    assert study.compared["significant"].all()
    assert set(study.compared["reference"]) == {"none"}


def test_the_delays_are_held_against_their_laws(study):
    assert len(study.fit) == 6 * 4
    assert not study.fit["refused"].any()


def test_the_bins_hold_every_retry_of_the_first_seed(study):
    assert study.bins.groupby(["policy", "means", "retry"])["starts"].sum().eq(N).all()
    first = study.rows.query("seed == 1 and retry == 2 and policy == 'full' and means == @CONFIGURED")
    shown = study.bins.query("retry == 2 and policy == 'full' and means == @CONFIGURED")
    assert shown["starts"].max() == first["peak_1s"].iloc[0]


def test_the_verdict_names_the_best_and_the_worst_with_their_numbers(study):
    assert study.verdict.startswith("Of 4,000 rows that fail together, at most ")
    assert "under decorrelated, and 4,000 under none." in study.verdict
    assert "With all mean delays as long as those of none," in study.verdict
    assert "5 replications" in study.notes[0]


def test_a_tick_gathers_what_jitter_spread():
    named = {"full": Backoff(Fixed(2.0), Full(), name="full")}
    ticked, free = (jitter_study(named, n=1000, retries=1, seeds=2, tick=tick) for tick in (Tick(5.0), None))
    assert ticked.table["peak_tick"].tolist() == [1000, 1000]
    assert "peak_tick" not in free.table
    assert ticked.table["peak_100ms"].iloc[0] > 10 * free.table["peak_100ms"].iloc[0]


def test_a_budget_ends_what_the_policy_would_go_on_with():
    study = jitter_study(["stamina"], n=500, retries=9, seeds=2, fail_s=2.5)
    started = study.bins.query("means == @CONFIGURED").groupby("retry")["starts"].sum()
    assert started[1] == 500
    assert 0 < started[9] < 500


def test_a_policy_that_does_not_wait_cannot_be_matched_and_that_is_said():
    named = {"full": Backoff(Exponential(1.0), Full()), "at once": Backoff(Fixed(0.0))}
    study = jitter_study(named, n=200, retries=2, seeds=2)
    assert study.table.query("policy == 'at once'")["means"].tolist() == [CONFIGURED]
    assert study.notes[-1] == "Not matched, since they do not wait at all: at once."
    assert study.table.query("policy == 'at once'")["peak_1s"].tolist() == [400]


def test_a_reference_must_be_one_of_the_policies():
    with pytest.raises(ValueError, match="reference: must be one of none, additive"):
        jitter_study(n=10, reference="nobody")


def test_so_many_rows_need_fewer_replications():
    study = jitter_study({"none": Backoff(Fixed(1.0))}, n=1_000_000, retries=1)
    assert study.table["seeds"].unique().tolist() == [3]
    assert study.table["peak_1s"].unique().tolist() == [1_000_000]


@settings(max_examples=25)
@given(st.lists(any_policy(), min_size=2, max_size=3), st.integers(1, 4))
def test_stretched_to_the_reference_all_policies_have_its_mean_delay(policies, retries):
    named = {str(number): policy for number, policy in enumerate(policies)}
    factors = stretches(named, retries, "0")
    made = min(retries, *(retries if policy.max_retries is None else policy.max_retries for policy in policies))
    sums_s = {name: sum(named[name].mean_s(k) for k in range(1, made + 1)) for name in named}
    for name, factor in factors.items():
        if sums_s[name] > 1e-6 * made:
            assert factor * sums_s[name] == pytest.approx(sums_s["0"])
        else:
            assert np.isnan(factor)


# --- policy × number of rows


def test_without_jitter_the_peak_is_all_rows_and_with_it_a_share_that_settles():
    table = peak_by_n(["celery-retry", "sidekiq"], ns=(1_000, 100), retries=1, seeds=4).table
    shares = table.set_index(["policy", "n"])["peak_share"]
    assert shares["celery-retry"].tolist() == [1.0, 1.0]
    # Sidekiq's first delay is one of ten whole seconds.
    assert shares["sidekiq", 100] > shares["sidekiq", 1_000] > 0.1
    assert shares["sidekiq", 1_000] == pytest.approx(expected_max(1_000, np.full(10, 0.1)) / 1_000, rel=0.05)


def test_the_peak_of_fewer_rows_is_that_of_a_storm_of_so_many():
    few = peak_by_n({"full": jitters()["full"]}, ns=(50,), seeds=3).table
    both = peak_by_n({"full": jitters()["full"]}, ns=(50, 400), seeds=3).table
    assert both.iloc[0].to_dict() == few.iloc[0].to_dict()


def test_all_presets_can_be_compared():
    result = peak_by_n(list(PRESETS), ns=(50,), seeds=2)
    assert len(result.table) == len(PRESETS)
    assert "the calmest of 32; under" in result.verdict
    assert delay_law(PRESETS["urllib3"].policy, 1) is not None

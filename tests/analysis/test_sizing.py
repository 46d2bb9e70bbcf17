"""The smallest policy that outlives an outage: minimal, ready to paste, and honest where there is none."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tem_sim.analysis.least import least, three_digits
from tem_sim.analysis.outlived import expected_share
from tem_sim.analysis.sizing import Ask, Option, size, smallest
from tem_sim.scenario.loader import loads
from tem_sim.scenario.policy import ExponentialBackoff


def share(outage_s, fail_s=0.0, period_s=None, **keys):
    policy = ExponentialBackoff.model_validate({"jitter": "full", "max_retries": 5} | keys).policy()
    found = expected_share(policy, np.array([outage_s]), fail_s, period_s)
    return float(found.value[0] + found.error[0])


def of(sizing, change):
    return sizing.table.set_index("change").loc[change]


@pytest.fixture(scope="module")
def two_minutes():
    return size("2m", 0.01, base="10s", cap="5m", max_retries=4)


def test_one_retry_less_does_not_outlive_the_outage(two_minutes):
    row, fixed = of(two_minutes, "max_retries"), {"base": 10.0, "cap": 300.0}
    retries = int(row["max_retries"])
    assert share(120.0, max_retries=retries, **fixed) <= 0.01 < share(120.0, max_retries=retries - 1, **fixed)
    assert row[["base_s", "cap_s"]].tolist() == [10.0, 300.0]


def test_a_base_shorter_by_its_last_digit_does_not_outlive_the_outage(two_minutes):
    row, fixed = of(two_minutes, "base"), {"cap": 300.0, "max_retries": 4}
    assert share(120.0, base=row["base_s"], **fixed) <= 0.01 < share(120.0, base=row["base_s"] - 0.1, **fixed)


def test_a_cap_shorter_by_its_last_digit_does_not_outlive_the_outage():
    row, fixed = of(size("2m", 0.01, base="10s", max_retries=7, cap="20s"), "cap"), {"base": 10.0, "max_retries": 7}
    step_s = 0.1 if row["cap_s"] < 100 else 1.0
    assert share(120.0, cap=row["cap_s"], **fixed) <= 0.01 < share(120.0, cap=row["cap_s"] - step_s, **fixed)


def test_the_tick_and_the_time_to_fail_count(two_minutes):
    ask = Ask(outage_s=120.0, p_extinct=0.01, fail_s=1.0, period_s=5.0, latency_s=None, seed=1)
    given = Option(
        "as given", {"growth": "exponential", "base": 10.0, "cap": 300.0, "jitter": "full", "max_retries": 4}
    )
    base_s = smallest(given, "base", ask).keys["base"]
    assert base_s < of(two_minutes, "base")["base_s"]
    fixed = {"fail_s": 1.0, "period_s": 5.0, "cap": 300.0, "max_retries": 4}
    assert share(120.0, base=base_s, **fixed) <= 0.01 < share(120.0, base=base_s - 0.1, **fixed)


def test_what_may_be_lost_less_often_takes_more(two_minutes):
    strict = size("2m", 1e-3, base="10s", cap="5m", max_retries=4)
    for key in ("max_retries", "base"):
        column = "max_retries" if key == "max_retries" else "base_s"
        assert of(strict, key)[column] > of(two_minutes, key)[column]


def test_the_recommended_policy_is_ready_for_use_and_to_paste(two_minutes):
    pasted = loads(f"scenario: pasted\narrivals: {{kind: burst, events: 1}}\n{two_minutes.yaml}")
    assert pasted.policy() == two_minutes.policy
    best = two_minutes.table[two_minutes.table["recommended"]].iloc[0]
    assert best["change"] == two_minutes.table[two_minutes.table["fits"]].sort_values("after_mean_s")["change"].iloc[0]
    assert f"Recommended: change {best['change']};" in two_minutes.verdict
    assert float(expected_share(two_minutes.policy, np.array([120.0])).value[0]) == best["expected_share"] <= 0.01


def test_the_policy_as_given_stands_beside_what_it_should_be(two_minutes):
    given = of(two_minutes, "as given")
    assert given["expected_share"] == pytest.approx(share(120.0, base=10.0, cap=300.0, max_retries=4), abs=1e-6)
    assert not given["outlives"]
    assert given[["horizon_min_s", "horizon_mean_s", "horizon_max_s"]].tolist() == [0.0, 75.0, 150.0]
    assert two_minutes.verdict.startswith(
        "An outage of 120 s makes 0.38 of the events it catches EXTINCT (retry horizon 0 s to 150 s)."
    )


def test_what_suffices_is_left_as_it_is_however_little_would_do():
    sizing = size("30s", 0.001, jitter="none", max_retries=5)
    assert "Leave it as it is" in sizing.verdict
    assert sizing.table.query("recommended")["change"].tolist() == ["as given"]
    # 10 + 20 s.
    assert of(sizing, "max_retries")["max_retries"] == 2


def test_where_no_value_suffices_it_is_said_and_nothing_is_recommended():
    sizing = size("1d", 0.1, base="10s", cap="20s", max_retries=2, jitter="none")
    assert "no number of retries up to 200 will do; no base will do; no cap will do" in sizing.verdict
    assert "Nothing of this kind outlives it" in sizing.verdict
    assert (sizing.policy, sizing.yaml, sizing.table["change"].tolist()) == (None, "", ["as given"])


def test_a_limit_on_latency_rules_out_what_waits_too_long_after_the_outage():
    bound = size("1m", 0.01, base="10s", max_retries=3, added_latency="10s")
    assert bound.policy is None
    assert bound.table["outlives"].any()
    assert "None of them adds as little latency as 10 s for 95 % of the events; closest is" in bound.verdict
    fits = size("1m", 0.01, base="10s", max_retries=4, cap="20s", added_latency="25s")
    assert fits.table.query("recommended")["change"].tolist() == ["max_retries"]
    assert of(fits, "max_retries")["after_p95_s"] <= 25.0


def test_other_growths_and_jitters_are_written_as_in_a_scenario():
    sizing = size("1m", 0.01, growth="linear", step="5s", jitter={"kind": "additive", "width": "2s"}, max_retries=2)
    assert "step: 5s, " in sizing.yaml or sizing.yaml.endswith("step: 5s}\n")
    assert sizing.policy.growth.step_s == 5.0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"p_extinct": 0.0}, "p_extinct: must be above 0"),
        ({"outage": "soon"}, "must be a duration"),
        ({"jitter": "fulll"}, "fulll"),
        ({"step": "5s"}, "step: Extra inputs"),
        ({"growth": "explicit"}, "delays: Field required"),
        ({"base": "1m", "cap": "10s"}, "cap: must be at least the first wait"),
    ],
)
def test_a_mistake_is_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        size(**wrong)


# --- the search


@given(st.lists(st.integers(0, 100), min_size=1, max_size=30, unique=True).map(sorted), st.integers(-1, 101))
def test_the_least_value_that_is_enough_is_found(values, bound):
    expected = next((value for value in values if value >= bound), None)
    assert least(values, lambda value: value >= bound) == expected


@settings(max_examples=40)
@given(st.floats(1e-3, 1e3), st.floats(1.0, 1e4))
def test_between_two_ends_lie_all_numbers_of_three_digits(low, factor):
    values = three_digits(low, low * factor)
    assert values == sorted(set(values))
    assert (values[0], values[-1]) == (low, low * factor)
    assert all(float(f"{value:.2e}") == value for value in values[1:-1])
    assert all(after <= before * 1.0101 for before, after in itertools.pairwise(values[1:-1]))

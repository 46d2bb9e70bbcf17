"""Which outages a policy outlives: on paper, drawn, and in the simulator itself."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tem_sim.analysis.lineup import jitters
from tem_sim.analysis.outage_draws import caught
from tem_sim.analysis.outlived import expected_share, longest_outage_s, seconds_words
from tem_sim.analysis.statistics import wilson
from tem_sim.analysis.survival import outage_survival
from tem_sim.analysis.ticked import under_tick
from tem_sim.pipeline.backoff import Backoff, Decorrelated, Equal, Exponential, Fixed, Full, NoJitter
from tem_sim.pipeline.presets import PRESETS
from tem_sim.scenario.models import Scenario
from tem_sim.sim.world import simulate

JITTERS = {"none": NoJitter(), "equal": Equal(), "full": Full()}
SHORT = {name: Backoff(Exponential(1.0), jitter, max_retries=3, name=name) for name, jitter in JITTERS.items()}


def within(share, events, level, expected, error=0.0):
    low, high = wilson(round(share * events), events, level)[1:3]
    return low - error <= expected <= high + error


# --- the simulator


def simulated_fates(jitter, outage_s, retry_every_s, phase_s, seed, events=120):
    """Return whether each event that a whole simulation's outage caught is EXTINCT."""
    scenario = {
        "scenario": "outage",
        "horizon": "5m",
        "arrivals": {"kind": "poisson", "rate": f"{events / outage_s}/s", "from": "5s", "until": f"{5 + outage_s}s"},
        "pipeline": {"backoff": {"base": "1s", "jitter": jitter, "max_retries": 3}, "requeue_limit": "off"},
        "workers": {"count": 4, "concurrency": 25},
        "beat": {"retry_every": retry_every_s, "phase": phase_s},
        "handler": {"service_time": "1ms", "fail_time": "1ms"},
        "faults": [{"kind": "outage", "at": "5s", "for": f"{outage_s}s"}],
    }
    run = simulate(Scenario.model_validate(scenario), seed=seed)
    failed = run.attempts.loc[(run.attempts["attempt_no"] == 1) & (run.attempts["outcome"] == "error"), "event_id"]
    return (run.events.loc[run.events["event_id"].isin(failed), "status"] == "EXTINCT").tolist()


@pytest.mark.parametrize(
    ("jitter", "outage_s", "retry_every_s"),
    [("full", 12.0, 0.1), ("equal", 9.0, 2.0)],
)
def test_the_simulator_kills_the_share_that_is_on_paper(jitter, outage_s, retry_every_s):
    # On paper the grid lies anywhere under the outage; with few ticks in it, where it lies decides much.
    phases_s = [(part + 0.5) / 4 * retry_every_s for part in range(4)]
    runs = [simulated_fates(jitter, outage_s, retry_every_s, at_s, seed) for seed, at_s in enumerate(phases_s, 1)]
    fates = np.concatenate(runs)
    # A submission takes 8 ms to its first call, which is failed a millisecond later.
    paper = expected_share(SHORT[jitter], np.array([outage_s]), fail_s=0.004, period_s=retry_every_s)
    assert within(np.mean(fates), len(fates), 0.99, float(paper.value[0]), error=0.01)


# --- drawn, one by one


@settings(max_examples=15)
@given(
    st.sampled_from([*SHORT, "decorrelated", "stamina", "celery-autoretry", "pg-boss"]),
    st.floats(0.3, 40.0),
    st.sampled_from([(0.0, None), (0.2, None), (0.05, 1.5)]),
    st.integers(1, 1000),
)
def test_the_share_drawn_is_the_one_on_paper(name, outage_s, late, seed):
    grown = Backoff(Fixed(1), Decorrelated(), cap_s=8.0, max_retries=4)
    policy = SHORT.get(name) or (grown if name == "decorrelated" else PRESETS[name].policy)
    fail_s, period_s = late
    drawn = caught(policy, outage_s, 4_000, seed, fail_s=fail_s, period_s=period_s)
    paper = expected_share(policy, np.array([outage_s]), fail_s, period_s)
    assert within(drawn.extinct.mean(), 4_000, 0.99999, float(paper.value[0]), float(paper.error[0]) + 1e-9)


def test_an_event_is_extinct_or_got_through_and_never_made_more_attempts_than_allowed():
    drawn = caught(SHORT["full"], 6.0, 2_000, fail_s=0.1)
    assert np.array_equal(drawn.extinct, np.isnan(drawn.after_s))
    assert drawn.attempts.max() == 4
    assert (drawn.attempts[drawn.extinct] == 4).all()
    # Who gets through does so by one more wait than it had failures.
    assert np.nanmax(drawn.after_s) <= 4.0


def test_a_budget_makes_an_event_extinct_before_its_retries_are_used_up():
    stamina = PRESETS["stamina"].policy
    drawn = caught(stamina, 300.0, 2_000, fail_s=3.0)
    assert (drawn.attempts[drawn.extinct] < stamina.max_retries + 1).any()


def test_all_policies_and_lengths_share_their_luck():
    one, other = (caught(SHORT["none"], length_s, 100) for length_s in (20.0, 40.0))
    assert np.all(one.extinct <= other.extinct)


# --- on paper


def test_without_jitter_the_share_is_what_the_last_attempt_leaves_of_the_outage():
    shares = expected_share(SHORT["none"], np.array([5.0, 7.0, 14.0, 70.0]))
    assert shares.value.tolist() == [0.0, 0.0, 0.5, 0.9]


def test_a_policy_without_chance_is_followed_through_a_budget_of_days():
    sqs = PRESETS["sqs"].policy
    assert expected_share(sqs, np.array([2 * sqs.budget_s])).value == pytest.approx([0.5])


@settings(max_examples=10)
@given(st.sampled_from(list(SHORT)), st.floats(1e-4, 0.3), st.sampled_from([(0.0, None), (0.1, 0.5)]))
def test_the_longest_outage_outlived_is_outlived_and_one_a_hundredth_longer_is_not(name, p_extinct, late):
    longest_s = longest_outage_s(SHORT[name], p_extinct, *late)
    shares = expected_share(SHORT[name], np.array([longest_s, 1.01 * longest_s]), *late).value
    assert shares[0] <= p_extinct < shares[1]


def test_whoever_never_gives_up_outlives_everything_and_whoever_does_not_wait_nothing():
    assert longest_outage_s(PRESETS["temporal"].policy) == math.inf
    assert longest_outage_s(Backoff(Fixed(0.0), max_retries=2)) == 0.0


@settings(max_examples=30)
@given(st.sampled_from(list(SHORT)), st.sampled_from([0.3, 1.0, 7.0]), st.sampled_from([0.0, 0.05]))
def test_under_a_tick_a_later_wait_is_whole_periods_from_tick_to_tick(name, period_s, fail_s):
    lived = under_tick(SHORT[name], period_s, fail_s)
    rng = np.random.default_rng(1)
    first, later = lived.delays(1, rng, 200), lived.delays(2, rng, 200)
    assert np.all((first >= SHORT[name].support(1)[0]) & (first <= SHORT[name].support(1)[1] + period_s))
    periods = (later + fail_s) / period_s
    assert periods == pytest.approx(np.rint(periods))
    assert periods.min() >= 1
    assert lived.support(2)[0] <= later.min()
    assert later.max() <= lived.support(2)[1]


# --- the study


@pytest.fixture(scope="module")
def survival():
    return outage_survival(SHORT, ["2s", "5s", 12, "1m"], n=4_000)


def test_the_share_grows_with_the_outage_and_is_least_without_jitter(survival):
    shares = survival.table.pivot(index="outage_s", columns="policy", values="expected_share")
    assert all(shares[name].is_monotonic_increasing for name in shares)
    assert (shares["none"] <= shares["equal"] + 1e-12).all()
    assert (shares["equal"] <= shares["full"] + 1e-12).all()


def test_each_share_drawn_has_its_interval_with_the_one_on_paper_nearby(survival):
    table = survival.table
    assert (table["extinct_share_low"] <= table["extinct_share"]).all()
    assert (table["extinct_share"] <= table["extinct_share_high"]).all()
    assert table["extinct_share"].to_numpy() == pytest.approx(table["expected_share"].to_numpy(), abs=0.03)


def test_the_horizons_tell_how_far_the_retries_reach_and_what_is_outlived(survival):
    horizons = survival.horizons.set_index("policy")
    assert horizons.loc["equal", ["min_s", "mean_s", "max_s"]].tolist() == [3.5, 5.25, 7.0]
    assert horizons.loc["none", "survives_s"] == pytest.approx(7.0, rel=0.002)
    assert horizons["survives_s"].is_monotonic_decreasing
    assert survival.verdict.startswith(
        "The longest outage in which at most 0.001 of the events caught end EXTINCT: none 7"
    )


def test_the_lengths_are_chosen_to_span_the_horizons_where_none_are_given():
    table = outage_survival(SHORT, n=50).table
    assert table["outage_s"].min() < 1.0
    assert table["outage_s"].max() == 14.0


def test_a_policy_that_never_gives_up_is_not_drawn_and_never_extinct():
    found = outage_survival(["temporal", "stamina"], ["10s"], n=200)
    endless = found.table.query("policy == 'temporal'").iloc[0]
    assert (endless["expected_share"], endless["n"]) == (0.0, 0)
    assert math.isnan(endless["extinct_share"])
    assert "temporal any" in found.verdict
    with pytest.raises(ValueError, match="outages: must be given"):
        outage_survival("temporal")


def test_where_a_tick_cannot_be_told_exactly_the_notes_say_so():
    found = outage_survival({"grown": jitters()["decorrelated"]}, ["3m"], n=200, tick="5s", fail_time="50ms")
    assert found.notes[-1] == "On paper a tick comes half a period late each time for: grown."
    assert found.table["expected_error"].iloc[0] > 0


@pytest.mark.parametrize(
    ("length_s", "words"), [(0.25, "0.25 s"), (150.0, "150 s"), (600.0, "10 min"), (9e4, "25 h"), (math.inf, "any")]
)
def test_lengths_are_told_in_a_unit_that_suits_them(length_s, words):
    assert seconds_words(length_s) == words

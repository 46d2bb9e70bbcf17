"""Policies meet the same outage: what is counted, who is in the race, who beats whom, what the verdict says."""

import math
from dataclasses import replace

import numpy as np
import pytest
from small_storm import storm

from tem_sim.analysis.latency import latencies
from tem_sim.pipeline.presets import PRESETS
from tem_sim.sim.world import simulate
from tem_sim.studies import bakeoff as study
from tem_sim.studies.bakeoff import MEASURES, OWN, bakeoff
from tem_sim.studies.cells import Row

# What arrives at 1 s meets an outage until 6 s: one retry after 1 s is in vain, and 7 s are more than is needed.
POLICIES = {
    "hasty": "{growth: fixed, base: 1s, max_retries: 1}",
    "patient": "{growth: fixed, base: 7s, jitter: none, max_retries: 3}",
    "the same": "{growth: fixed, base: 7s, jitter: none, max_retries: 9}",
}


@pytest.fixture(scope="module")
def baked():
    return bakeoff(storm(), POLICIES, seeds=3, jobs=1)


def row(result, policy):
    return result.table.set_index("policy").loc[policy]


# --- with the simulator


def test_the_scenarios_own_policy_runs_beside_the_others(baked):
    assert set(baked.table["policy"]) == {OWN, *POLICIES}
    assert row(baked, OWN)["max_retries"] == 8


def test_what_a_policy_loses_counts_among_the_events_that_the_outage_hit(baked):
    assert (row(baked, "hasty")["extinct_share"], row(baked, "patient")["extinct_share"]) == (1.0, 0.0)
    assert baked.table.set_index("policy")["in_race"].to_dict() == {
        OWN: True,
        "hasty": False,
        "patient": True,
        "the same": True,
    }
    assert math.isnan(row(baked, "hasty")["added_latency_s"])


def test_latency_is_in_excess_of_the_same_seeds_without_the_outage(baked):
    quiet = storm(faults=[])
    with_outage, without = (latencies(simulate(s, 2))["processed_s"].mean() for s in (storm(), quiet))
    assert baked.rows.values(OWN, "added_latency_s")[2] == pytest.approx(with_outage - without, rel=1e-12)


def test_the_peak_is_of_calls_in_a_second_after_the_outage(baked):
    run = simulate(storm(), 1)
    started_s = run.attempts["started_s"]
    per_second = np.histogram(started_s, np.arange(6.0, run.end_s + 1.0))[0]
    assert baked.rows.values(OWN, "peak_per_s")[1] == per_second.max()


def test_policies_that_do_the_same_do_not_beat_each_other(baked):
    assert row(baked, "patient")["beaten_by"] == row(baked, "the same")["beaten_by"] != "patient"
    for measure in MEASURES:
        assert row(baked, "patient")[measure] == row(baked, "the same")[measure]


def test_a_control_of_its_own_is_run_for_each_policy_where_luck_alone_can_make_attempts_fail():
    failing = storm(handler={"failure_rate": 0.3})
    one = bakeoff(failing, {"patient": POLICIES["patient"]}, seeds=[4], jobs=1)
    quiet = storm(handler={"failure_rate": 0.3}, faults=[], pipeline={"backoff": {**FIXED_7S}})
    usual_s = latencies(simulate(quiet, 4))["processed_s"].mean()
    hit = storm(handler={"failure_rate": 0.3}, pipeline={"backoff": {**FIXED_7S}})
    assert one.rows.values("patient", "added_latency_s")[4] == pytest.approx(
        latencies(simulate(hit, 4))["processed_s"].mean() - usual_s, rel=1e-12
    )


FIXED_7S = {"growth": "fixed", "base": "7s", "jitter": "none", "max_retries": 3}


# --- presets and their limits


def test_all_presets_run_with_their_own_limits_or_with_one_for_all():
    for common in (None, 12):
        entrants = study._entrants(storm(), None, common)
        assert set(entrants) == {OWN, *PRESETS}
        for name, preset in PRESETS.items():
            policy = entrants[name].policy()
            assert policy.max_retries == (preset.policy.max_retries if common is None else 12)
            assert policy.budget_s == (preset.policy.budget_s if common is None else None)


# --- from the runs to the front and the words


def places(monkeypatch, where):
    """Let each policy's runs have peak, added latency and share lost as a function of (policy, seed) says."""

    def run_cells(cells, *_, **__):
        made = []
        for each in cells:
            peak, added_s, lost = where(each.variant, each.seed)
            values = {"peak_per_s": peak, "latency_s": added_s, "extinct_share": lost, "unfinished_share": 0.0}
            made.append(Row(each.variant, each.seed, values | {"drain_s": added_s, "attempts_per_event": 2.0}))
        return made

    monkeypatch.setattr(study, "run_cells", run_cells)
    monkeypatch.setattr(study, "_in_excess", lambda row, _: replace(row, values=with_latency(row.values)))


def with_latency(values):
    return values | {"added_latency_s": values["latency_s"]}


def test_the_front_is_who_is_in_the_race_and_surely_beaten_by_nobody(monkeypatch):
    luck = np.random.default_rng(5).normal(0, 1, (7, 11))
    means = {OWN: (50, 20, 0.0), "a": (30, 30, 0.0), "b": (55, 22, 0.005), "c": (30.2, 30.1, 0.0), "d": (10, 2, 0.3)}
    names = [*means]

    def where(name, seed):
        peak, added_s, lost = means[name]
        return peak + luck[names.index(name), seed], added_s + luck[names.index(name) + 2, seed], lost

    places(monkeypatch, where)
    table = bakeoff(storm(), dict.fromkeys("abcd", POLICIES["patient"]), seeds=10).table.set_index("policy")
    assert table["in_race"].to_dict() == {OWN: True, "a": True, "b": True, "c": True, "d": False}
    # c is a little worse than a, but by less than luck makes; b is worse than the scenario's own in both.
    assert table["on_front"].to_dict() == {OWN: True, "a": True, "b": False, "c": True, "d": False}
    assert table["beaten_by"].to_dict() == {OWN: "", "a": "", "b": OWN, "c": "", "d": ""}


def test_the_verdict_names_the_ends_of_the_front_and_the_scenarios_own_place(monkeypatch):
    means = {OWN: (60.0, 25.0, 0.0), "quick": (50.0, 20.0, 0.0), "gentle": (10.0, 90.0, 0.01), "loser": (1.0, 1.0, 0.5)}
    places(monkeypatch, lambda name, seed: means[name])
    result = bakeoff(storm(), dict.fromkeys(["quick", "gentle", "loser"], POLICIES["patient"]), seeds=4)
    assert result.verdict == (
        "3 of 4 policies lose at most 1 % of the events that the outage hit. 2 of these are on the front: from the "
        "quickest, quick (+20 [20, 20] s, 50 [50, 50] calls/s), to the gentlest, gentle (+90 [90, 90] s, 10 [10, 10] "
        "calls/s). The scenario's own policy is beaten by quick (+25 [25, 25] s, 60 [60, 60] calls/s)."
    )
    assert result.table["policy"].tolist() == ["quick", "gentle", OWN, "loser"]


def test_when_all_lose_too_much_the_verdict_says_who_loses_least(monkeypatch):
    places(monkeypatch, lambda name, seed: (5.0, 5.0, 0.4 if name == "a" else 0.9))
    result = bakeoff(storm(), {"a": POLICIES["hasty"]}, seeds=2)
    assert result.verdict.startswith("Every policy loses more than 1 % of the events hit; a (+5 [5, 5] s")
    assert not result.table["on_front"].any()


def test_a_scenario_without_an_outage_is_refused():
    with pytest.raises(ValueError, match="must have one outage among its faults, got 0"):
        bakeoff(storm(faults=[]), POLICIES, seeds=1)

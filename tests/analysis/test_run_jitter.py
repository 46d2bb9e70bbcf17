"""Retry peaks of whole simulations, against counts by hand, and booked delays against their policy."""

import dataclasses

import pytest
from frame_builder import story

from tem_sim.analysis.run_jitter import retry_peaks, run_delay_fit, storm_peaks
from tem_sim.analysis.storm import retry_peak_per_s
from tem_sim.scenario.models import Scenario
from tem_sim.sim.world import simulate


def simulated(seed=1, **pipeline):
    """A hundred and fifty events fail together and go on failing for a minute."""
    scenario = {
        "scenario": "together",
        "horizon": "2m",
        "arrivals": {"kind": "burst", "at": "1s", "events": 150},
        "pipeline": {"backoff": {"base": "2s", "jitter": "full", "max_retries": 3}, "requeue_limit": "off"} | pipeline,
        "workers": {"count": 4, "concurrency": 16},
        "beat": {"retry_every": "500ms"},
        "handler": {"service_time": "1ms", "fail_time": "1ms"},
        "faults": [{"kind": "outage", "at": "0s", "for": "60s"}],
    }
    return simulate(Scenario.model_validate(scenario), seed=seed)


@pytest.fixture(scope="module")
def run():
    return simulated()


def test_peaks_are_counted_per_retry_number_and_for_all_together(run):
    peaks = retry_peaks(run).set_index("retry")
    assert peaks["starts"].tolist() == [450, 150, 150, 150]
    assert peaks.loc[0, "peak_1s"] == retry_peak_per_s(run)
    started_s = run.attempts.loc[run.attempts["attempt_no"] == 2, "started_s"]
    assert peaks.loc[1, "peak_1s"] == (started_s // 1.0).value_counts().max()
    # The delays before retry 1 lie within 2 s, and so within five ticks at most.
    assert 150 / 5 <= peaks.loc[1, "peak_tick"] < 75
    assert peaks["spread_s"].iloc[1:].is_monotonic_increasing


def test_retries_of_a_story_are_counted_where_they_started():
    tale = story()
    for number, at_s in enumerate((11.2, 11.4, 12.6), 1):
        tale.event(number).claim(1.0).error(1.05, 10.0).retry(11.1).claim(at_s).ok(at_s + 0.1)
    peaks = retry_peaks(tale.run()).set_index("retry")
    assert peaks.loc[1, ["starts", "peak_100ms", "peak_1s", "peak_tick"]].tolist() == [3, 1, 2, 3]


def test_a_run_without_retries_has_peaks_of_0():
    tale = story()
    tale.event(1).claim(1.0).ok(1.1)
    assert retry_peaks(tale.run())[["retry", "starts", "peak_1s", "peak_tick"]].to_numpy().tolist() == [[0, 0, 0, 0]]


def test_several_runs_give_intervals_and_variants_a_verdict(run):
    none = {"backoff": {"base": "2s", "jitter": "none", "max_retries": 3}}
    result = storm_peaks({"full": [run, simulated(2)], "none": simulated(**none)})
    together = result.table.query("retry == 0").set_index("variant")
    assert together.loc["none", "peak_1s"] == 150
    assert together.loc["full", "peak_1s_low"] < together.loc["full", "peak_1s"] < 130
    assert result.verdict.startswith("At most 150 retries start within 1 s in none; its fullest tick releases 150.")
    assert "The calmest is full, with" in result.verdict


def test_there_must_be_a_run():
    with pytest.raises(ValueError, match="runs: must be at least one"):
        storm_peaks([])


def test_the_delays_that_a_run_booked_are_those_of_its_policy(run):
    fit = run_delay_fit(run).table
    assert fit["n"].tolist() == [150, 150, 150]
    assert fit["law"].tolist() == ["exact"] * 3
    assert not fit["refused"].any()


def test_delays_that_were_booked_by_another_rule_are_refused(run):
    halved = run.attempts.assign(delay_s=run.attempts["delay_s"] / 2)
    fit = run_delay_fit(dataclasses.replace(run, attempts=halved))
    assert fit.table["refused"].all()
    assert fit.verdict.startswith("3 of 3 delays are NOT distributed as their policy promises")


def test_delays_that_grow_from_the_last_one_are_judged_at_the_first_only():
    grown = {"backoff": {"growth": "fixed", "base": "1s", "jitter": "decorrelated", "max_retries": 2}}
    assert run_delay_fit(simulated(**grown)).table["law"].tolist() == ["exact", "none"]

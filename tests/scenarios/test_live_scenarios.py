"""The scenarios that are small enough for a live run show what those that they extend show."""

from __future__ import annotations

import numpy as np
import pytest
from shipped import FOLDER, broken_checks, numbers, shipped

from tem_sim.analysis.backlog import backlog
from tem_sim.analysis.storm import retries_per_bin
from tem_sim.live.run import check_live
from tem_sim.scenario.loader import load
from tem_sim.scenario.time_scale import scaled

pytestmark = pytest.mark.xdist_group("shipped scenarios")

LARGE = {
    "live_retry_storm": "retry_storm",
    "live_worker_death": "worker_death",
    "live_broker_restart": "broker_restart",
}
SCALES = {"live_retry_storm": 0.25, "live_worker_death": 0.5, "live_broker_restart": 0.5}


@pytest.mark.parametrize("name", LARGE)
def test_a_small_one_differs_in_its_load_and_its_slots_alone(name: str) -> None:
    small, large = (load(FOLDER / f"{one}.yaml") for one in (name, LARGE[name]))
    assert small.faults == large.faults
    assert small.policy() == large.policy()
    assert (small.pipeline.lease_s, small.pipeline.sweep_after_s) == (
        large.pipeline.lease_s,
        large.pipeline.sweep_after_s,
    )


@pytest.mark.parametrize("name", LARGE)
def test_all_of_it_can_be_done_live_at_the_scale_that_its_comment_says(name: str) -> None:
    text, k = (FOLDER / f"{name}.yaml").read_text(), SCALES[name]
    assert f"tem-sim live conform scenarios/{name}.yaml --time-scale {k:g}" in text
    check_live(scaled(load(FOLDER / f"{name}.yaml"), k))


@pytest.mark.parametrize("name", LARGE)
def test_nothing_is_lost_and_no_check_is_broken(name: str) -> None:
    assert broken_checks(name) == frozenset()
    assert numbers(name)["processed"] == numbers(name)["events"]


def test_the_small_storm_has_the_waves_of_the_large_one() -> None:
    small, large = numbers("live_retry_storm"), numbers("retry_storm", "arrivals.events=1000")
    assert small["amplification"] == pytest.approx(large["amplification"], rel=0.1)
    assert 6 < small["amplification"] < 7
    assert small["latency_p50_s"] == pytest.approx(large["latency_p50_s"], rel=0.15)


def test_without_jitter_the_waves_part() -> None:
    spread, apart = (shipped("live_retry_storm", *one) for one in ((), ("pipeline.backoff.jitter=none",)))
    silent = [int((retries_per_bin(run)[5:31] == 0).sum()) for run in (spread, apart)]
    assert silent[0] == 0
    assert silent[1] > 10


def test_what_killed_workers_held_is_tried_again() -> None:
    run = shipped("live_worker_death")
    lost = run.attempts[run.attempts["outcome"] == "lost"]
    assert len(lost) > 5
    last = run.events.set_index("event_id")["attempt_no"]
    assert (last[lost["event_id"]].to_numpy() > lost["attempt_no"].to_numpy()).all()
    away = run.faults[run.faults["landed"] > 0]
    level = backlog(run)
    busy = np.mean([level.highest(start, end) for start, end in zip(away["start_s"], away["end_s"], strict=True)])
    assert busy > 2 * level.highest(2.0, float(away["start_s"].min()))
    assert numbers("live_worker_death", "pipeline.lease=off", "horizon=200s")["stuck_rows"] > 0


def test_the_sweep_finds_those_whose_wakeup_went_with_the_broker() -> None:
    run = shipped("live_broker_restart")
    restart = run.faults.iloc[0]
    refused = run.wakeups[run.wakeups["t_s"].between(restart["start_s"], restart["end_s"])]
    assert refused["lost"].sum() > 20
    swept = run.wakeups[(run.wakeups["task"] == "rescue") & (run.wakeups["t_s"] > restart["end_s"])]
    assert swept["sent"].sum() > 10
    assert "liveness" in broken_checks("live_broker_restart", "pipeline.sweep_after=off", "horizon=200s")

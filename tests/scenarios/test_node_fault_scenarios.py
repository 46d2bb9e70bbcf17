"""The shipped scenarios of workers', schedulers', clock and composite faults show what their comments say."""

from __future__ import annotations

import numpy as np
import pytest
from shipped import broken_checks, numbers, shipped

from tem_sim.frames import Run

# One process runs them all, so that each file is run once.
pytestmark = pytest.mark.xdist_group("shipped scenarios")


def retries_per_tick(run: Run) -> dict[float, int]:
    return run.transitions[run.transitions["cause"] == "retry"].groupby("at_s").size().to_dict()


# --- workers


def test_an_oom_cascade_ends_with_the_crash_budget() -> None:
    run = shipped("oom_cascade")
    ends = run.events.groupby(run.events["kind"].astype(str))["status"].agg(lambda column: set(column.astype(str)))
    assert ends["normal"] == {"PROCESSED"}
    assert "EXTINCT" in ends["huge"]
    killers = run.faults["detail"].str.split().str[1].value_counts()
    assert killers.max() == 4
    assert run.faults["target"].nunique() == 4
    without = shipped("oom_cascade", "pipeline.crash_budget=off")
    assert len(without.faults) > len(run.faults) + 5
    assert (without.events["status"] == "PROCESSED").all()


def test_a_rolling_deploy_loses_nothing_and_the_old_version_shows_in_its_delays() -> None:
    run = shipped("rolling_deploy")
    stops = run.faults[run.faults["kind"] == "worker_stop"]
    assert stops["detail"].str.startswith("ended by itself").tolist() == [True] * 4
    assert numbers("rolling_deploy")["lost_events"] == 0
    assert not (run.attempts["outcome"] == "lost").any()
    old = run.attempts[run.attempts["delay_s"] == 5.0]
    assert len(old) > 20
    assert set(old["worker"].astype(str).str.partition("/")[0]) == {"worker-4"}
    assert old["finished_s"].max() < 35


def test_without_a_grace_a_rolling_deploy_is_a_series_of_deaths_and_nothing_is_lost_for_good() -> None:
    run = shipped("rolling_deploy", "faults[0].grace=0s")
    assert (run.attempts["outcome"] == "lost").sum() > 3
    assert (run.events["status"] == "PROCESSED").all()


def test_a_forked_seed_makes_each_delay_come_as_often_as_there_are_processes() -> None:
    run = shipped("forked_seed")
    same = run.attempts["delay_s"].dropna().value_counts()
    assert same.mode().tolist() == [8]
    assert broken_checks("forked_seed") == {"jitter_law"}
    assert broken_checks("forked_seed", "faults=[]") == set()
    alone = shipped("forked_seed", "faults[0].target=worker-1").attempts.dropna(subset="delay_s")
    of_other = alone[alone["worker"].astype(str).str.startswith("worker-2/")]
    assert of_other["delay_s"].is_unique


# --- the scheduler


def test_a_scheduler_killed_before_it_wakes_leaves_rows_to_the_sweep() -> None:
    run = shipped("beat_killed_before_wake")
    assert run.faults["landed"].tolist() == [1, 1, 1]
    assert (run.events["status"] == "PROCESSED").all()
    waits = run.wakeups[run.wakeups["actor"] == "beat"]
    for death_s in run.faults["start_s"]:
        assert not waits["t_s"].between(death_s - 0.01, death_s + 0.5).any()
    assert broken_checks("beat_killed_before_wake", "pipeline.sweep_after=off", "horizon=200s") == {"liveness"}


def test_a_scheduler_stuck_in_the_queue_does_its_work_when_the_backlog_is_gone() -> None:
    stuck, free = shipped("scheduler_stuck"), shipped("scheduler_stuck", "faults=[]")
    retried = stuck.transitions[stuck.transitions["cause"] == "retry"]
    assert retried["actor"].astype(str).str.startswith("worker-").all()
    longest_s = [(run.notifications["published_s"] - run.notifications["created_s"]).max() for run in (stuck, free)]
    assert longest_s[0] > 10 > longest_s[1]
    assert (stuck.events["status"] == "PROCESSED").all()


def test_missed_ticks_fired_at_once_release_as_many_limits() -> None:
    per_tick = retries_per_tick(shipped("late_ticks"))
    at_60_s = sum(rows for at_s, rows in per_tick.items() if 60.0 <= at_s < 60.5)
    assert at_60_s > 100
    skipped = retries_per_tick(shipped("late_ticks", "faults[1].missed=skipped"))
    assert sum(rows for at_s, rows in skipped.items() if 60.0 <= at_s < 60.5) == 0
    run = shipped("late_ticks")
    retried = run.transitions[run.transitions["cause"] == "retry"]
    assert (retried.groupby(["event_id", "attempt_no"]).size() == 1).all()
    assert set(retried["actor"].astype(str)) == {"beat", "beat-2", "beat-3", "beat-4"}


def test_a_tight_limit_makes_all_wait_and_none_for_ever() -> None:
    def waited_s(run: Run) -> np.ndarray:
        due = run.attempts.dropna(subset="delay_s")
        both = run.transitions[run.transitions["cause"] == "retry"].merge(due, on=["event_id", "attempt_no"])
        return (both["at_s"] - both["finished_s"] - both["delay_s"]).to_numpy()

    tight, wide = (
        waited_s(shipped("limit_starvation")),
        waited_s(shipped("limit_starvation", "pipeline.requeue_limit=500")),
    )
    assert wide.max() < 1.01
    # It grows: later retries wait longer than earlier ones, up to half of the minute's load.
    assert np.median(tight[-60:]) > 3 * np.median(tight[60:120])
    assert (shipped("limit_starvation").events["status"] == "PROCESSED").all()


# --- the clocks


def test_a_clock_that_is_set_back_holds_retries_up_and_one_that_is_ahead_makes_zombies() -> None:
    run = shipped("clock_step")
    per_tick = retries_per_tick(run)
    assert not [at_s for at_s in per_tick if 20.0 <= at_s < 40.0]
    assert per_tick[40.0] > 20
    assert numbers("clock_step")["lost_events"] == 0
    assert (run.notifications["shown"] == 1).all()
    assert (run.attempts["outcome"] == "superseded").sum() > 3


def test_clocks_of_whole_seconds_make_nothing_wait_for_a_second_that_never_shows() -> None:
    run = shipped("coarse_clocks")
    assert (run.attempts[["claimed_s", "finished_s"]].dropna() % 1 == 0).all(axis=None)
    due = run.attempts.dropna(subset="delay_s")
    both = run.transitions[run.transitions["cause"] == "retry"].merge(due, on=["event_id", "attempt_no"])
    in_time = both["at_s"] - both["finished_s"] - both["delay_s"]
    assert (in_time == 0).mean() > 0.5
    assert (run.events["status"] == "PROCESSED").all()


# --- composites


def test_a_swizzle_a_bisect_and_a_flap_leave_every_event_processed_and_every_user_told_once() -> None:
    run = shipped("swizzle")
    assert run.faults.groupby("fault_id")["kind"].first().astype(str).tolist() == [
        "worker_pause",
        "clock_skew",
        "worker_pause",
    ]
    assert (run.attempts["outcome"] == "superseded").any()
    assert (run.events["status"] == "PROCESSED").all()
    assert (run.notifications["shown"] == 1).all()
    dying = shipped("swizzle", "faults[2].by=death")
    assert (dying.attempts["outcome"] == "lost").sum() > (run.attempts["outcome"] == "lost").sum()


def test_a_correlated_failure_is_made_good_by_lease_and_sweep() -> None:
    run = shipped("correlated_failure")
    assert run.faults.groupby("fault_id")["kind"].agg(lambda kinds: list(kinds.astype(str))).tolist() == [
        ["broker_restart", "worker_death"],
        ["broker_restart", "worker_death"],
    ]
    assert (run.attempts["outcome"] == "lost").any()
    assert (run.events["status"] == "PROCESSED").all()
    assert broken_checks("correlated_failure", "pipeline.lease=off", "horizon=200s") == {"liveness"}


@pytest.mark.parametrize(("overrides", "comes_back"), [((), True), (("pipeline.requeue_limit=off",), False)])
def test_after_a_kick_the_load_returns_to_base_only_where_requeueing_is_limited(
    overrides: tuple[str, ...], comes_back: bool
) -> None:
    run = shipped("metastable_kick", *overrides)
    done_s = run.events["finished_s"][run.events["status"] == "PROCESSED"]
    per_s = ((done_s >= run.end_s - 20) & (done_s < run.end_s)).sum() / 20
    assert (9 < per_s < 20) if comes_back else per_s < 1
    claims = run.attempts["claimed_s"]
    assert (claims.between(run.end_s - 10, run.end_s).sum() / 10 < 20) == comes_back
    crowd = run.faults[run.faults["kind"] == "metastable_kick"]
    assert crowd["landed"].tolist() == [100]
    assert (run.events["submitted_s"].between(20.0, 20.6)).sum() >= 100

"""Every shipped scenario shows what its comment says, and each of its "Try:" lines opens the hole that it names."""

from __future__ import annotations

import numpy as np
import pytest
from shipped import FOLDER, NAMES, broken_checks, numbers, shipped

from tem_sim.checks.thresholds import run_thresholds
from tem_sim.frames import Run

# One process runs them all, so that each file is run once.
pytestmark = pytest.mark.xdist_group("shipped scenarios")

# The full storm belongs to `make demo`; a tenth of it has the same shape.
SMALLER = {"retry_storm": ("arrivals.events=1000",), "scheduler_backlog": ("arrivals.events=2000",)}
# What is broken on purpose: a bug from before, and an old version among the workers.
MEANT_TO_BREAK = {"stale_read", "rolling_deploy", "forked_seed"}
NO_LEASE = "pipeline.lease=off", "horizon=200s"
NO_SWEEP = "pipeline.sweep_after=off", "horizon=200s"
EXPECTED = {
    "beat_stopped",
    "broker_restart",
    "jitter_vs_tick",
    "lost_wakeup",
    "max_retry_extinct",
    "metastable",
    "notification_loss",
    "poison_event",
    "recovery_flow",
    "retry_progression",
    "retry_storm",
    "scheduler_backlog",
    "simulated_failure",
    "stale_read",
    "two_beats",
    "worker_death",
    "zombie_worker",
}


def rate(run: Run, bin_s: float = 1.0) -> np.ndarray:
    """Return the attempts claimed per bin."""
    bins = np.arange(0.0, run.end_s + bin_s, bin_s)
    return np.histogram(run.attempts["claimed_s"], bins)[0]


def test_all_promised_scenarios_are_there() -> None:
    assert set(NAMES) >= EXPECTED


@pytest.mark.parametrize("name", NAMES)
def test_each_file_begins_with_the_modeline_and_says_what_to_look_at(name: str) -> None:
    text = (FOLDER / f"{name}.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=./scenario.schema.json\n")
    assert "# Look at:" in text
    assert f"\nscenario: {name}\n" in text


@pytest.mark.parametrize("name", NAMES)
def test_each_scenario_runs_and_breaks_the_checks_it_is_meant_to_break_and_no_others(name: str) -> None:
    run = shipped(name, *SMALLER.get(name, ()))
    assert run.status == "complete"
    assert (name in MEANT_TO_BREAK) == bool(run.scenario.expect.violations)
    assert broken_checks(name, *SMALLER.get(name, ())) == set(run.scenario.expect.violations)
    # One that strikes many nodes may find nothing at some of them.
    assert run.faults.groupby("fault_id")["landed"].sum().gt(0).all()


@pytest.mark.parametrize("name", NAMES)
def test_each_scenario_keeps_to_its_thresholds(name: str) -> None:
    found = run_thresholds(shipped(name, *SMALLER.get(name, ())))
    assert [held.detail for held in found if held.verdict != "true"] == []


# --- storms, backlogs and ticks


def test_the_storm_comes_in_waves_each_lower_and_wider_than_the_one_before() -> None:
    run = shipped("retry_storm", *SMALLER["retry_storm"])
    assert (run.events["status"] == "PROCESSED").all()
    first, second, third = (run.attempts.loc[run.attempts["attempt_no"] == n, "claimed_s"] for n in (1, 2, 3))
    assert first.std() < second.std() < third.std()
    peaks = [np.histogram(wave, np.arange(0.0, run.end_s + 0.5, 0.5))[0].max() for wave in (first, second, third)]
    assert peaks[0] > peaks[1] > peaks[2]
    assert run.attempts["attempt_no"].max() > 5


def test_without_jitter_the_waves_stand_up_as_walls() -> None:
    jittered = shipped("retry_storm", *SMALLER["retry_storm"])
    walls = shipped("retry_storm", *SMALLER["retry_storm"], "pipeline.backoff.jitter=none")

    def widths_s(run: Run) -> np.ndarray:
        waves = run.attempts[run.attempts["attempt_no"].between(3, 5)].groupby("attempt_no")["claimed_s"]
        return (waves.max() - waves.min()).to_numpy()

    assert (widths_s(walls) < 0.3 * widths_s(jittered)).all()


def test_a_backlog_is_released_in_steps_of_the_limit() -> None:
    run = shipped("scheduler_backlog", *SMALLER["scheduler_backlog"])
    retries = run.transitions[run.transitions["cause"] == "retry"].groupby("at_s").size()
    assert retries.max() == 250
    assert len(retries) == 8
    assert (run.attempts["error"].astype(str) != "Overload: downstream queue is full").all()


def test_without_a_limit_the_release_of_the_backlog_makes_new_failures() -> None:
    run = shipped("scheduler_backlog", *SMALLER["scheduler_backlog"], "pipeline.requeue_limit=off")
    assert run.attempts["error"].astype(str).str.startswith("Overload").sum() > 500


def test_a_tick_gathers_what_a_narrow_jitter_spread_into_a_wall() -> None:
    run = shipped("jitter_vs_tick")
    assert any("tick" in warning for warning in run.scenario.warnings())
    busy = np.flatnonzero(rate(run)[2:])
    # One wall every ten seconds, and nothing between them.
    assert (rate(run)[2:].max(), len(busy)) == (2000, 3)


def test_a_quick_tick_lets_the_jitter_do_its_work() -> None:
    run = shipped("jitter_vs_tick", "beat.retry_every=250ms")
    assert run.scenario.warnings() == ()
    # 2 s of jitter per wave of 2 000: half the wall at most, even where waves begin to overlap.
    assert rate(run)[5:].max() < 1200
    assert (
        numbers("jitter_vs_tick", "beat.retry_every=250ms")["storm_factor"]
        < 0.5 * numbers("jitter_vs_tick")["storm_factor"]
    )


def goodput(run: Run, from_s: float) -> float:
    """Return the events PROCESSED per second from a time on."""
    return int((run.events["finished_s"][run.events["status"] == "PROCESSED"] >= from_s).sum()) / (run.end_s - from_s)


def test_the_metastable_system_stays_down_although_the_outage_is_over_and_capacity_would_do() -> None:
    run = shipped("metastable")
    assert run.faults["end_s"].item() == 23.0
    assert goodput(run, from_s=40.0) < 1.0
    # Five attempts for each of 12 events a second, against 20 that the downstream could serve.
    assert 50 < rate(run)[40:].mean() < 70
    assert (run.events.loc[run.events["submitted_s"].between(40, 60), "status"] == "EXTINCT").mean() > 0.9


@pytest.mark.parametrize("override", ["faults[0].for=1s", "pipeline.backoff.max_retries=0"])
def test_a_shorter_outage_or_no_retries_let_it_recover(override: str) -> None:
    assert goodput(shipped("metastable", override), from_s=40.0) > 11.0


def test_retries_wait_past_their_due_time_while_the_scheduler_is_away_and_burst_when_it_is_back() -> None:
    run = shipped("beat_stopped")
    retries = run.transitions[run.transitions["cause"] == "retry"]["at_s"]
    assert not retries.between(30.01, 89.99).any()
    per_tick = retries.groupby(retries).size()
    assert [per_tick[at_s] for at_s in (91.0, 92.0, 93.0)] == [50, 50, 50]
    assert per_tick[per_tick.index < 30.0].max() < 25


# --- workers that die, freeze or are poisoned


def test_killed_workers_leave_leases_that_are_rescued() -> None:
    run = shipped("worker_death")
    assert (run.events["status"] == "PROCESSED").all()
    lost = run.attempts[run.attempts["outcome"] == "lost"]
    assert len(lost) > 5
    touched = run.events[run.events["event_id"].isin(lost["event_id"])]
    assert (touched["crash_count"] >= 1).all()
    assert (run.events["retry_count"] == 0).all()
    assert len(run.faults) > 2


def test_without_a_lease_their_rows_are_stuck_for_ever() -> None:
    run = shipped("worker_death", *NO_LEASE)
    stuck = run.events[run.events["status"] != "PROCESSED"]
    assert len(stuck) > 5
    assert (stuck["status"] == "PROCESSING").all()
    assert numbers("worker_death", *NO_LEASE)["stuck_rows"] == len(stuck)
    assert broken_checks("worker_death", *NO_LEASE) == {"liveness"}


def test_a_zombies_writes_are_refused_by_its_fencing_token() -> None:
    run = shipped("zombie_worker")
    assert (run.attempts["outcome"] == "superseded").sum() > 5
    assert (run.events["status"] == "PROCESSED").all()
    assert numbers("zombie_worker")["duplicate_effects"] > 5
    assert (run.notifications["shown"] == 1).all()


@pytest.mark.parametrize(("guard", "overwrites"), [("refresh", True), ("row_lock", True), ("version", False)])
def test_a_guard_that_does_not_ask_whose_row_it_is_lets_the_zombie_finish_it(guard: str, overwrites: bool) -> None:
    broken = broken_checks("zombie_worker", f"pipeline.write_guard={guard}")
    assert ("single_lease" in broken) == overwrites
    assert overwrites or broken == frozenset()


def test_poison_spends_its_own_budget_and_takes_nobody_with_it() -> None:
    run = shipped("poison_event")
    ends = run.events.groupby(run.events["kind"].astype(str))["status"].agg(lambda column: set(column.astype(str)))
    assert ends.to_dict() == {"normal": {"PROCESSED"}, "poison": {"EXTINCT"}, "killer": {"EXTINCT"}}
    causes = run.transitions[run.transitions["after"] == "EXTINCT"].merge(run.events[["event_id", "kind"]])
    assert set(zip(causes["kind"].astype(str), causes["cause"].astype(str), strict=True)) == {
        ("poison", "exhausted"),
        ("killer", "crashed"),
    }
    innocent = run.events.loc[run.events["kind"] == "normal", "crash_count"]
    assert (innocent > 0).sum() > 50
    assert (innocent > 1).sum() <= 2


def test_with_batch_isolation_one_poison_event_fails_its_whole_batch() -> None:
    run = shipped("poison_event", "pipeline.isolation=batch")
    normal = run.events[run.events["kind"] == "normal"]
    assert (normal["status"] == "EXTINCT").sum() > 20
    errors = run.attempts.merge(normal[["event_id"]])["outcome"]
    assert (errors == "error").sum() > 200


# --- messages that get lost


def test_lost_wakeups_are_made_good_by_the_sweep() -> None:
    run = shipped("lost_wakeup")
    assert (run.events["status"] == "PROCESSED").all()
    waits = run.attempts["claimed_s"] - run.attempts.merge(run.events)["submitted_s"]
    assert run.faults["landed"].item() > 100
    # A wake-up that the sweep sends can get lost as well; then somebody else's, or the next sweep, must do.
    assert 15.0 < waits.max() < 30.0


def test_without_the_sweep_the_last_of_them_are_queued_for_ever() -> None:
    run = shipped("lost_wakeup", *NO_SWEEP)
    left = run.events[run.events["status"] == "QUEUED"]
    assert len(left) > 50
    assert run.end_s == 200.0
    assert broken_checks("lost_wakeup", *NO_SWEEP) == {"liveness"}


def test_a_broker_that_forgets_everything_loses_no_event() -> None:
    run = shipped("broker_restart")
    assert (run.events["status"] == "PROCESSED").all()
    assert int(run.faults["detail"].item().split()[0]) > 10
    assert broken_checks("broker_restart", *NO_SWEEP) == {"liveness"}


def test_notifications_that_nobody_heard_are_sent_again_and_shown_once() -> None:
    run = shipped("notification_loss")
    assert len(run.notifications) == len(run.events)
    assert (run.notifications["shown"] == 1).all()
    waited = run.notifications["delivered_s"] - run.notifications["created_s"]
    assert (waited > 2.0).sum() > 100


def test_without_the_outbox_they_are_lost() -> None:
    lost = numbers("notification_loss", "pipeline.outbox=false")["lost_notifications"]
    assert lost > 200
    assert broken_checks("notification_loss", "pipeline.outbox=false") == {"notifications"}


def test_two_schedulers_double_no_transition_and_no_shown_notification() -> None:
    run = shipped("two_beats")
    actors = run.transitions.loc[run.transitions["cause"] == "retry", "actor"].astype(str)
    assert set(actors) == {"beat", "beat-2"}
    per_attempt = run.transitions[run.transitions["cause"] == "retry"].groupby(["event_id", "attempt_no"]).size()
    assert (per_attempt == 1).all()
    assert (run.notifications["received"] > 1).sum() > 50
    assert (run.notifications["shown"] == 1).all()

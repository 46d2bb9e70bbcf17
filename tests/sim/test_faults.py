"""Each fault leaves its mark in the frames, says what it did, and moves nobody else's luck."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sim_worlds import all_done, burst, fault_row, run

from tem_sim.frames import Run
from tem_sim.pipeline.ports import EDGES
from tem_sim.sim.faults.inflict import INFLICT

LEASED = {"lease": "5s", "sweep_after": "5s"}
# Which node passes which edge; a worker publishes by itself where there is no outbox.
REACHED_BY = {
    "before_claim": "workers",
    "after_claim": "workers",
    "before_handle": "workers",
    "after_handle": "workers",
    "before_settle": "workers",
    "after_settle": "workers",
    "after_commit_before_wake": "api",
    "before_publish": "beat",
    "after_publish": "beat",
}


def gauge(of: Run, name: str) -> Any:
    return of.samples[of.samples["name"] == name].set_index("t_s")["value"]


def claims_between(of: Run, start_s: float, end_s: float) -> int:
    return int(of.attempts["claimed_s"].between(start_s, end_s).sum())


# --- each kind


def test_every_kind_of_fault_that_a_scenario_can_name_can_be_inflicted() -> None:
    from typing import get_args

    from tem_sim.scenario.faults.kinds import AnyFault

    assert {kind.model_fields["kind"].default for kind in get_args(AnyFault)} == set(INFLICT)


def test_an_outage_fails_every_call_that_begins_in_it() -> None:
    done = run(faults=[{"kind": "outage", "at": "10s", "for": "5s"}])
    row = fault_row(done)
    assert (row["start_s"], row["end_s"], row["target"]) == (10.0, 15.0, "handler")
    begun_in_it = done.attempts["started_s"].between(10.0, 14.999999)
    refused = done.attempts["error"].astype(str).str.startswith("Outage")
    assert (begun_in_it == refused).all()
    assert row["landed"] == refused.sum() > 30
    assert all_done(done)


@pytest.mark.parametrize(("messages", "lost"), [("kept", False), ("lost", True)])
def test_a_broker_restart_stops_claims_and_keeps_or_loses_its_messages(messages: str, lost: bool) -> None:
    slow = {"service_time": {"kind": "exponential", "mean": "600ms"}}
    done = run(
        handler=slow,
        pipeline=LEASED | {"batch_size": 1},
        faults=[{"kind": "broker_restart", "at": "10s", "for": "6s", "messages": messages}],
    )
    row = fault_row(done)
    assert (row["start_s"], row["end_s"], row["landed"]) == (10.0, 16.0, 1)
    assert row["detail"] == "messages kept" or int(row["detail"].removesuffix(" messages lost")) > 3
    assert (gauge(done, "broker_ready")[12.0] == 0) == lost
    assert claims_between(done, 12.0, 15.99) == 0
    assert all_done(done)


def test_a_killed_worker_loses_what_it_held_and_works_again_after_its_restart() -> None:
    done = run(
        pipeline=LEASED,
        handler={"service_time": {"kind": "exponential", "mean": "300ms"}},
        faults=[{"kind": "worker_death", "target": "worker-1", "at": "10s", "restart_after": "7s"}],
    )
    row = fault_row(done)
    assert (row["target"], row["start_s"], row["end_s"], row["landed"]) == ("worker-1", 10.0, 17.0, 1)
    of_it = done.attempts[done.attempts["worker"].astype(str).str.startswith("worker-1/")]
    lost = of_it[of_it["outcome"] == "lost"]
    assert len(lost) >= 1
    assert (lost["claimed_s"] <= 10.0).all()
    # The calls it had made are known, though it lived to record none of them.
    called = lost["started_s"].notna()
    assert called.any()
    assert (lost["started_s"][called] <= 10.0).all()
    assert not lost["effect_s"][~called].notna().any()
    # Declared lost by the rescue, at the first tick after the lease.
    assert lost["finished_s"].between(10.0, 20.1).all()
    # It boots for a second.
    assert not of_it["claimed_s"].between(10.000001, 17.999).any()
    assert of_it["claimed_s"].max() > 18.0
    assert (done.events["crash_count"] > 0).sum() == lost["event_id"].nunique()
    assert all_done(done)


def test_deaths_at_a_rate_come_about_as_often_as_it_says_and_only_in_its_window() -> None:
    done = run(
        horizon="400s",
        stop="horizon",
        arrivals=burst(1),
        faults=[
            {
                "kind": "worker_death",
                "target": "workers",
                "rate": "0.2/s",
                "from": "20s",
                "until": "320s",
                "restart_after": "10ms",
            }
        ],
    )
    starts = done.faults["start_s"]
    assert len(done.faults) == pytest.approx(60, abs=4 * 60**0.5)
    assert starts.between(20, 320).all()
    assert set(done.faults["target"].astype(str)) == {"worker-1", "worker-2", "worker-3"}


def test_a_frozen_worker_does_nothing_and_is_superseded_when_it_wakes() -> None:
    done = run(
        pipeline=LEASED,
        handler={"service_time": {"kind": "exponential", "mean": "300ms"}},
        faults=[{"kind": "worker_pause", "target": "worker-1", "at": "10s", "for": "12s"}],
    )
    row = fault_row(done)
    assert (row["target"], row["start_s"], row["end_s"], row["landed"]) == ("worker-1", 10.0, 22.0, 1)
    of_it = done.attempts[done.attempts["worker"].astype(str).str.startswith("worker-1/")]
    assert not of_it["claimed_s"].between(10.000001, 21.999).any()
    zombies = of_it[of_it["outcome"] == "superseded"]
    assert len(zombies) >= 1
    assert (zombies["claimed_s"] <= 10.0).all()
    assert all_done(done)


def test_while_the_scheduler_is_stopped_nothing_is_requeued_or_published() -> None:
    done = run(handler={"failure_rate": 0.3}, faults=[{"kind": "beat_stopped", "at": "10s", "for": "8s"}])
    row = fault_row(done)
    assert (row["target"], row["start_s"], row["end_s"], row["landed"]) == ("beat", 10.0, 18.0, 1)
    retries = done.transitions[done.transitions["cause"] == "retry"]["at_s"]
    assert not retries.between(10.01, 17.99).any()
    assert retries.between(18.0, 19.1).sum() > 10
    assert not done.notifications["published_s"].between(10.01, 17.99).any()


def test_a_second_scheduler_acts_under_its_own_name_in_its_window_only() -> None:
    done = run(
        handler={"failure_rate": 0.4},
        faults=[{"kind": "beat_doubled", "at": "10s", "for": "10s", "phase": "500ms"}],
    )
    assert (fault_row(done)["start_s"], fault_row(done)["end_s"], fault_row(done)["landed"]) == (10.0, 20.0, 1)
    by_second = done.transitions[done.transitions["actor"] == "beat-2"]["at_s"]
    assert len(by_second) > 5
    assert by_second.between(10.0, 20.0).all()
    assert set(by_second % 1.0) == {0.5}
    assert all_done(done)


def test_lost_wakeups_are_counted_and_their_events_found_by_the_sweep() -> None:
    done = run(pipeline=LEASED, faults=[{"kind": "wakeups_lost", "at": "10s", "for": "5s"}])
    calm = run(pipeline=LEASED)
    assert fault_row(done)["landed"] > 30
    waits = [of.attempts.groupby("event_id")["claimed_s"].min().max() for of in (done, calm)]
    waited = (done.attempts["claimed_s"] - done.attempts.merge(done.events)["submitted_s"]).max()
    assert 5.0 < waited < 16.0
    assert len(waits) == 2
    assert all_done(done)


@pytest.mark.parametrize(("fraction", "landed"), [(1.0, 1), (0.5, None)])
def test_a_gateway_disconnect_cuts_users_off_for_its_time(fraction: float, landed: int | None) -> None:
    done = run(faults=[{"kind": "gateway_disconnect", "at": "10s", "for": "5s", "fraction": fraction}])
    row = fault_row(done)
    assert (row["start_s"], row["end_s"]) == (10.0, 15.0)
    online = gauge(done, "users_connected")
    assert online[12.0] == (0 if landed else 100 - row["landed"])
    assert online[17.0] == 100
    assert row["landed"] == landed if landed else row["landed"] > 30


def test_a_skewed_clock_shows_in_what_its_node_writes_and_nowhere_else() -> None:
    done = run(
        horizon="60s",
        faults=[
            {"kind": "clock_skew", "target": "worker-1", "at": "10s", "for": "10s", "skew": "-30s", "drift": "50ppm"}
        ],
    )
    row = fault_row(done)
    assert (row["landed"], row["detail"]) == (1, "-30 s, drifting +50 ppm")
    skewed = done.attempts["claimed_s"] < -5.0
    assert skewed.sum() > 5
    assert set(done.attempts.loc[skewed, "worker"].astype(str)) == {"worker-1/0", "worker-1/1"}
    assert done.events["submitted_s"].min() >= 0


# --- triggers


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("kind", ["worker_death", "worker_pause"])
def test_a_fault_at_an_edge_strikes_whoever_passes_it(edge: str, kind: str) -> None:
    how = {"restart_after": "2s"} if kind == "worker_death" else {"for": "8s"}
    done = run(
        arrivals={"kind": "poisson", "rate": "5/s", "until": "12s"},
        pipeline=LEASED,
        handler={"failure_rate": 0.2},
        faults=[{"kind": kind, "target": REACHED_BY[edge], "edge": edge, "nth": 5} | how],
    )
    assert len(done.faults) == 1
    row = fault_row(done)
    assert row["landed"] == 1
    assert str(row["target"]).startswith(REACHED_BY[edge].removesuffix("s"))
    assert row["end_s"] - row["start_s"] == pytest.approx(2.0 if kind == "worker_death" else 8.0)
    assert all_done(done)
    assert (done.notifications["shown"] == 1).all()


def test_without_an_outbox_the_worker_passes_the_edges_of_publishing() -> None:
    faults = [
        {"kind": "worker_death", "target": "workers", "edge": edge, "nth": 3, "restart_after": "2s"}
        for edge in ("before_publish", "after_publish")
    ]
    done = run(pipeline=LEASED | {"outbox": False, "batch_size": 1}, faults=faults)
    assert list(done.faults["landed"]) == [1, 1]
    told = done.notifications["event_id"].nunique()
    # Killed before the publish the user is never told; after it, it makes no difference.
    assert told == len(done.events) - 1


def test_a_death_between_commit_and_wake_up_is_seen_by_the_beat_too() -> None:
    done = run(
        pipeline=LEASED,
        handler={"failure_rate": 0.4},
        faults=[
            {
                "kind": "worker_death",
                "target": "beat",
                "edge": "after_commit_before_wake",
                "nth": 3,
                "restart_after": "1s",
            }
        ],
    )
    assert fault_row(done)["target"] == "beat"
    assert all_done(done)


def test_an_edge_that_is_never_passed_leaves_a_row_that_says_so() -> None:
    done = run(faults=[{"kind": "worker_death", "target": "worker-1", "edge": "before_publish"}])
    row = fault_row(done)
    assert (row["landed"], row["detail"]) == (0, "never reached")
    assert np.isnan(row["start_s"])
    assert np.isnan(row["end_s"])


def test_a_fault_after_the_end_of_the_run_never_struck() -> None:
    done = run(
        horizon="20s",
        stop="horizon",
        faults=[{"kind": "worker_death", "target": "worker-1", "rate": "0.001/s", "from": "19s"}],
    )
    assert (fault_row(done)["landed"], fault_row(done)["detail"]) == (0, "never reached")


def test_a_window_that_is_open_at_the_horizon_ends_with_the_run() -> None:
    done = run(
        horizon="20.5s",
        faults=[
            {"kind": "outage", "at": "10s", "for": "1h"},
            {"kind": "beat_doubled", "at": "11s", "for": "1h"},
            {"kind": "gateway_disconnect", "at": "12s", "for": "1h"},
            {"kind": "broker_restart", "at": "13s", "for": "1h"},
            {"kind": "beat_stopped", "at": "14s", "for": "1h"},
            {"kind": "clock_skew", "target": "api", "at": "14s", "for": "1h", "skew": "1s"},
            {"kind": "worker_pause", "target": "worker-1", "at": "15s", "for": "1h"},
            {"kind": "worker_death", "target": "worker-2", "at": "16s", "restart_after": "off"},
        ],
    )
    assert done.end_s == 20.5
    assert done.faults["landed"].gt(0).all()
    assert done.faults["end_s"].to_numpy() == pytest.approx(20.5, abs=0.5)
    assert (done.faults["end_s"] <= 20.5).all()


# --- faults on top of each other


def test_a_node_that_something_holds_down_is_not_started_by_another_fault() -> None:
    done = run(
        handler={"failure_rate": 0.3},
        faults=[
            {"kind": "worker_death", "target": "beat", "at": "8s", "restart_after": "4s"},
            {"kind": "beat_stopped", "at": "10s", "for": "8s"},
            {"kind": "beat_stopped", "at": "14s", "for": "8s"},
        ],
    )
    retries = done.transitions[done.transitions["cause"] == "retry"]["at_s"]
    assert not retries.between(8.01, 21.99).any()
    # One scheduler again, not two in one: each second's tick requeues in one go.
    assert (retries[retries > 23].round(6).drop_duplicates().diff().dropna() > 0.9).all()
    assert all_done(done)


@pytest.mark.parametrize(
    "faults",
    [
        [
            {"kind": "gateway_disconnect", "at": "10s", "for": "4s"},
            {"kind": "gateway_disconnect", "at": "12s", "for": "5s"},
        ],
        [
            {"kind": "worker_death", "target": "gateway", "at": "10s", "restart_after": "4s"},
            {"kind": "gateway_disconnect", "at": "12s", "for": "5s"},
        ],
        [{"kind": "broker_restart", "at": "10s", "for": "4s"}, {"kind": "broker_restart", "at": "12s", "for": "5s"}],
        [
            {"kind": "gateway_disconnect", "at": "10s", "for": "7s"},
            {"kind": "broker_restart", "at": "12s", "for": "3s"},
        ],
    ],
)
def test_overlapping_faults_on_the_way_to_the_user_last_until_the_last_one_ends(faults: list[dict[str, Any]]) -> None:
    done = run(pipeline=LEASED, faults=faults)
    assert not done.notifications["delivered_s"].between(10.03, 16.99).any()
    assert (done.notifications["shown"] == 1).all()
    assert all_done(done)


def test_everything_may_be_killed_at_once() -> None:
    done = run(
        pipeline=LEASED,
        api={"retries": 20},
        faults=[{"kind": "worker_death", "target": "*", "at": "10s", "restart_after": "5s"}],
    )
    assert sorted(done.faults["target"].astype(str)) == ["api", "beat", "gateway", "worker-1", "worker-2", "worker-3"]
    assert all_done(done)
    assert (done.notifications["shown"] == 1).all()


def test_a_second_scheduler_that_is_killed_outside_its_window_is_not_started() -> None:
    done = run(
        faults=[
            {"kind": "beat_doubled", "at": "10s", "for": "5s"},
            {"kind": "worker_death", "target": "beat-2", "at": "5s", "restart_after": "1s"},
            {"kind": "worker_death", "target": "beat-2", "at": "14s", "restart_after": "3s"},
            {"kind": "worker_death", "target": "beat-2", "at": "20s", "restart_after": "1s"},
        ]
    )
    assert all_done(done)
    landed = done.faults.groupby("fault_id")["landed"].sum()
    assert list(landed) == [1, 0, 1, 0]
    by_second = done.transitions[done.transitions["actor"] == "beat-2"]["at_s"]
    assert by_second.between(10.0, 14.0).all()


# --- common random numbers

FAULTS: list[dict[str, Any]] = [
    {"kind": "outage", "at": "10s", "for": "5s"},
    {"kind": "broker_restart", "at": "10s", "for": "5s", "messages": "lost"},
    {"kind": "worker_death", "target": "workers", "rate": "0.3/s", "until": "25s", "restart_after": "1s"},
    {"kind": "worker_death", "target": "workers", "edge": "after_handle", "nth": 20},
    {"kind": "worker_pause", "target": "worker-1", "at": "10s", "for": "12s"},
    {"kind": "beat_stopped", "at": "10s", "for": "5s"},
    {"kind": "beat_doubled", "at": "10s", "for": "5s", "phase": "300ms"},
    {"kind": "wakeups_lost", "at": "10s", "for": "5s", "probability": 0.5},
    {"kind": "gateway_disconnect", "at": "10s", "for": "5s"},
    {"kind": "clock_skew", "target": "beat", "at": "10s", "for": "5s", "skew": "3s"},
]


def assert_same_luck(one: Run, two: Run, least: int) -> None:
    """The same arrivals, and for every attempt that both runs made by chance alone the same service time and end."""
    for column in ("event_id", "submitted_s", "user_id"):
        assert (one.events[column] == two.events[column]).all()
    assert (one.events["kind"].astype(str) == two.events["kind"].astype(str)).all()
    chance = [of.attempts[~of.attempts["error"].astype(str).str.startswith("Outage")] for of in (one, two)]
    chance = [frame[frame["outcome"].isin(["ok", "error"])] for frame in chance]
    both = chance[0].merge(chance[1], on=["event_id", "attempt_no"])
    assert len(both) > least
    assert (both["outcome_x"].astype(str) == both["outcome_y"].astype(str)).all()
    took = [(both[f"finished_s{side}"] - both[f"started_s{side}"]).to_numpy() for side in ("_x", "_y")]
    # Clocks read whole microseconds at both ends; a pause in the middle lengthens what its worker had begun.
    apart = np.abs(took[0] - took[1]) > 2.5e-6
    assert apart.sum() <= 2


LUCKY: dict[str, Any] = {
    "pipeline": LEASED,
    "handler": {"failure_rate": 0.2},
    "events": {"kinds": {"normal": 0.7, "other": 0.3}},
}


@pytest.fixture(scope="module")
def calm() -> Run:
    return run(**LUCKY)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault['kind']}-{'-'.join(sorted(fault))}")
def test_adding_a_fault_leaves_arrivals_and_the_handlers_luck_as_they_were(calm: Run, fault: dict[str, Any]) -> None:
    shaken = run(**LUCKY, faults=[fault])
    assert shaken.faults["landed"].sum() > 0
    assert_same_luck(calm, shaken, least=250)


def test_changing_the_policy_leaves_arrivals_and_the_handlers_luck_as_they_were(calm: Run) -> None:
    other = {"growth": "fixed", "base": "4s", "jitter": "equal", "max_retries": 2}
    assert_same_luck(calm, run(**LUCKY | {"pipeline": LEASED | {"backoff": other}}), least=300)


def test_another_seed_is_other_luck(calm: Run) -> None:
    other = run(**LUCKY | {"seed": 2})
    assert len(other.events) != len(calm.events) or (other.events["submitted_s"] != calm.events["submitted_s"]).any()

"""Each fault of the broker, of wake-ups and of consumers leaves its mark in the frames, and counts how it landed."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from sim_worlds import all_done, burst, fault_row, run

from tem_sim.frames import Run

LEASED: dict[str, Any] = {"lease": "5s", "sweep_after": "5s", "batch_size": 1}
BUSY: dict[str, Any] = {"service_time": {"kind": "exponential", "mean": "300ms"}}
# More than six slots can take.
SWAMPED: dict[str, Any] = {"service_time": {"kind": "exponential", "mean": "700ms"}}


def struck(fault: dict[str, Any], **sections: Any) -> Run:
    return run(**{"pipeline": LEASED, "handler": BUSY, **sections, "faults": [fault]})


def gauge(of: Run, name: str) -> Any:
    return of.samples[of.samples["name"] == name].set_index("t_s")["value"]


def sent_between(of: Run, start_s: float, end_s: float) -> pd.DataFrame:
    return of.wakeups[of.wakeups["t_s"].between(start_s, end_s)]


def runs_of(of: Run) -> pd.Series[Any]:
    """Return how often each message was begun on."""
    return of.messages.groupby("message")["started_s"].count()


# --- restarts


def test_a_restart_without_messages_ends_their_deliveries_as_lost() -> None:
    done = struck(
        {"kind": "broker_restart", "at": "10s", "for": "3s", "messages": "lost"},
        handler=SWAMPED,
        broker={"ack": "late"},
    )
    lost = done.messages[done.messages["fate"] == "lost"]
    assert len(lost) == 6
    assert (lost["settled_s"] == 10.0).all()
    # The tasks that were under way come to their end all the same.
    assert (lost["finished_s"] > 10.0).all()
    assert int(fault_row(done)["detail"].removesuffix(" messages lost")) > 6
    assert all_done(done)


def test_a_restart_with_messages_returns_the_unacknowledged_first_and_in_any_order() -> None:
    done = struck(
        {"kind": "broker_restart", "at": "10s", "for": "3s", "messages": "kept"},
        handler=SWAMPED,
        broker={"ack": "late"},
    )
    returned = done.messages[done.messages["fate"] == "returned"]
    again = done.messages[done.messages["redelivered"] == 1]
    assert (returned["settled_s"] == 10.0).all()
    assert set(again["message"]) == set(returned["message"])
    assert len(again) == 6
    # They come before all others, and not in the order in which they were sent.
    after = done.messages[done.messages["delivered_s"] >= 13.0]
    assert (after["redelivered"].iloc[:6] == 1).all()
    assert not after["message"].iloc[:6].is_monotonic_increasing
    assert (runs_of(done)[again["message"]] == 2).all()
    assert all_done(done)


def test_a_restart_undoes_what_was_not_on_the_disk() -> None:
    done = struck({"kind": "broker_restart", "at": "10s", "for": "3s", "undone": "2s"}, handler=SWAMPED)
    sent = done.messages.groupby("message")["delivered_s"].min()
    again = done.messages[done.messages["redelivered"] == 0].groupby("message").size()
    # What had been handed out and acknowledged in these two seconds is in the queue again, as if nothing had happened.
    repeated = again.index[again > 1]
    assert len(repeated) > 4
    assert sent[repeated].between(8.0, 10.0).all()
    # What was sent in them is gone.
    numbers = done.wakeups["sent"].cumsum()[done.wakeups["t_s"].between(8.001, 10.0)]
    after = done.messages.loc[done.messages["delivered_s"] > 10.0, "message"]
    assert len(set(numbers) - set(done.messages["message"])) > 5
    assert not set(numbers) & set(after)
    assert fault_row(done)["detail"] == "messages kept, the last 2 s undone"
    assert all_done(done)


def test_late_acknowledgements_are_undone_too() -> None:
    done = struck({"kind": "broker_restart", "at": "10s", "for": "3s", "undone": "1s"}, broker={"ack": "late"})
    twice = done.messages[done.messages["message"].isin(runs_of(done).index[runs_of(done) > 1])]
    finished_before = twice.groupby("message")["finished_s"].min() < 10.0
    assert finished_before.sum() >= 3
    assert all_done(done)


def test_the_gateway_that_subscribes_late_misses_nothing_in_the_end() -> None:
    done = struck({"kind": "broker_restart", "at": "10s", "for": "2s", "resubscribe_after": "4s"})
    delivered = done.notifications["delivered_s"]
    assert not delivered.between(12.0, 16.0).any()
    assert (done.notifications["shown"] == 1).all()
    assert len(done.notifications) == len(done.events)


# --- frozen and full


def test_a_frozen_broker_hands_out_nothing_loses_nothing_and_holds_up_who_sends() -> None:
    done = struck({"kind": "broker_frozen", "at": "10s", "for": "6s"})
    row = fault_row(done)
    assert (row["start_s"], row["end_s"]) == (10.0, 16.0)
    assert not done.messages["delivered_s"].between(10.001, 15.999).any()
    assert sent_between(done, 10.01, 15.99).empty
    late = sent_between(done, 16.0, 16.0)
    # About ten requests a second hung, and the beat with them.
    assert 40 < len(late) <= row["landed"]
    assert (done.wakeups["lost"] == 0).all()
    assert all_done(done)


def test_clients_that_time_out_are_told_so_and_their_wakeups_come_all_the_same() -> None:
    done = struck({"kind": "broker_frozen", "at": "10s", "for": "6s", "socket_timeout": "1s"})
    refused = sent_between(done, 12.0, 15.999)
    assert (refused["lost"] == refused["sent"]).all()
    assert len(refused) > 20
    # In the socket when the client gave up, stored when the broker went on.
    assert done.messages["message"].nunique() == done.wakeups["sent"].sum()
    assert all_done(done)


def test_a_full_queue_refuses_the_newest() -> None:
    done = struck({"kind": "queue_full", "at": "5s", "for": "10s", "room": 3}, handler=SWAMPED)
    refused = done.wakeups[done.wakeups["lost"] > 0]
    assert fault_row(done)["landed"] == refused["lost"].sum() > 10
    assert refused["t_s"].between(5.0, 15.0).all()
    assert gauge(done, "broker_ready")[8.0:15.0].max() <= 3
    assert all_done(done)


def test_a_full_queue_drops_the_oldest_and_tells_nobody() -> None:
    done = struck({"kind": "queue_full", "at": "5s", "for": "10s", "room": 3, "policy": "drop_oldest"}, handler=SWAMPED)
    assert (done.wakeups["lost"] == 0).all()
    missing = done.wakeups["sent"].sum() - done.messages["message"].nunique()
    assert fault_row(done)["landed"] == missing > 10
    assert gauge(done, "broker_ready")[5.0:15.0].max() <= 3
    assert all_done(done)


# --- wake-ups on their way


def test_a_duplicated_wakeup_is_delivered_after_each_gap() -> None:
    gaps = ["0s", "5ms", "1s", "20s"]
    done = struck({"kind": "wakeups_duplicated", "at": "10s", "for": "5s", "gaps": gaps}, stop="horizon", horizon="40s")
    deliveries = done.messages.groupby("message").size()
    assert set(deliveries) == {1, 5}
    assert fault_row(done)["landed"] == (deliveries == 5).sum() > 30
    one = done.messages[done.messages["message"] == deliveries.index[deliveries == 5][0]]
    assert (one["delivered_s"] - one["delivered_s"].min()).round(3).tolist() == [0.0, 0.0, 0.005, 1.0, 20.0]
    # To the broker they are all new.
    assert (done.messages["redelivered"] == 0).all()
    assert all_done(done)
    assert (done.attempts["outcome"] == "ok").sum() == len(done.events)


def test_only_so_many_wakeups_are_duplicated() -> None:
    done = struck({"kind": "wakeups_duplicated", "at": "0s", "for": "30s", "probability": 0.3})
    deliveries = done.messages.groupby("message").size()
    assert (deliveries == 2).mean() == pytest.approx(0.3, abs=4 * (0.21 / len(deliveries)) ** 0.5)


def test_reordered_wakeups_overtake_those_sent_up_to_so_long_before() -> None:
    done = struck(
        {"kind": "wakeups_reordered", "at": "10s", "for": "5s", "within": "2s"}, handler={"service_time": "1ms"}
    )
    sent_s = done.wakeups["t_s"].to_numpy()[done.messages["message"] - 1]
    arrived_s = done.messages[(sent_s > 10.0) & (sent_s < 15.0)].sort_values("message")["delivered_s"]
    overtakers = (arrived_s < arrived_s.cummax()).sum()
    assert fault_row(done)["landed"] == overtakers > 20
    held_up = done.messages["delivered_s"] - sent_s
    assert held_up.max() == pytest.approx(2.0, abs=0.3)
    assert held_up[sent_s > 15.0].max() < 0.01
    assert all_done(done)


def test_a_wakeup_with_a_countdown_is_held_by_its_worker_until_then() -> None:
    done = struck(
        {"kind": "wakeups_delayed", "at": "10s", "for": "5s", "countdown": "3s"}, handler={"service_time": "1ms"}
    )
    waited = done.messages["started_s"] - done.messages["delivered_s"]
    delayed = done.messages["delivered_s"].between(10.0, 15.0)
    assert waited[delayed].to_numpy() == pytest.approx(3.0, abs=0.01)
    assert waited[~delayed].max() < 0.1
    assert fault_row(done)["landed"] == delayed.sum() > 30
    assert gauge(done, "broker_unacked")[13.0] > 20
    assert all_done(done)


def test_a_worker_that_dies_with_countdowns_leaves_them_to_the_visibility_timeout() -> None:
    done = run(
        pipeline=LEASED,
        workers={"count": 1, "concurrency": 1},
        arrivals=burst(1),
        stop="horizon",
        horizon="40s",
        broker={"visibility_timeout": "10s", "sweep_every": "1s"},
        faults=[
            {"kind": "wakeups_delayed", "at": "0s", "for": "3s", "countdown": "8s"},
            {"kind": "worker_death", "target": "worker-1", "at": "4s", "restart_after": "1s"},
        ],
    )
    first, second = done.messages[done.messages["message"] == 1].itertuples()
    assert (first.fate, pd.isna(first.started_s)) == ("returned", True)
    assert second.started_s == pytest.approx(first.delivered_s + 10.0, abs=1.1)


def test_an_unanswered_send_is_stored_as_often_as_it_is_tried() -> None:
    done = struck({"kind": "publish_unanswered", "at": "10s", "for": "5s", "tries": 3})
    inside = sent_between(done, 10.0, 15.0)
    stored = done.messages["message"].max()
    assert fault_row(done)["landed"] == 3 * inside["sent"].sum()
    assert stored == done.wakeups["sent"].sum() + 2 * inside["sent"].sum()
    # The sender saw an error, though nothing was lost.
    assert (inside["lost"] == 0).all()
    assert all_done(done)


# --- consumers


def test_the_death_of_a_pool_child_ends_its_task_and_not_its_worker() -> None:
    fault = {"kind": "child_death", "target": "worker-1", "edge": "after_handle", "nth": 5}
    done = struck(fault)
    row = fault_row(done)
    slot, at_s = row["detail"].removesuffix(" killed"), row["start_s"]
    assert row["landed"] == 1
    of_it = done.attempts[done.attempts["worker"] == slot]
    (lost,) = of_it[of_it["outcome"] == "lost"].itertuples()
    assert lost.claimed_s < at_s
    # The effect has happened, nobody wrote it down; the slot is back when the worker has noticed.
    assert lost.effect_s == pytest.approx(at_s, abs=0.01)
    assert not of_it["claimed_s"].between(at_s + 0.001, at_s + 3.69).any()
    assert (of_it["claimed_s"] > at_s + 3.7).any()
    other = done.attempts[done.attempts["worker"].isin({"worker-1/0", "worker-1/1"} - {slot})]
    assert other["claimed_s"].between(at_s, at_s + 3.7).any()
    assert gauge(done, "workers_busy").max() <= 6
    assert all_done(done)


def test_a_worker_without_a_task_in_hand_is_spared() -> None:
    done = struck({"kind": "child_death", "target": "worker-1", "at": "500ms"})
    assert (fault_row(done)["landed"], fault_row(done)["detail"]) == (0, "no task in hand")


def test_a_poison_wakeup_kills_time_and_again_and_the_crash_budget_does_not_know() -> None:
    fault = {"kind": "child_death", "target": "workers", "edge": "before_claim", "nth": 20, "poison": True}
    done = struck(fault, broker={"ack": "late", "reject_on_worker_lost": True})
    runs = runs_of(done)
    assert runs.max() > 5
    poison = done.messages[done.messages["message"] == runs.idxmax()]
    assert poison["finished_s"].isna().all()
    assert (poison["fate"] == "returned").sum() == len(poison) - (poison["fate"] == "open").sum()
    # It names no event, and so no event suffers for it.
    assert (done.events["crash_count"] == 0).all()
    assert all_done(done)


def test_a_deaf_consumer_gets_nothing_until_its_worker_is_started_again() -> None:
    done = run(
        pipeline=LEASED,
        handler=BUSY,
        faults=[
            {"kind": "consumer_deaf", "target": "worker-1", "at": "10s"},
            {"kind": "worker_death", "target": "worker-1", "at": "20s", "restart_after": "1s"},
        ],
    )
    of_it = done.messages.loc[done.messages["worker"] == "worker-1", "delivered_s"]
    assert not of_it.between(10.0, 22.0).any()
    assert (of_it > 22.0).any()
    assert (fault_row(done)["landed"], fault_row(done)["target"]) == (1, "worker-1")
    assert all_done(done)


def test_a_deaf_consumer_may_hear_again() -> None:
    done = struck({"kind": "consumer_deaf", "target": "workers", "at": "10s", "for": "4s"})
    assert not done.messages["delivered_s"].between(10.001, 13.999).any()
    assert done.messages["delivered_s"].between(14.0, 15.0).sum() >= 6
    assert fault_row(done)["end_s"] == 14.0
    assert all_done(done)


def test_a_worker_that_pops_and_dies_takes_its_wakeup_with_it() -> None:
    done = struck(
        {"kind": "pop_then_die", "target": "worker-1", "at": "10s", "probability": 1},
        handler=SWAMPED,
        broker={"ack": "late"},
    )
    (lost,) = done.messages[done.messages["fate"] == "lost"].itertuples()
    assert (lost.worker, lost.settled_s, pd.isna(lost.started_s)) == ("worker-1", 10.0, True)
    assert (done.messages["message"] == lost.message).sum() == 1
    # What it had noted as unacknowledged waits for the visibility timeout.
    waiting = done.messages[(done.messages["fate"] == "open") & (done.messages["worker"] == "worker-1")]
    assert len(waiting) == 2
    assert all_done(done)


def test_every_death_of_a_worker_may_take_the_wakeup_that_it_was_taking() -> None:
    deaths = {"kind": "worker_death", "target": "workers", "rate": "0.5/s", "until": "25s", "restart_after": "10ms"}
    sections = {"handler": SWAMPED, "workers": {"startup": "0s"}, "arrivals": burst(400)}
    kept, lost = (struck(deaths, broker={"ack": "late", "pop_loss": loss}, **sections) for loss in (0, 1))
    assert (kept.messages["fate"] != "lost").all()
    assert (lost.messages["fate"] == "lost").sum() == len(lost.faults)
    assert all_done(lost)


def test_a_paused_worker_hoards_its_prefetch() -> None:
    fault = {"kind": "worker_pause", "target": "worker-1", "at": "10s", "for": "15s"}
    done = struck(fault, workers={"count": 3, "concurrency": 2, "prefetch": 4}, handler=SWAMPED)
    held = done.messages[(done.messages["worker"] == "worker-1") & done.messages["delivered_s"].between(10.0, 24.99)]
    started = held["started_s"]
    assert len(held) >= 1
    assert (started >= 25.0).all()
    hoarded = done.messages[(done.messages["worker"] == "worker-1") & (done.messages["delivered_s"] <= 10.0)]
    assert (hoarded["started_s"] >= 25.0).sum() >= 4
    assert all_done(done)


# --- healed


@pytest.mark.parametrize(
    ("fault", "broker"),
    [
        ({"kind": "consumer_deaf", "target": "workers", "at": "8s"}, {}),
        ({"kind": "broker_restart", "at": "8s", "for": "1s", "messages": "kept"}, {"on_connection_loss": "deaf"}),
        ({"kind": "broker_restart", "at": "8s", "for": "9m"}, {}),
        ({"kind": "broker_frozen", "at": "8s", "for": "9m"}, {}),
        ({"kind": "wakeups_lost", "at": "8s", "for": "9m"}, {}),
    ],
)
def test_all_of_it_is_over_when_the_faults_are_ended(fault: dict[str, Any], broker: dict[str, Any]) -> None:
    done = run(
        pipeline=LEASED,
        handler=SWAMPED,
        broker={"ack": "late", **broker},
        horizon="10m",
        heal_at="40s",
        faults=[fault],
    )
    assert all_done(done)
    assert done.end_s < 120.0
    assert fault_row(done)["end_s"] <= 40.0
    assert not done.messages["delivered_s"].between(20.0, 40.0 - 0.001).any()


def test_a_poison_wakeup_is_harmless_when_the_faults_are_ended() -> None:
    fault = {"kind": "child_death", "target": "workers", "edge": "before_claim", "nth": 20, "poison": True}
    broker = {"ack": "late", "reject_on_worker_lost": True}
    done = struck(fault, broker=broker, heal_at="20s", stop="horizon", horizon="40s")
    poison = done.messages[done.messages["message"] == runs_of(done).idxmax()]
    assert poison["started_s"].max() < 24.0
    assert poison["finished_s"].notna().sum() == 1


# --- settings of the broker


def test_a_worker_that_lost_its_connection_deaf_is_handed_nothing_more() -> None:
    done = struck(
        {"kind": "broker_restart", "at": "10s", "for": "2s", "messages": "kept"},
        handler=SWAMPED,
        broker={"ack": "late", "on_connection_loss": "deaf"},
        stop="horizon",
        horizon="60s",
    )
    # All of them were busy; nobody is served any more, and nobody starts them again.
    assert not (done.messages["delivered_s"] > 10.0).any()
    assert (done.events["status"] == "QUEUED").any()


def test_a_worker_that_exits_comes_back_and_takes_what_waits() -> None:
    done = struck(
        {"kind": "broker_restart", "at": "10s", "for": "2s", "messages": "kept"},
        handler=SWAMPED,
        broker={"ack": "late", "behaves_like": "celery-5.7"},
    )
    in_hand = done.messages[(done.messages["started_s"] < 10.0) & (done.messages["finished_s"] > 10.0)]
    last_s = in_hand.groupby("worker", observed=True)["finished_s"].max()
    assert len(last_s) >= 2
    for worker, end_s in last_s.items():
        delivered_s = done.messages.loc[done.messages["worker"] == worker, "delivered_s"]
        # Five seconds after its last task's end it is started again, and takes a second to boot.
        assert delivered_s[delivered_s > 10.0].min() >= end_s + 6.0
    assert all_done(done)

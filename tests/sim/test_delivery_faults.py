"""Each fault between the outbox and the user leaves its mark in the frames, and nobody is left untold by it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sim_worlds import all_done, fault_row, run

from tem_sim.analysis.delivery import deliveries
from tem_sim.checks.flow import notifications
from tem_sim.frames import Run

# Nobody leaves of their own, so that only what the gateway does of itself can make a loss good.
STAYING = {"count": 20, "latency": "20ms"}
# Half a publish of the relay and both hops.
USUAL_S = 0.3


def struck(kind: str, *, users: dict[str, Any] | None = None, **keys: Any) -> Run:
    """Simulate 30 s of events with a fault from 8 s to 18 s."""
    sections = {name: keys.pop(name) for name in ("pipeline", "beat", "api", "handler") if name in keys}
    fault = {"kind": kind, "at": "8s", "for": "10s", **keys}
    return run(faults=[fault], users=STAYING | (users or {}), **sections)


def told_once(of: Run) -> bool:
    return all_done(of) and notifications(of).verdict == "true"


def due_within(of: Run, start_s: float, end_s: float) -> pd.DataFrame:
    """Return the notifications that came to be in these seconds, with how long their users waited."""
    notes = of.notifications[of.notifications["created_s"].between(start_s, end_s)]
    return notes.assign(waited_s=notes["delivered_s"] - notes["created_s"])


def connected(of: Run) -> pd.Series[Any]:
    return of.samples[of.samples["name"] == "users_connected"].set_index("t_s")["value"]


# --- the gateway and its subscription


@pytest.mark.parametrize("within_s", [0.0, 1.0, 8.0])
def test_users_come_back_to_a_gateway_as_a_herd_or_each_in_its_own_time(within_s: float) -> None:
    done = struck("gateway_disconnect", reconnect_within=within_s, users={"count": 200})
    assert told_once(done)
    waiting = due_within(done, 10.0, 17.0)
    # Each is sent what it missed a moment after it is back, so first deliveries show when that was.
    back_s = waiting.groupby("user_id")["delivered_s"].min() - 18.0
    assert back_s.between(0.0, within_s + USUAL_S).all()
    assert back_s.max() - back_s.min() == pytest.approx(within_s, rel=0.2, abs=1e-9)


def test_a_second_is_what_they_take_when_nothing_is_said() -> None:
    of_old, of_new = struck("gateway_disconnect"), struck("gateway_disconnect", reconnect_within="1s")
    pd.testing.assert_frame_equal(of_old.notifications, of_new.notifications)


def test_in_a_gap_of_the_subscription_a_publish_reaches_nobody_and_the_relay_keeps_it() -> None:
    done = struck("subscriber_gap")
    assert told_once(done)
    in_it = due_within(done, 8.0, 17.7)
    assert in_it["published_s"].between(18.0, 18.3).all()
    assert (connected(done) == 20).all()
    # Each tick of the relay tried them all again.
    assert fault_row(done)["landed"] > 5 * len(in_it)


def test_what_redis_counts_as_heard_is_found_again_when_the_gateway_subscribes() -> None:
    done = struck("subscriber_gap", counted=True)
    assert told_once(done)
    in_it = due_within(done, 8.0, 17.7)
    assert (in_it["published_s"] - in_it["created_s"]).max() < USUAL_S
    assert in_it["delivered_s"].between(18.0, 18.0 + USUAL_S).all()
    assert fault_row(done)["landed"] == pytest.approx(len(in_it), abs=5)


def test_without_an_outbox_a_gap_is_a_loss() -> None:
    done = struck("subscriber_gap", pipeline={"outbox": False})
    lost = deliveries(done, outbox=False)
    assert (lost["fate"] == "lost").sum() == fault_row(done)["landed"] > 50


# --- publishes


def test_a_publisher_that_repeats_itself_is_heard_twice_and_shown_once() -> None:
    done = struck("notifications_doubled", after="3s")
    assert told_once(done)
    notes = done.notifications
    twice = notes["received"] == 2
    assert twice.sum() == fault_row(done)["landed"]
    assert (twice == notes["published_s"].between(8.0, 18.0)).mean() > 0.98


def test_a_publish_that_is_answered_with_an_error_is_published_again() -> None:
    done = struck("notifications_doubled", how="unanswered", probability=0.5)
    assert told_once(done)
    again = done.notifications["received"] > 1
    assert again.sum() > 20
    # It had been heard before it was noted as published, a tick or more later.
    late_s = (done.notifications["published_s"] - done.notifications["delivered_s"])[again]
    assert (late_s > 0.1).all()
    assert fault_row(done)["landed"] == (done.notifications["received"] - 1).sum()


def out_of_order(of: Run, start_s: float, end_s: float) -> int:
    """Count the notifications that were shown after one that was published in a later instant."""
    notes = of.notifications[of.notifications["published_s"].between(start_s, end_s)].sort_values(
        ["delivered_s", "published_s"]
    )
    published_s = notes["published_s"].to_numpy()
    return int((published_s < np.maximum.accumulate(published_s)).sum())


def test_publishes_of_two_publishers_overtake_each_other() -> None:
    twins = {"kind": "beat_doubled", "at": "1s", "for": "40s", "phase": "100ms"}
    reorder = {"kind": "notifications_reordered", "at": "8s", "for": "10s", "within": "1s"}
    done = run(faults=[twins, reorder], users=STAYING)
    assert told_once(done)
    assert fault_row(done, 1)["landed"] > 5
    assert out_of_order(done, 8.0, 18.0) > 5
    assert out_of_order(done, 19.0, 30.0) == 0


def test_publishes_of_one_publisher_keep_their_order_and_the_fault_says_that_it_never_landed() -> None:
    done = struck("notifications_reordered", within="1s")
    assert told_once(done)
    assert (fault_row(done)["landed"], out_of_order(done, 8.0, 18.0)) == (0, 0)
    assert due_within(done, 8.0, 17.0)["waited_s"].mean() > 0.5


# --- sockets and users


def test_a_dead_socket_takes_all_that_is_sent_until_the_heartbeat_finds_it_out() -> None:
    done = struck("sockets_half_open", users={"heartbeat": "5s", "resend_after": "off"})
    assert told_once(done)
    # Pings go out at 10 s and stay unanswered; at 15 s the sockets are closed, and at 18 s the users can dial again.
    assert (connected(done)[8.0:14.0] == 20).all()  # type: ignore[misc]
    assert (connected(done)[16.0:17.0] == 0).all()  # type: ignore[misc]
    before = due_within(done, 8.0, 14.0)
    assert (before["published_s"] < 15.0).all()
    assert before["delivered_s"].between(18.0, 19.0 + USUAL_S).all()
    assert fault_row(done)["landed"] == 20


def test_without_a_heartbeat_a_dead_socket_is_never_found_out() -> None:
    done = struck("sockets_half_open", users={"heartbeat": "off"})
    assert notifications(done).verdict == "unknown"
    untold = done.notifications["shown"] == 0
    assert (untold == (done.notifications["created_s"] > 7.9)).mean() > 0.98
    assert done.notifications["published_s"].notna().all()


def test_a_slow_user_gets_what_is_held_at_the_end_and_what_was_dropped_from_the_outbox() -> None:
    done = struck("slow_consumers", buffer=2)
    assert told_once(done)
    assert (connected(done) == 20).all()
    in_it = due_within(done, 8.0, 17.5)
    assert in_it["delivered_s"].between(18.0, 18.0 + USUAL_S).all()
    first = in_it["delivered_s"] < 18.05
    assert in_it[first].groupby("user_id").size().max() == 2
    assert (~first).sum() > 50


def test_a_slow_user_who_reads_gets_them_at_its_own_pace() -> None:
    done = struck("slow_consumers", buffer=100, read_every="1s", users={"count": 3})
    assert told_once(done)
    for _, of_user in due_within(done, 8.0, 17.0).groupby("user_id"):
        in_window_s = np.sort(of_user["delivered_s"][of_user["delivered_s"] < 17.9])
        assert len(in_window_s) >= 7
        assert np.diff(in_window_s) == pytest.approx(1.0)


def test_a_slow_user_who_is_cut_off_dials_again_and_again() -> None:
    done = struck("slow_consumers", buffer=2, policy="close")
    assert told_once(done)
    assert connected(done)[10.0:17.0].min() < 20  # type: ignore[misc]
    assert due_within(done, 8.0, 16.0)["delivered_s"].between(17.9, 20.0).all()


def test_users_who_are_offline_are_told_when_they_are_back() -> None:
    done = struck("users_offline", fraction=0.5, reconnect_within="4s")
    assert told_once(done)
    away = fault_row(done)["landed"]
    assert (connected(done)[9.0:17.0] == 20 - away).all()  # type: ignore[misc]
    in_it = due_within(done, 8.5, 17.5)
    assert (in_it["published_s"] - in_it["created_s"]).max() < USUAL_S
    late = in_it["waited_s"] > USUAL_S
    assert in_it[late]["user_id"].nunique() == pytest.approx(away, abs=1)
    assert in_it[late]["delivered_s"].between(18.0, 22.0 + USUAL_S).all()


def test_nobody_connects_while_offline() -> None:
    coming = {"count": 30, "connected": 0.5, "session": "4s", "away": "2s"}
    done = struck("users_offline", users=coming)
    assert told_once(done)
    assert (connected(done)[8.0:18.0] == 0).all()  # type: ignore[misc]
    assert connected(done)[20.0] > 5


def test_an_acknowledgement_that_is_lost_brings_the_notification_again_and_it_is_shown_once() -> None:
    done = struck("acks_lost", users={"resend_after": "4s"})
    assert told_once(done)
    in_it = due_within(done, 8.0, 13.0)
    assert (in_it["waited_s"] < USUAL_S + 0.3).all()
    assert (in_it["received"] >= 2).all()
    # Sent again every 4 s, until one of them is acknowledged.
    assert (in_it["received"] == 3).any()
    assert in_it["acked_s"].between(18.0, 22.5).all()
    assert fault_row(done)["landed"] == (done.notifications["received"] - 1).sum()


def test_without_sending_again_a_lost_acknowledgement_is_owed_until_the_user_connects_again() -> None:
    done = struck("acks_lost", users={"resend_after": "off"})
    assert (done.notifications["shown"] == 1).all()
    assert done.notifications["acked_s"].isna().sum() == fault_row(done)["landed"] > 50


def test_what_goes_to_an_instance_without_the_socket_is_heard_by_nobody_until_routes_are_right() -> None:
    done = struck("routing_stale")
    assert told_once(done)
    in_it = due_within(done, 10.0, 17.5)
    assert (in_it["published_s"] - in_it["created_s"]).max() < USUAL_S
    late = in_it["waited_s"] > 0.5
    assert in_it[late]["delivered_s"].between(18.0, 18.0 + USUAL_S).all()
    # All of a user's or none.
    assert in_it.assign(late=late).groupby("user_id")["late"].nunique().max() == 1
    assert 0.3 < late.mean() < 0.8
    assert connected(done)[8.0] < 20


# --- what users read


def reads_at(of: Run) -> pd.Series[Any]:
    return of.notifications[of.notifications["delivered_s"].between(8.0, 18.0)]


@pytest.mark.parametrize("lag_s", [0.1, 0.2, 3.0])
def test_a_user_who_is_told_and_reads_from_a_replica_may_read_what_was_before(lag_s: float) -> None:
    done = struck("read_lag", lag=lag_s)
    assert told_once(done)
    read = reads_at(done)
    stale = read["delivered_s"] - read["created_s"] < lag_s
    assert fault_row(done)["landed"] == stale.sum()
    assert stale.sum() > 5
    assert stale.all() == (lag_s == 3.0)


def test_without_a_lag_nobody_is_told_before_the_commit() -> None:
    for outbox in (True, False):
        done = run(pipeline={"outbox": outbox}, users=STAYING, beat={"relay_every": "1ms"})
        processed_s = done.transitions[done.transitions["after"] == "PROCESSED"].set_index("event_id")["at_s"]
        told_s = done.notifications.set_index("event_id")["delivered_s"]
        assert (told_s > processed_s[told_s.index]).all()


# --- all of them


@pytest.mark.parametrize(
    "kind",
    [
        "subscriber_gap",
        "sockets_half_open",
        "slow_consumers",
        "users_offline",
        "acks_lost",
        "routing_stale",
        "read_lag",
    ],
)
def test_a_fault_of_delivery_moves_no_event(kind: str) -> None:
    calm = run(users=STAYING)
    pd.testing.assert_frame_equal(struck(kind).transitions, calm.transitions)

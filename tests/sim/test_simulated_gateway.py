"""From a publish to the user's screen: sessions, what is sent again, and what is shown once."""

from __future__ import annotations

import pytest
from sim_worlds import all_done, burst, run, scenario, world

from tem_sim.pipeline.ports import Notification
from tem_sim.sim.world import World, simulate

COMING_AND_GOING = {
    "count": 20,
    "connected": 0.5,
    "session": {"kind": "exponential", "mean": "10s"},
    "away": {"kind": "exponential", "mean": "5s"},
}


def seen_once(of_run: object) -> bool:
    notes = of_run.notifications  # type: ignore[attr-defined]
    return bool((notes["shown"] == 1).all())


def test_a_connected_user_sees_it_within_a_tick_of_the_relay_and_two_hops() -> None:
    done = run(users={"count": 5, "latency": "20ms", "pubsub_latency": "1ms"}, beat={"relay_every": "200ms"})
    notes = done.notifications
    assert seen_once(done)
    assert (notes["received"] == 1).all()
    # From the commit; the event itself was done earlier, when its handler was.
    processed = done.transitions[done.transitions["cause"] == "ok"].set_index("event_id")["at_s"]
    delay_s = notes.set_index("event_id")["delivered_s"] - processed
    assert delay_s.between(0.02, 0.2 + 0.03).all()


def test_users_come_and_go_and_are_told_when_they_are_back() -> None:
    done = run(users=COMING_AND_GOING)
    gauge = done.samples[done.samples["name"] == "users_connected"]["value"]
    assert gauge.nunique() > 4
    assert all_done(done)
    assert seen_once(done)
    # Some had to wait for their user, far longer than the relay's period.
    assert (done.notifications["delivered_s"] - done.notifications["created_s"]).max() > 2.0


def test_a_user_who_never_comes_is_owed_for_ever_and_keeps_no_run_from_ending() -> None:
    done = run(users={"count": 4, "connected": 0.0})
    assert done.end_s < 60
    assert (done.notifications["shown"] == 0).all()
    assert done.notifications["published_s"].notna().all()
    assert done.notifications["acked_s"].isna().all()


def test_what_was_published_while_the_gateway_was_away_is_shown_after_it() -> None:
    done = run(faults=[{"kind": "gateway_disconnect", "at": "10s", "for": "8s"}])
    notes = done.notifications
    assert seen_once(done)
    away = notes["created_s"].between(10.1, 17.9)
    assert away.sum() > 50
    # The outbox is relayed at once, and the users dial again within a second.
    assert notes.loc[away, "delivered_s"].between(18.0, 19.5).all()


def test_the_gateway_subscribes_again_after_redis_was_away() -> None:
    done = run(faults=[{"kind": "broker_restart", "at": "10s", "for": "4s"}])
    assert seen_once(done)
    assert all_done(done)


def test_a_crash_loses_acknowledgements_and_no_notifications() -> None:
    """The user has seen it, the store does not know: it comes again and is not shown again."""
    quick = {"count": 30, "latency": "1ms"}
    done = run(
        users=quick,
        arrivals={"kind": "constant", "rate": "50/s", "until": "20s"},
        faults=[{"kind": "gateway_disconnect", "at": f"{5 + n}.05s", "for": "500ms"} for n in range(10)],
    )
    assert seen_once(done)
    assert (done.notifications["received"] > 1).sum() > 5
    assert done.notifications["acked_s"].notna().all()


def test_part_of_the_sockets_may_drop_and_come_back() -> None:
    done = run(faults=[{"kind": "gateway_disconnect", "at": "10s", "for": "5s", "fraction": 0.4}])
    gauge = done.samples[done.samples["name"] == "users_connected"].set_index("t_s")["value"]
    assert gauge[9.0] == 100
    assert 40 < gauge[12.0] < 80
    assert gauge[17.0] == 100
    assert seen_once(done)


def test_a_gateway_that_comes_back_calls_nobody_back_who_is_away_by_choice() -> None:
    made = world(users=COMING_AND_GOING | {"away": "200s", "connected": 1.0}, horizon="60s")
    made.gateway.start()
    made.kernel.run(30.0)
    away = {user.user_id for user in made.gateway.users.values() if not user.wants}
    made.gateway.close()
    made.gateway.reopen()
    made.kernel.run(32.0)
    assert len(away) > 5
    assert not any(made.gateway.users[user_id].connected for user_id in away)
    made.close()


def test_a_frozen_gateway_passes_on_what_it_got_when_it_wakes() -> None:
    done = run(faults=[{"kind": "worker_pause", "target": "gateway", "at": "10s", "for": "5s"}])
    notes = done.notifications
    # What was relayed to it in time waited in its socket; nothing is lost and nothing comes before it wakes.
    assert not notes["delivered_s"].between(10.1, 14.99).any()
    assert notes["created_s"].between(10.1, 14.5).sum() > 20
    assert seen_once(done)


def a_world() -> World:
    made = world(arrivals=burst(1, at="200s"), users={"count": 1})
    made.gateway.start()
    return made


@pytest.mark.parametrize(("key", "shown"), [("event-1-processed", 1), (None, 2)])
def test_a_key_is_what_lets_the_client_show_a_repeat_once(key: str | None, shown: int) -> None:
    made = a_world()
    note = Notification(1, 1, key, 0.0)
    for _ in range(2):
        made.gateway.on_the_way += 1
        made.gateway.arrive([note])
    made.kernel.run(1.0)
    seen = made.gateway.sockets.seen[1]
    assert (seen.received, seen.shown) == (2, shown)
    assert made.gateway.on_the_way == 0
    made.close()


def test_what_is_on_its_way_to_a_socket_that_drops_does_not_arrive() -> None:
    made = a_world()
    made.gateway.on_the_way += 1
    made.gateway.arrive([Notification(1, 1, "k", 0.0)])
    made.gateway.disconnect(made.gateway.users.values())
    made.kernel.run(1.0)
    assert made.gateway.sockets.seen == {}
    made.close()


def test_more_users_than_a_statement_takes_bind_values_can_be_connected() -> None:
    made = scenario(
        users={"count": 40_000},
        arrivals=burst(20),
        faults=[{"kind": "gateway_disconnect", "at": "3s", "for": "2s"}],
    )
    assert seen_once(simulate(made))

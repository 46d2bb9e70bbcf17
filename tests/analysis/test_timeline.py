"""The life of one event, and which one is worth reading."""

import numpy as np
import pytest
from frame_builder import story, tamper, without
from synthetic_storm import storm

from tem_sim.analysis.timeline import COLUMNS, STEPS, timeline, worst_event


def lived():
    """One event: fails once, is requeued late, loses a lease, is processed and told."""
    told = story(pipeline={"lease": 30})
    track = told.event(7, at_s=1.0).claim(1.5).error(2.0, 10.0).retry(12.5).claim(13.0).rescue(45.0)
    track.claim(46.0, worker="worker-2").ok(47.0, committed_s=47.5)
    told.notifications[0].update(published_s=48.0, delivered_s=48.2, acked_s=48.5)
    return told


def test_a_life_is_told_in_true_order_with_who_did_it():
    table = timeline(lived().run(end_s=100.0), 7)
    assert tuple(table.columns) == COLUMNS
    assert list(zip(table["t_s"], table["what"], table["actor"], table["attempt_no"], strict=True)) == [
        (1.0, "submitted", "api", 0),
        (1.5, "claimed", "worker-1", 1),
        (1.5, "called", "worker-1", 1),
        (2.0, "answered", "worker-1", 1),
        (2.0, "failed", "worker-1", 1),
        (12.0, "due", "", 1),
        (12.5, "requeued", "beat", 1),
        (13.0, "claimed", "worker-1", 2),
        (43.0, "lease end", "worker-1", 2),
        (45.0, "rescued", "beat", 2),
        (46.0, "claimed", "worker-2", 3),
        (46.0, "called", "worker-2", 3),
        (47.0, "effect", "downstream", 3),
        (47.0, "answered", "worker-2", 3),
        (47.5, "processed", "worker-2", 3),
        (47.5, "outbox", "", 0),
        (48.0, "published", "relay", 0),
        (48.2, "shown", "user", 0),
        (48.5, "acked", "gateway", 0),
    ]


def test_details_say_how_long_each_wait_was():
    details = timeline(lived().run(end_s=100.0), 7).set_index(["what", "attempt_no"])["detail"]
    assert details["claimed", 2] == "after 500 ms in the queue; lease of 30 s"
    assert details["failed", 1] == "retry_count 1; retry due at 12.000000 s"
    assert details["requeued", 1] == "500 ms after it was due; 1 row in this tick"
    assert details["answered", 1] == "Refused: no, after 500 ms"
    assert details["processed", 3] == "46.5 s after the submit, with 3 attempts"


def test_a_life_that_is_not_over_ends_with_the_run_and_what_comes_later_is_left_out():
    told = story()
    told.event(1).claim(1.0).error(2.0, 100.0)
    table = timeline(told.run(end_s=50.0), 1)
    assert table["what"].tolist() == ["submitted", "claimed", "called", "answered", "failed", "end"]
    assert table["detail"].iloc[-1] == "still FAILED, since 48 s"


def test_the_log_decides_the_order_where_a_clock_went_backwards():
    told = story()
    told.event(1, at_s=10.0).claim(-20.0).ok(12.0)
    table = timeline(told.run(end_s=50.0), 1)
    assert table["what"].tolist()[:3] == ["submitted", "claimed", "called"]
    assert table["t_s"].tolist()[:3] == [10.0, -20.0, -20.0]


def test_a_zombies_answer_stands_where_it_came_and_says_that_it_was_refused():
    track = lived().event(1, at_s=0.0).claim(1.0).rescue(31.0).claim(32.0).ok(33.0)
    track.story.attempts[-2].update(outcome="superseded", started_s=1.0, finished_s=32.5, error=None)
    table = timeline(track.story.run(end_s=50.0), 1)
    assert table["what"].tolist()[:8] == [
        *("submitted", "claimed", "called", "lease end"),
        *("rescued", "claimed", "called", "answered"),
    ]
    assert "its write was refused" in table["detail"].iloc[7]


def test_an_event_that_is_gone_from_the_store_says_so_and_one_that_never_was_is_refused():
    run = lived().run(end_s=100.0)
    assert timeline(without(run, "events", 0), 7)["detail"].iloc[-1] == "its row is gone from the store"
    with pytest.raises(KeyError, match="no event 8 in this run"):
        timeline(run, 8)


def test_every_transition_of_a_storm_is_a_row_of_its_events_life():
    run = storm(events=200)
    of_transitions = {"submitted", "claimed", "failed", "requeued", "processed", "extinct"}
    for event_id in run.events["event_id"].to_numpy()[::17]:
        table = timeline(run, event_id)
        assert set(table["what"]) <= set(STEPS)
        steps = table[table["what"].isin(of_transitions)]["t_s"]
        log = run.transitions[run.transitions["event_id"] == event_id].sort_values("seq")
        assert np.array_equal(steps.to_numpy(), log["at_s"].to_numpy())
        assert table["t_s"].is_monotonic_increasing


def woken(run, event_id=1):
    table = timeline(run, event_id)
    table = table[table["what"] == "woken"]
    return list(zip(table["t_s"], table["actor"], table["detail"], strict=True))


def test_a_row_is_woken_by_the_request_and_by_the_tick_that_queued_it():
    told = story()
    told.event(1, at_s=1.0).claim(1.5).error(2.0, 10.0).retry(12.0).claim(13.0)
    told.event(2, at_s=0.9).claim(1.5).error(2.0, 11.0).retry(13.0).claim(14.0)
    told.wake(1.0, "api", "request", first_id=2).wake(1.1, "api", "request", first_id=1, sent=2, lost=1)
    told.wake(12.1, "beat-2", "retry").wake(12.2, "beat", "retry").wake(13.1, "beat", "retry")
    assert woken(told.run()) == [(1.1, "api", "2 wake-ups, 1 of them lost"), (12.2, "beat", "1 wake-up")]


def test_a_tick_that_died_before_its_wake_up_is_not_given_the_next_ones():
    told = story()
    told.event(1).claim(0.5).error(1.0, 1.0).retry(12.0).claim(20.0)
    told.event(2).claim(0.5).error(1.0, 1.0).retry(13.0).claim(20.0)
    told.wake(13.1, "beat", "retry")
    assert woken(told.run()) == []
    assert woken(told.run(), 2) == [(13.1, "beat", "1 wake-up")]


def test_a_row_that_nobody_comes_for_is_swept_again_and_again_and_no_oftener_than_its_setting():
    told = story(pipeline={"sweep_after": 10})
    told.event(1, at_s=1.0).claim(33.0)
    told.wake(1.1, "api", "request", first_id=1, lost=1)
    for tick_s in (5.0, 12.0, 19.0, 26.0, 33.5):
        told.wake(tick_s, "beat", "rescue")
    swept = "1 wake-up; the sweep of rows that nobody came for"
    assert woken(told.run())[1:] == [(12.0, "beat", swept), (26.0, "beat", swept)]


def test_without_a_sweep_nobody_is_swept():
    told = story(pipeline={"sweep_after": "off"})
    told.event(1, at_s=1.0)
    assert woken(told.wake(500.0, "beat", "rescue").run()) == []


def slow_and_quick():
    told = story()
    told.event(1).claim(1.0).ok(2.0)
    told.event(2).claim(1.0).error(2.0, 10.0).retry(12.0).claim(13.0).ok(14.0)
    return told


def test_the_worst_event_is_the_slowest_where_nothing_went_wrong():
    assert worst_event(slow_and_quick().run()) == (
        2,
        "took longest, 14 s from submit to the user's socket with 2 attempts",
    )


def test_an_open_event_that_is_older_than_any_other_took_longest_so_far():
    told = slow_and_quick()
    told.event(3).claim(1.0).error(2.0, 100.0)
    assert worst_event(told.run(end_s=50.0)) == (3, "took longest, 50 s so far with 1 attempt")


def test_worse_than_slow_is_done_twice_told_twice_never_told_given_up_and_stuck():
    told = slow_and_quick()
    told.event(3).claim(1.0).rescue(61.0).claim(62.0).ok(63.0)
    told.attempts[-2]["effect_s"] = 5.0
    assert worst_event(told.run()) == (3, "its side effect happened 2 times, one of 1")
    told.event(4).claim(1.0).ok(2.0, shown=3)
    assert worst_event(told.run()) == (4, "its user was told 3 times, one of 1")
    told.event(5).claim(1.0).ok(2.0, shown=None)
    assert worst_event(told.run()) == (5, "PROCESSED, and its user was never told, one of 1")
    told.event(6).claim(1.0).exhausted(2.0)
    told.event(7).claim(1.0).error(2.0, 10.0).retry(12.0).claim(13.0).exhausted(14.0)
    assert worst_event(told.run()) == (7, "EXTINCT after 2 attempts, the most of 2 that ended so")
    told.event(8).claim(1.0)
    assert worst_event(told.run()) == (8, "stuck in PROCESSING for 999 s where 70 s are allowed, the longest of 1")


def test_of_equals_the_lowest_id_is_the_worst():
    told = story()
    for event_id in (5, 3, 4):
        told.event(event_id).claim(1.0).exhausted(2.0)
    assert worst_event(told.run())[0] == 3


def test_a_run_without_events_has_no_worst_one():
    assert worst_event(story().run()) is None


def test_a_row_that_only_the_log_knows_is_no_reason_to_fail():
    run = tamper(slow_and_quick().run(), "attempts", 0, started_s=np.nan)
    assert "called" not in timeline(run, 1)["what"].tolist()


def test_a_wake_up_that_came_when_the_row_had_been_claimed_already_is_told_all_the_same():
    told = story()
    told.event(1, at_s=1.0).claim(1.1)
    assert woken(told.wake(1.2, "api", "request", first_id=1).run()) == [(1.2, "api", "1 wake-up")]


def test_a_retry_that_was_due_before_its_failure_was_committed_has_no_instant_of_its_own():
    told = story()
    told.event(1).claim(1.0).error(2.0, 0.5).retry(4.0)
    told.transitions[2]["at_s"] = 3.0
    table = timeline(told.run(), 1)
    assert "due" not in table["what"].tolist()
    assert table["detail"].iloc[4] == "retry_count 1; retry due at 2.500000 s, which is past already"

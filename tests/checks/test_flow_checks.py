"""Users told once, Little's law, liveness."""

import pytest
from frame_builder import story, tamper, without

from tem_sim.checks.registry import run_checks


def judged(name, run):
    return run_checks(run, [name])[0]


def test_one_notification_per_processed_event_is_right():
    answer = judged("notifications", story().event(1).claim(1.0).ok(2.0).story.run())
    assert answer.verdict == "true"
    assert answer.detail == "1 of 1 notification shown once, 0 repeats suppressed by clients"


def test_a_repeat_that_the_client_suppressed_is_no_duplicate():
    track = story().event(1).claim(1.0).ok(2.0, shown=None).told(2.0, shown=1, received=3)
    answer = judged("notifications", track.story.run())
    assert answer.verdict == "true"
    assert "2 repeats suppressed" in answer.detail


def test_a_user_told_twice_is_wrong_even_in_a_run_cut_short():
    told = story()
    told.event(1).claim(1.0).ok(2.0, shown=2)
    answer = judged("notifications", told.run(status="interrupted"))
    assert answer.verdict == "false"
    assert answer.rows.to_dict("records") == [{"event_id": 1, "shown": 2, "received": 2, "fate": "duplicate"}]


def test_a_notification_that_stands_in_the_outbox_is_owed_not_lost():
    answer = judged("notifications", story().event(1).claim(1.0).ok(2.0, shown=0).story.run())
    assert answer.verdict == "unknown"
    assert answer.rows["fate"].tolist() == ["owed"]


def test_a_notification_settled_but_never_shown_is_lost():
    track = story().event(1).claim(1.0).ok(2.0, shown=None).told(2.0, shown=0, acked=True)
    answer = judged("notifications", track.story.run())
    assert (answer.verdict, answer.rows["fate"].tolist()) == ("false", ["lost"])


def test_without_an_outbox_what_was_not_shown_is_lost():
    told = story(pipeline={"outbox": False})
    told.event(1).claim(1.0).ok(2.0, shown=0)
    told.event(2).claim(1.0).ok(2.0, shown=None)
    answer = judged("notifications", told.run())
    assert (answer.verdict, answer.rows["fate"].tolist()) == ("false", ["lost", "lost"])


def test_a_loss_in_a_run_cut_short_is_unknown():
    told = story(pipeline={"outbox": False})
    told.event(1).claim(1.0).ok(2.0, shown=None)
    assert judged("notifications", told.run(status="interrupted")).verdict == "unknown"


def test_telling_of_what_did_not_happen_is_wrong():
    answer = judged("notifications", story().event(1).claim(1.0).told(2.0).story.run())
    assert (answer.verdict, answer.rows["fate"].tolist()) == ("false", ["phantom"])


def busy():
    told = story()
    told.event(1).claim(1.0).error(1.1, 10.0).retry(11.2).claim(11.3).ok(11.5, committed_s=12.0)
    told.event(2, at_s=5.0)
    told.event(3, at_s=5.0).claim(6.0).rescue(66.0).claim(67.0).crashed(128.0)
    return told


def test_littles_law_holds_between_the_log_and_the_events():
    answer = judged("littles_law", busy().run(end_s=200.0))
    assert answer.verdict == "true"
    # Stays of 11.5, 195 and 123 s in 200 s.
    assert answer.detail == "L = 1.6475 events in the system, λ·W = 0.015/s × 109.833 s"


@pytest.mark.parametrize("cells", [{"submitted_s": 0.001}, {"finished_s": 12.0}])
def test_an_event_whose_times_are_not_the_logs_breaks_littles_law(cells):
    answer = judged("littles_law", tamper(busy().run(end_s=200.0), "events", 0, **cells))
    assert (answer.verdict, answer.rows["event_id"].tolist()) == ("false", [1])


def test_an_event_that_the_log_has_still_in_the_system_breaks_littles_law():
    run = busy().run(end_s=200.0)
    assert judged("littles_law", without(run, "transitions", 5)).verdict == "false"


def test_an_event_without_a_log_breaks_littles_law():
    run = story().event(1).story.run()
    assert judged("littles_law", without(run, "transitions", 0)).verdict == "false"


def test_little_says_nothing_of_a_run_without_time_or_of_replayed_events():
    assert judged("littles_law", story().event(1).story.run(end_s=0.0)).verdict == "unknown"
    replayed = story().event(1).claim(0.0).crashed(61.0).replay(70.0)
    assert judged("littles_law", replayed.story.run()).verdict == "unknown"


def test_a_run_in_which_all_events_ended_is_live():
    answer = judged("liveness", story().event(1).claim(1.0).ok(2.0).story.run())
    assert (answer.verdict, answer.detail) == ("true", "all of 1 event came to an end")


def test_a_row_left_processing_by_a_dead_worker_is_stuck_once_its_lease_is_over():
    told = story()
    told.event(1).claim(1.0)
    assert judged("liveness", told.run(end_s=61.0)).verdict == "unknown"
    answer = judged("liveness", told.run(end_s=90.0))
    assert answer.verdict == "false"
    assert answer.detail == ("1 row stuck (1 PROCESSING), one PROCESSING for 89 s where 70 s are allowed")


def test_without_a_lease_the_same_row_is_stuck_all_the_same():
    told = story(pipeline={"lease": "off"})
    told.event(1).claim(1.0)
    assert judged("liveness", told.run(end_s=1000.0)).verdict == "false"


def test_a_queued_row_that_nobody_was_woken_for_is_stuck_after_the_sweep():
    told = story(pipeline={"sweep_after": "off"})
    told.event(1)
    assert judged("liveness", told.run(end_s=100.0)).verdict == "unknown"
    assert judged("liveness", told.run(end_s=300.0)).verdict == "false"


def test_a_queue_that_is_still_being_worked_off_is_not_stuck():
    told = story()
    told.event(1).claim(290.0).ok(290.1)
    told.event(2, at_s=1.0)
    assert judged("liveness", told.run(end_s=300.0)).verdict == "unknown"


def test_a_row_passed_over_by_later_ones_is_stuck():
    told = story()
    told.event(1)
    told.event(2, at_s=100.0).claim(290.0).ok(290.1)
    answer = judged("liveness", told.run(end_s=300.0))
    assert (answer.verdict, answer.rows["event_id"].tolist()) == ("false", [1])


def test_a_failed_row_long_past_its_due_time_is_stuck():
    told = story()
    told.event(1).claim(0.0).error(1.0, 10.0)
    assert judged("liveness", told.run(end_s=5.0)).verdict == "unknown"
    assert judged("liveness", told.run(end_s=12.0)).verdict == "unknown"
    assert judged("liveness", told.run(end_s=20.0)).verdict == "false"


def test_a_fault_that_lasted_to_the_end_excuses_waiting():
    told = story().fault(0.0, 1000.0, kind="beat_stopped")
    told.event(1).claim(0.0).error(1.0, 10.0)
    answer = judged("liveness", told.run(end_s=1000.0))
    assert answer.verdict == "unknown"
    assert "1 of them held up by faults" in answer.detail


def test_a_fault_long_over_or_one_that_never_landed_excuses_nothing():
    told = story().fault(0.0, 100.0, kind="beat_stopped").fault(0.0, 1000.0, landed=0)
    told.event(1).claim(0.0).error(1.0, 10.0)
    assert judged("liveness", told.run(end_s=1000.0)).verdict == "false"


def test_nothing_is_owed_by_a_run_cut_short():
    told = story()
    told.event(1).claim(1.0)
    assert judged("liveness", told.run(end_s=900.0, status="interrupted")).verdict == "unknown"


def test_a_zombie_that_ends_after_its_event_crashed_breaks_no_law():
    run = story().event(1).claim(1.0).crashed(62.0).story.run()
    late = tamper(run, "attempts", 0, outcome="superseded", finished_s=90.0)
    assert judged("littles_law", late).verdict == "true"


def test_telling_another_than_the_events_user_is_wrong():
    run = story().event(1).claim(1.0).ok(2.0).story.run()
    assert judged("notifications", tamper(run, "notifications", 0, user_id=7)).verdict == "false"

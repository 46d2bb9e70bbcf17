"""What the checks say of mitigations at work: no false alarm, and no blind eye."""

import pytest
from frame_builder import story

from tem_sim.checks.registry import run_checks


def hasty(deadline=30):
    return story(pipeline={"backoff": {"growth": "fixed", "base": 10, "max_retries": 2}, "deadline": deadline})


def broken(track, only=None):
    return [answer.name for answer in run_checks(track.story.run(), only) if answer.verdict == "false"]


def test_an_event_that_expired_after_its_deadline_breaks_nothing():
    assert broken(hasty().event(1).claim(31.0).expired(31.0)) == []
    assert broken(hasty().event(1).claim(1.0).error(2.0, 10.0).retry(12.0).claim(29.9).expired(30.0)) == []


def test_an_event_that_expired_before_its_deadline_was_given_up_early():
    assert broken(hasty().event(1).claim(20.0).expired(29.9)) == ["attempts_bounded"]


def test_no_event_expires_without_a_deadline():
    assert broken(hasty("off").event(1).claim(20.0).expired(29.9)) == ["attempts_bounded"]


@pytest.mark.parametrize("claimed_s", [30.1, 45.0])
def test_an_event_that_was_claimed_after_its_deadline_must_not_be_handled(claimed_s):
    assert broken(hasty().event(1).claim(claimed_s).ok(claimed_s + 1)) == ["attempts_bounded"]


def test_a_call_that_began_before_the_deadline_may_end_after_it():
    assert broken(hasty().event(1).claim(29.9).ok(50.0)) == []


def test_a_replay_sets_the_clock_of_the_deadline_back():
    track = hasty().event(1).claim(31.0).expired(31.0).replay(100.0).claim(125.0).ok(126.0)
    assert broken(track) == []
    early = hasty().event(1).claim(31.0).expired(31.0).replay(100.0).claim(125.0).expired(126.0)
    assert broken(early) == ["attempts_bounded"]


def test_another_worker_than_the_holder_can_not_let_an_event_expire():
    track = hasty().event(1).claim(31.0)
    track.end(31.0, "expired", started=False)
    track.move(31.0, "EXTINCT", "expired", "worker-2", finished_s=31.0)
    assert broken(track) == ["single_lease"]


# --- whose turn it is


def in_order(claim_order):
    return story(pipeline={"claim_order": claim_order, "lease": 60, "sweep_after": 60}, beat={"rescue_every": 5})


def liveness(told, end_s):
    return run_checks(told.run(end_s=end_s), ["liveness"])[0].verdict


def waiting_retry(told):
    told.event(1).claim(0.0).error(1.0, 10.0).retry(11.0)
    return told


@pytest.mark.parametrize(
    ("order", "verdict"), [("new_first", "unknown"), ("newest_first", "unknown"), ("oldest_first", "false")]
)
def test_a_retry_that_new_events_pass_by_is_stuck_only_where_the_longest_waiting_go_first(order, verdict):
    told = waiting_retry(in_order(order))
    for number in range(2, 30):
        told.event(number, at_s=10.0 * number).claim(10.0 * number + 1).ok(10.0 * number + 2)
    assert liveness(told, end_s=300.0) == verdict


def test_a_new_event_that_retries_pass_by_is_stuck_where_new_events_go_first():
    told = in_order("new_first")
    told.event(1, at_s=0.0)
    for number in range(2, 30):
        at_s = 10.0 * number
        told.event(number, at_s=0.0).claim(at_s - 9).error(at_s - 8, 1.0).retry(at_s - 7).claim(at_s).ok(at_s + 1)
    assert liveness(told, end_s=300.0) == "unknown"
    for number in range(30, 70):
        track = told.event(number, at_s=0.0).claim(1.0).error(2.0, 1.0)
        track.retry(10.0 * number - 1).claim(10.0 * number).ok(10.0 * number + 1)
    assert liveness(told, end_s=700.0) == "false"


def test_a_due_row_is_not_stuck_while_those_due_before_it_are_being_requeued():
    told = story(pipeline={"requeue_limit": 1}, beat={"retry_every": 10})
    for number in range(1, 31):
        track = told.event(number).claim(0.0).error(1.0 + number / 100, 9.0)
        if number <= 25:
            track.retry(10.0 * number + 1).claim(10.0 * number + 2).ok(10.0 * number + 3)
    assert liveness(told, end_s=262.0) == "unknown"
    assert liveness(told, end_s=400.0) == "false"


def test_a_due_row_that_waits_for_tokens_is_stuck_only_once_the_floor_would_have_paid_for_it():
    told = story(pipeline={"retry_budget": {"ratio": 0, "floor": "0.1/s", "burst": 1}}, beat={"retry_every": 1})
    for number in range(1, 6):
        told.event(number).claim(0.0).error(1.0, 9.0)
    assert liveness(told, end_s=60.0) == "unknown"
    assert liveness(told, end_s=65.0) == "false"


# --- the breaker


def guarded():
    return story(pipeline={"breaker": {"cool_down": 30}, "backoff": {"base": 10, "max_retries": 2, "jitter": "none"}})


def test_a_claim_that_was_given_back_is_no_attempt_of_the_policys():
    track = guarded().event(1).claim(1.0).released(2.0).claim(40.0).error(41.0, 10.0).retry(51.0)
    track.claim(52.0).released(53.0).claim(90.0).error(91.0, 20.0).retry(111.0).claim(112.0).exhausted(113.0)
    assert broken(track) == []


def test_another_than_the_holder_can_not_give_an_event_back():
    track = guarded().event(1).claim(1.0)
    track.end(2.0, "released", started=False)
    track.move(2.0, "QUEUED", "release", "worker-2")
    assert broken(track, ["single_lease"]) == ["single_lease"]


def test_a_due_row_may_wait_for_two_cool_downs_of_a_breaker_and_no_longer():
    told = guarded()
    told.event(1).claim(0.0).error(1.0, 10.0)
    assert liveness(told, end_s=110.0) == "unknown"
    assert liveness(told, end_s=150.0) == "false"

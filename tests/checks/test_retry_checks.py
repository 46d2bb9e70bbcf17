"""The number of attempts, the retry count, the due times and the delays."""

import pytest
from frame_builder import story, tamper

from tem_sim.checks.registry import run_checks


def judged(name, run):
    return run_checks(run, [name])[0]


def backoff(**more):
    return {"backoff": {"growth": "exponential", "base": 10, "factor": 2, "jitter": "none", "max_retries": 2} | more}


def failing(told, times):
    """An event that fails again and again, each time 0.1 s after its claim, and is requeued when due."""
    track, at_s = told.event(1), 0.0
    for number in range(times):
        delay_s = 10.0 * 2**number
        track.claim(at_s).error(at_s + 0.1, delay_s).retry(at_s + 0.1 + delay_s)
        at_s += 1.0 + delay_s
    return track


def test_as_many_attempts_as_retries_allow_are_within_bounds():
    track = failing(story(), 2).claim(40.0).exhausted(41.0)
    answer = judged("attempts_bounded", track.story.run())
    assert (answer.verdict, answer.detail) == (
        "true",
        "at most 3 attempts in one life, where 3 and one per lost lease are allowed",
    )


def test_an_event_that_never_becomes_extinct_is_out_of_bounds():
    """What the historic bug does: the count is stuck, so the limit is never reached."""
    answer = judged("attempts_bounded", failing(story(), 4).story.run())
    assert answer.verdict == "false"
    assert answer.rows.to_dict("records") == [{"event_id": 1, "attempts": 4, "allowed": 3}]


def test_an_attempt_whose_worker_died_does_not_count():
    track = story().event(1).claim(0.0).rescue(61.0)
    track.claim(62.0).error(63.0, 10.0).retry(73.0).claim(74.0).error(75.0, 20.0).retry(96.0)
    track.claim(97.0).exhausted(98.0)
    assert judged("attempts_bounded", track.story.run()).verdict == "true"


def test_a_replayed_event_has_its_attempts_again():
    track = failing(story(), 2).claim(40.0).exhausted(41.0).replay(50.0)
    track.claim(51.0).error(52.0, 10.0).retry(63.0).claim(64.0).error(65.0, 20.0).retry(86.0)
    assert judged("attempts_bounded", track.story.run()).verdict == "true"
    track.claim(87.0).error(88.0, 40.0).retry(130.0).claim(131.0)
    answer = judged("attempts_bounded", track.story.run())
    assert answer.rows.to_dict("records") == [{"event_id": 1, "attempts": 4, "allowed": 3}]


def test_a_policy_that_never_gives_up_has_no_bound():
    track = failing(story(pipeline=backoff(max_retries="off")), 4)
    assert judged("attempts_bounded", track.story.run()).verdict == "true"


def test_a_count_of_all_failures_is_right():
    track = failing(story(), 2).claim(40.0).exhausted(41.0)
    answer = judged("retry_count", track.story.run())
    assert (answer.verdict, answer.detail) == ("true", "every row counts its failed attempts, 3 in all")


def test_a_row_that_forgot_a_failure_is_seen():
    run = tamper(failing(story(), 2).story.run(), "events", 0, retry_count=1)
    answer = judged("retry_count", run)
    assert answer.verdict == "false"
    row = answer.rows.iloc[0]
    assert (row["event_id"], row["retry_count"], row["failed_attempts"]) == (1, 1, 2)


def test_a_count_that_went_astray_and_came_back_is_seen_in_the_log():
    run = tamper(failing(story(), 2).story.run(), "transitions", 3, retry_count=0)
    answer = judged("retry_count", run)
    assert answer.verdict == "false"
    assert answer.detail == "2 transitions changed the count by other than one per failure"


def test_lost_and_superseded_attempts_are_no_failures():
    track = story().event(1).claim(0.0).rescue(61.0).claim(62.0).error(63.0, 10.0)
    run = tamper(track.story.run(), "attempts", 0, outcome="superseded", error="Refused")
    assert judged("retry_count", run).verdict == "true"


def test_a_replay_starts_the_count_anew():
    track = failing(story(), 2).claim(40.0).exhausted(41.0).replay(50.0).claim(51.0).error(52.0, 10.0)
    assert judged("retry_count", track.story.run()).verdict == "true"
    wrong = tamper(track.story.run(), "events", 0, retry_count=4)
    assert judged("retry_count", wrong).verdict == "false"


def test_retries_at_their_due_time_are_not_early():
    answer = judged("no_early_claim", failing(story(), 2).story.run())
    assert (answer.verdict, answer.detail) == ("true", "none of 2 retries came before it was due")


def test_a_retry_before_its_due_time_is_early():
    track = story().event(1).claim(0.0).error(1.0, 10.0).retry(10.9)
    answer = judged("no_early_claim", track.story.run())
    assert answer.verdict == "false"
    assert answer.rows.loc[0, "early_s"] == pytest.approx(0.1)


def test_a_retry_without_any_booked_delay_is_early():
    run = story().event(1).claim(0.0).error(1.0, 10.0).retry(11.5).story.run()
    assert judged("no_early_claim", tamper(run, "attempts", 0, delay_s=None)).verdict == "false"


SKEW = [{"kind": "clock_skew", "target": "worker-1", "at": 0, "for": 60, "skew": -30}]


def test_what_a_skewed_clock_may_explain_is_unknown():
    told = story(faults=SKEW)
    told.event(1).claim(0.0).error(1.0, 10.0).retry(5.0)
    answer = judged("no_early_claim", told.run())
    assert answer.verdict == "unknown"
    assert answer.detail == "1 of 1 retry came early by no more than the declared clock skew of 30 s"


def test_what_a_skewed_clock_cannot_explain_is_still_false():
    told = story(faults=SKEW, pipeline=backoff(base=40))
    told.event(1).claim(0.0).error(1.0, 40.0).retry(5.0)
    assert judged("no_early_claim", told.run()).verdict == "false"


def test_delays_of_10_20_seconds_are_what_the_policy_draws():
    answer = judged("backoff_support", failing(story(), 2).story.run())
    assert (answer.verdict, answer.detail) == (
        "true",
        "all of 2 delays lie within the policy's bounds for their retry",
    )


def test_a_delay_that_does_not_grow_is_outside_the_policy():
    track = story().event(1).claim(0.0).error(1.0, 10.0).retry(11.0).claim(12.0).error(13.0, 10.0)
    answer = judged("backoff_support", track.story.run())
    assert answer.verdict == "false"
    assert answer.rows[["retry", "delay_s", "low_s", "high_s"]].values.tolist() == [[2, 10.0, 20.0, 20.0]]


def test_full_jitter_allows_all_below_its_bound_and_nothing_above():
    told = story(pipeline=backoff(jitter="full"))
    told.event(1).claim(0.0).error(1.0, 0.0).retry(1.0).claim(2.0).error(3.0, 20.0)
    assert judged("backoff_support", told.run()).verdict == "true"
    told.event(2).claim(0.0).error(1.0, 10.1)
    assert judged("backoff_support", told.run()).verdict == "false"


def test_decorrelated_delays_are_judged_by_the_delay_before():
    told = story(pipeline=backoff(jitter="decorrelated", cap=1000))
    told.event(1).claim(0.0).error(1.0, 12.0).retry(14.0).claim(15.0).error(16.0, 35.9)
    assert judged("backoff_support", told.run()).verdict == "true"
    told.event(2).claim(0.0).error(1.0, 12.0).retry(14.0).claim(15.0).error(16.0, 36.1)
    answer = judged("backoff_support", told.run())
    assert answer.rows[["event_id", "previous_s", "high_s"]].values.tolist() == [[2, 12.0, 36.0]]


def test_a_replay_starts_the_delays_anew():
    track = failing(story(), 2).claim(40.0).exhausted(41.0).replay(50.0).claim(51.0).error(52.0, 10.0)
    assert judged("backoff_support", track.story.run()).verdict == "true"


def test_a_claim_before_the_retry_is_due_is_early():
    track = story().event(1).claim(0.0).error(1.0, 10.0).retry(11.5).claim(10.5)
    answer = judged("no_early_claim", track.story.run())
    assert answer.verdict == "false"
    assert answer.rows.loc[0, "early_s"] == pytest.approx(0.5)


def test_a_claim_early_by_a_skewed_clock_is_unknown():
    told = story(faults=SKEW)
    told.event(1).claim(0.0).error(1.0, 10.0).retry(11.5).claim(5.0)
    assert judged("no_early_claim", told.run()).verdict == "unknown"


def test_skews_of_one_node_add_up_while_they_overlap():
    twice = [SKEW[0] | {"target": "worker-2", "skew": -3}, SKEW[0] | {"target": "worker-2", "skew": -3}]
    told = story(faults=twice)
    told.event(1).claim(0.0).error(1.0, 10.0).retry(6.0)
    assert judged("no_early_claim", told.run()).verdict == "unknown"
    told = story(faults=[twice[0], twice[1] | {"at": 100}])
    told.event(1).claim(0.0).error(1.0, 10.0).retry(6.0)
    assert judged("no_early_claim", told.run()).verdict == "false"


def test_an_event_given_up_before_its_retries_are_used_up_is_out_of_bounds():
    answer = judged("attempts_bounded", story().event(1).claim(0.0).exhausted(1.0).story.run())
    assert (answer.verdict, answer.detail) == ("false", "1 event given up with no more than 2 failures")

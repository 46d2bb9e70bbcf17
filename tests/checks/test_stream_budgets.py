"""Failures and crashes counted, budgets spent, and when a retry is due: by the row images of watched runs."""

import random

import pytest
from stream_builder import seen
from test_stream_edges import judged, problems


def failed(times, **sections):
    """An event that has failed so often, each retry queued when it is due; the clock stands at its next claim."""
    told = seen(**sections).submit(1)
    for number in range(times):
        told.at(told.now + 1.0).claim(1).call(1).error(1, delay_s=10.0 * 2**number)
        told.at(told.now + 10.0 * 2**number).retry(1)
    return told.at(told.now + 1.0)


# --- retry_accounting


@pytest.mark.parametrize(("count", "problem"), [(0, "+0 where +1 was due"), (2, "+2 where +1 was due")])
def test_a_failure_that_is_not_counted_once_is_seen(count, problem):
    told = failed(0).claim(1).error(1, retry_count=count)
    assert problems(told.run(), "retry_accounting") == [problem]


def test_a_count_that_changes_with_a_success_or_a_retry_is_seen():
    assert problems(failed(1).claim(1).ok(1, retry_count=0).run(), "retry_accounting") == ["-1 where +0 was due"]
    told = failed(0).claim(1).error(1).at(20.0).retry(1, retry_count=0)
    assert problems(told.run(), "retry_accounting") == ["-1 where +0 was due"]


def test_a_count_that_changes_on_its_own_is_seen():
    told = failed(0).claim(1).change("worker-1/0", 1, "UPDATE processing_state SET retry_count", retry_count=1)
    assert problems(told.run(), "retry_accounting") == ["counted without a failure"]


def test_a_replay_clears_the_count():
    told = seen(pipeline={"backoff": {"growth": "fixed", "base": 10, "jitter": "none", "max_retries": 0}}).submit(1)
    told.at(1.0).claim(1).exhausted(1).at(2.0)
    again = {"status": "QUEUED", "cause": "replay", "finished_at": None, "replay_count": 1}
    fine = told.change("operator", 1, "UPDATE processing_state SET x", **again, retry_count=0)
    assert judged(fine.run(), "retry_accounting").verdict == "true"


def test_guards_that_count_apart_count_once_and_only_the_holder_may():
    told = failed(0, pipeline={"write_guard": "refresh"}).claim(1)
    told.change("worker-1/0", 1, "UPDATE processing_state SET retry_count", retry_count=1)
    told.error(1, retry_count=1)
    assert judged(told.run(), "retry_accounting").verdict == "true"
    other = failed(0, pipeline={"write_guard": "refresh"}).claim(1)
    other.change("worker-2/0", 1, "UPDATE processing_state SET retry_count", retry_count=1)
    assert problems(other.run(), "retry_accounting") == ["counted without a failure"]


# --- extinct_budget: two retries are allowed


def test_an_event_is_given_up_after_its_last_retry_and_not_before():
    assert judged(failed(2).claim(1).exhausted(1).run(), "extinct_budget").verdict == "true"
    early = failed(1).claim(1).exhausted(1)
    assert problems(early.run(), "extinct_budget") == ["given up after 2 failures, where 2 retries are allowed"]


def test_an_event_that_is_not_given_up_is_seen_whatever_its_counter_says():
    late = failed(2).claim(1).error(1, retry_count=0)
    assert problems(late.run(), "extinct_budget") == ["to be tried again after 3 failures, where 2 retries are allowed"]


def test_a_budget_of_time_may_end_it_sooner_but_not_later():
    backoff = {"growth": "exponential", "base": 10, "factor": 2, "jitter": "none", "max_retries": 2, "budget": 30}
    timed = {"pipeline": {"backoff": backoff}}
    assert judged(failed(1, **timed).claim(1).exhausted(1).run(), "extinct_budget").verdict == "true"
    slow = failed(1, **timed).claim(1).at(40.0).error(1)
    assert "past its budget" in problems(slow.run(), "extinct_budget")[0]
    late = failed(2, **timed).claim(1).error(1)
    assert judged(late.run(), "extinct_budget").verdict == "false"


def lost(times):
    """Let an event's workers die in its handler, again and again."""
    told = seen().submit(1)
    for _ in range(times):
        called(told.claim(1)).at(told.now + 61.0).rescue(1)
    return told


def called(told):
    return told.change("worker-1/0", 1, "UPDATE processing_state SET started_at", started_at=told.now)


def crashed(times, **columns):
    told = lost(times)
    ended = {"crash_count": told.rows[1]["crash_count"] + 1, "finished_at": told.now + 61.0, **columns}
    called(told.claim(1)).at(told.now + 61.0)
    return told.end(1, "EXTINCT", "crashed", "beat/rescue", **ended)


def test_the_crash_budget_ends_it_exactly_when_it_is_spent():
    assert judged(crashed(3).run(), "extinct_budget").verdict == "true"
    assert problems(crashed(2).run(), "extinct_budget") == ["given up after 3 crashes, where 3 are allowed"]
    assert problems(lost(4).run(), "extinct_budget") == ["rescued after 4 crashes, where 3 are allowed"]


def test_a_crash_that_is_not_counted_or_blamed_on_a_bystander_is_seen():
    told = seen().submit(1).claim(1).at(62.0).rescue(1, crash_count=0)
    assert problems(told.run(), "extinct_budget") == ["0 crashes counted after 0, where one more was due"]
    beside = seen().submit(1).claim(1).at(62.0).rescue(1).claim(1).at(124.0).rescue(1)
    assert problems(beside.run(), "extinct_budget") == ["2 crashes counted after 1, where no more was due"]


def test_a_deadline_that_has_not_passed_ends_nothing():
    told = seen(pipeline={"deadline": 100}).submit(1).at(50.0).claim(1)
    told.end(1, "EXTINCT", "expired", finished_at=50.0)
    assert problems(told.run(), "extinct_budget") == ["expired at an age of 50 s, before its deadline"]


# --- due_times: 10 s and 20 s without jitter


def test_a_retry_that_is_due_at_another_time_than_the_policy_says_is_seen():
    told = failed(0).claim(1).error(1, delay_s=20.0)
    assert problems(told.run(), "due_times") == ["due 20.000000 s after its failure, where retry 1 takes 10 to 10 s"]


def test_a_time_shifted_by_a_zone_is_seen():
    told = failed(0).claim(1).error(1, next_retry_at=1.0 + 10.0 + 3600.0)
    assert problems(told.run(), "due_times") == [
        "due 3610.000000 s after its failure, where retry 1 takes 10 to 10 s",
        "due at another time than its recorded delay says",
    ]


def test_a_delay_below_zero_is_seen():
    assert "due -3.000000 s after" in problems(failed(0).claim(1).error(1, delay_s=-3.0).run(), "due_times")[0]


def test_a_row_that_is_queued_before_it_is_due_is_seen_by_its_authors_clock():
    told = failed(0).claim(1).error(1).at(9.0).retry(1)
    assert problems(told.run(), "due_times") == ["queued before it was due, by its author's own clock"]
    undated = failed(0).claim(1).error(1, next_retry_at=None).at(20.0).retry(1)
    assert "queued before it was due, by its author's own clock" in problems(undated.run(), "due_times")


def test_a_write_that_is_dated_ahead_of_its_authors_clock_is_seen():
    told = failed(0).claim(1).error(1).at(9.0).retry(1, changed_at=3609.0)
    assert problems(told.run(), "due_times") == ["dated 3600.000000 s ahead of its author's clock"]


def test_a_clock_that_a_fault_has_set_wrong_dates_as_it_may():
    skew = [{"kind": "clock_skew", "target": "beat", "at": 0, "for": 60, "skew": 30}]
    told = failed(0, faults=skew).claim(1).error(1).at(9.0).retry(1, changed_at=12.0)
    assert judged(told.run(), "due_times").verdict == "true"


def test_an_attempt_that_ended_by_another_clock_is_seen():
    told = failed(0).claim(1).error(1, next_retry_at=3611.0, record={"finished_at": 3601.0})
    assert problems(told.run(), "due_times") == ["its attempt ended by another clock than its worker's"]


# --- jitter_law

FULL = {"backoff": {"growth": "exponential", "base": 10, "factor": 2, "jitter": "full", "max_retries": 2}}


def storm(draw, events, workers=2):
    told = seen(pipeline=FULL)
    for event in range(1, events + 1):
        thread = f"worker-{1 + event % workers}/0"
        told.submit(event).at(told.now + 1.0).claim(event, thread).error(event, thread, delay_s=draw(event))
    return told.run(1e6)


def test_delays_that_are_spread_evenly_pass_the_test():
    luck = random.Random("even")
    answer = judged(storm(lambda _: round(10 * luck.random(), 6), 1000), "jitter_law")
    assert answer.verdict == "true"
    assert "Kolmogorov-Smirnov p = 0." in answer.detail


def test_delays_that_bunch_are_seen():
    luck = random.Random("bunched")
    answer = judged(storm(lambda _: round(10 * luck.random() ** 2, 6), 1000), "jitter_law")
    assert answer.verdict == "false"
    assert "not spread as the policy says" in answer.detail


def test_few_draws_are_not_tested():
    assert "fewer than the 1,000" in judged(storm(lambda event: event % 10 + 0.5, 7, 7), "jitter_law").detail


def test_workers_that_draw_the_same_one_by_one_are_seen():
    chances = {0: random.Random("fork"), 1: random.Random("fork")}
    run = storm(lambda event: round(10 * chances[event % 2].random(), 6), 20)
    answer = judged(run, "jitter_law")
    assert answer.verdict == "false"
    assert set(answer.rows["problem"]) == {"the draw of worker-1/0 again"}


def test_without_jitter_there_is_nothing_to_spread():
    assert judged(failed(2).run(), "jitter_law").detail == "no delay was drawn from a range"

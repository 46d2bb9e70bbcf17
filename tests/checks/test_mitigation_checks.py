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

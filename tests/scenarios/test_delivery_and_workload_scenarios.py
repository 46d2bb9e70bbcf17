"""The shipped scenarios of delivery and of the workload show what their comments say, and so do their "Try:" lines."""

from __future__ import annotations

import pytest
from shipped import broken_checks, numbers, shipped

from tem_sim.frames import Run

# One process runs them all, so that each file is run once.
pytestmark = pytest.mark.xdist_group("shipped scenarios")


def all_told_once(run: Run) -> bool:
    return bool((run.events["status"] == "PROCESSED").all() and (run.notifications["shown"] == 1).all())


def last_sample(run: Run, name: str) -> float:
    return float(run.samples.loc[run.samples["name"] == name, "value"].iloc[-1])


def test_what_went_into_dead_sockets_is_told_once_they_are_found_out() -> None:
    run = shipped("dead_sockets")
    assert all_told_once(run)
    late = run.notifications[run.notifications["delivered_s"] - run.notifications["published_s"] > 1.0]
    assert len(late) > 50
    # The next ping after 20 s is at 30 s, and at 40 s it is plain that nobody answers.
    assert late["published_s"].between(19.9, 40.0).all()
    assert late["delivered_s"].between(30.0, 42.0).all()


def test_without_a_heartbeat_they_are_owed_for_ever() -> None:
    run = shipped("dead_sockets", "users.heartbeat=off")
    assert (run.notifications["shown"] == 0).sum() > 200
    assert broken_checks("dead_sockets", "users.heartbeat=off") == frozenset()


def test_what_was_published_and_missed_is_sent_again_and_shown_once() -> None:
    run = shipped("missed_publishes")
    assert all_told_once(run)
    waited_s = run.notifications["delivered_s"] - run.notifications["published_s"]
    assert (waited_s > 1.0).sum() > 150
    assert (run.notifications["received"] > 1).sum() > 40


def test_without_sending_again_what_was_not_acknowledged_is_owed() -> None:
    run = shipped("missed_publishes", "users.resend_after=off")
    assert (run.notifications["shown"] == 1).all()
    assert run.notifications["acked_s"].isna().sum() > 20


def test_without_an_outbox_it_is_lost() -> None:
    assert numbers("missed_publishes", "pipeline.outbox=false")["lost_notifications"] > 150


def test_requests_whose_answers_were_lost_are_repeated_and_create_nothing_twice() -> None:
    run = shipped("lost_answers")
    assert all_told_once(run)
    assert last_sample(run, "submissions_repeated") > 300
    assert last_sample(run, "submissions_offered") == last_sample(run, "submissions_accepted") == len(run.events)
    hot = run.events["submitted_s"].between(20.1, 39.9)
    assert (run.events.loc[hot, "user_id"] == 1).mean() > 0.75


def test_clients_that_give_up_are_served_all_the_same() -> None:
    run = shipped("lost_answers", "api.retries=0")
    assert all_told_once(run)
    assert len(run.events) == len(shipped("lost_answers").events)


def duplicates(run: Run) -> tuple[int, int]:
    """Count the calls that failed after their effect, and those that had it while the event was handled elsewhere."""
    late = run.attempts["error"].astype(str) == "Refused: failed after its effect"
    outlived = (run.attempts["outcome"] == "superseded") & run.attempts["effect_s"].notna()
    return int(late.sum()), int(outlived.sum())


def test_half_done_calls_are_counted_as_effects_that_happened_twice() -> None:
    run = shipped("half_done_calls")
    assert all_told_once(run)
    late, outlived = duplicates(run)
    assert late > 20
    assert outlived > 0
    assert numbers("half_done_calls")["duplicate_effects"] == late + outlived


def test_without_them_only_the_calls_that_outlived_their_lease_are_left() -> None:
    late, outlived = duplicates(shipped("half_done_calls", "faults[2].probability=0"))
    assert late == 0
    assert numbers("half_done_calls", "faults[2].probability=0")["duplicate_effects"] == outlived > 0

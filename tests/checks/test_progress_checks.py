"""Liveness after heal_at, and whose turn it is: bounds that follow from the scenario, each broken on its own.

The scenario of the builder: retries after 10 and 20 s, a lease and a sweep of 60 s, two workers of two slots.
"""

import math

import pytest
from stream_builder import seen
from test_stream_edges import busy, judged, problems

from tem_sim.analysis.owed import owed
from tem_sim.checks.registry import HEALED_CHECKS, run_checks

HEAL_S = 10.0


def told(**sections):
    return seen(**{"heal_at": HEAL_S, **sections})


def late(run, name):
    answer = judged(run, name)
    assert answer.verdict == "false", answer.detail
    return answer


# --- what is owed


def test_the_bound_of_an_event_is_the_sum_of_what_it_may_need():
    bounds = owed(told().submit(1).run())
    # A batch's hold was never seen; one row is worked off in one call of 0.05 s, on workers that start in 1 s, or 6 s
    # after a death; each round trip may take 1 s.
    assert bounds.tick_s == pytest.approx(1.0 + 1.0)
    assert bounds.claim_s == pytest.approx(6.0 + 0.05 + 1.0)
    assert bounds.queue_s == pytest.approx(60.0 + 2 * 5.0 + bounds.claim_s)
    assert bounds.lease_s == pytest.approx(60.0 + 2 * 5.0 + 1.0)
    rounds_s = 3 * (bounds.tick_s + bounds.claim_s)
    assert bounds.end_s == pytest.approx(10.0 + 20.0 + rounds_s + (60.0 + 10.0) + (60.0 + 10.0))


def test_more_rows_take_more_ticks_and_a_killer_more_leases():
    crowd = told(pipeline={"requeue_limit": 1})
    for event in (1, 2, 3):
        crowd.submit(event)
    assert owed(crowd.at(20.0).claim(1).ok(1).run()).tick_s == pytest.approx(3 * 1.0 + 1.0)
    killer = {"handler": {"kinds": {"normal": {"effect": "kill"}}}}
    harmless, deadly = owed(told().submit(1).run()).end_s, owed(told(**killer).submit(1).run()).end_s
    assert deadly - harmless == pytest.approx(3 * 70.0)


def test_a_policy_that_never_gives_up_owes_no_end():
    endless = told(pipeline={"backoff": {"growth": "fixed", "base": 1, "jitter": "none", "max_retries": "off"}})
    answer = judged(endless.submit(1).run(), "ends_in_time")
    assert (answer.verdict, answer.detail) == ("unknown", "the policy never gives up, so no end is owed")


@pytest.mark.parametrize("name", HEALED_CHECKS)
def test_without_heal_nothing_is_owed(name):
    answer = judged(busy().run(), name)
    assert (answer.verdict, answer.detail) == (
        "unknown",
        "the scenario has no heal_at: faults may have been at work to the end",
    )


@pytest.mark.parametrize("name", HEALED_CHECKS)
def test_a_run_that_ended_early_owes_nothing(name):
    from dataclasses import replace

    assert judged(replace(told().submit(1).run(), status="interrupted"), name).verdict == "unknown"


@pytest.mark.parametrize("name", HEALED_CHECKS)
def test_workers_that_die_for_good_afterwards_owe_nothing(name):
    deadly = {"handler": {"kinds": {"normal": {"effect": "kill"}}}, "workers": {"restart_after": "off"}}
    assert "after heal_at there may be none" in judged(told(**deadly).submit(1).run(), name).detail


# --- each bound


def test_an_event_that_takes_longer_than_all_it_may_need_is_seen():
    run = told().submit(1).run(400.0)
    assert owed(run).end_s < 390.0
    answer = late(run, "ends_in_time")
    assert answer.rows["event_id"].tolist() == [1]
    assert "one 390 s" in answer.detail
    soon = told().submit(1).run(100.0)
    assert judged(soon, "ends_in_time").verdict == "unknown"
    ended = told().submit(1).at(50.0).claim(1).ok(1).run(400.0)
    assert judged(ended, "ends_in_time").verdict == "true"


def test_what_waited_before_the_heal_does_not_count():
    run = told(horizon=2000, heal_at=500).submit(1).at(510.0).claim(1).ok(1).run(1000.0)
    for name in ("ends_in_time", "queue_served"):
        assert judged(run, name).verdict == "true"


def test_a_row_that_nobody_sweeps_is_seen():
    run = told().submit(1).at(95.0).claim(1).ok(1).run()
    assert late(run, "queue_served").rows["waited_s"].tolist() == [85.0]
    assert judged(told().submit(1).at(80.0).claim(1).ok(1).run(), "queue_served").verdict == "true"


def test_a_lease_that_nobody_takes_back_in_time_is_seen():
    lost = told().submit(1).at(1.0).claim(1, "worker-2/0").at(70.0).rescue(1).at(71.0).claim(1).ok(1)
    answer = late(lost.run(), "leases_reclaimed")
    assert answer.rows[["event_id", "lease_owner", "waited_s"]].values.tolist() == [[1, "worker-2/0", 9.0]]
    never = told().submit(1).at(1.0).claim(1)
    assert judged(never.run(), "leases_reclaimed").verdict == "false"
    soon = told().submit(1).at(1.0).claim(1).at(66.0).rescue(1).at(67.0).claim(1).ok(1)
    assert judged(soon.run(), "leases_reclaimed").verdict == "true"


def shown(event_id, delivered_s):
    return {
        "event_id": event_id,
        "user_id": 1,
        "dedupe_key": "k",
        "delivered_s": delivered_s,
        "shown": 1,
        "received": 1,
    }


def test_a_notification_that_comes_late_or_never_is_seen():
    run = told().submit(1).at(20.0).claim(1).ok(1)
    assert judged(run.run(notifications=[shown(1, 21.0)]), "told_in_time").verdict == "true"
    assert late(run.run(notifications=[shown(1, 31.0)]), "told_in_time").rows["waited_s"].tolist() == [11.0]
    assert judged(run.run(), "told_in_time").verdict == "false"


def test_users_who_come_and_go_are_not_judged():
    run = told(users={"connected": 0.5}).submit(1).at(20.0).claim(1).ok(1).run()
    assert judged(run, "told_in_time").verdict == "unknown"


def test_statements_that_change_nothing_are_seen():
    idle = told().submit(1).at(20.0)
    for _ in range(300):
        idle.step("worker-1/0", "statement", sql="UPDATE processing_state", rows=0)
    answer = late(idle.run(), "no_livelock")
    assert answer.detail == "300 statements of workers for 0 changes of rows after heal_at, more than 20 each"
    before = told().submit(1).at(5.0)
    for _ in range(300):
        before.step("worker-1/0", "statement", sql="UPDATE processing_state", rows=0)
    assert judged(before.run(), "no_livelock").verdict == "true"


def with_fault(run, start_s, end_s):
    from dataclasses import replace

    from frame_builder import story

    return replace(run, faults=story().fault(start_s, end_s, kind="worker_pause").run().faults)


def test_a_backlog_that_does_not_come_back_is_seen():
    crowd = told()
    for event in range(1, 31):
        crowd.at(6.0).submit(event)
    stuck = with_fault(crowd.run(600.0), 5.0, 10.0)
    assert "more than 3 rows" in late(stuck, "returns_to_rest").detail
    assert judged(with_fault(crowd.run(30.0), 5.0, 10.0), "returns_to_rest").verdict == "unknown"
    for event in range(1, 31):
        crowd.at(20.0).claim(event).ok(event)
    back = with_fault(crowd.run(600.0), 5.0, 10.0)
    assert judged(back, "returns_to_rest").detail == "back at 3 rows 10 s after heal_at"


# --- whose turn it is


def test_a_row_of_which_nobody_was_woken_is_seen_although_the_sweep_finds_it():
    slow = seen().submit(1).at(65.0).claim(1).ok(1).run()
    answer = late(slow, "claimed_when_due")
    assert answer.rows[["event_id", "status", "waited_s"]].values.tolist() == [[1, "QUEUED", 65.0]]


def test_a_retry_that_is_queued_late_is_seen():
    slow = seen().submit(1).at(1.0).claim(1).error(1).at(20.0).retry(1).at(20.1).claim(1).ok(1).run()
    assert late(slow, "claimed_when_due").rows[["status", "waited_s"]].values.tolist() == [["FAILED", 9.0]]


def test_where_faults_landed_the_sweep_may_have_to_find_rows():
    slow = with_fault(seen().submit(1).at(65.0).claim(1).ok(1).run(), 1.0, 2.0)
    assert judged(slow, "claimed_when_due").verdict == "unknown"


def test_a_row_that_is_passed_over_is_seen():
    run = seen().submit(1).at(1.0).submit(2).at(2.0).claim(2).ok(2).claim(1).ok(1).run()
    answer = judged(run, "no_starvation")
    assert answer.rows["problem"].tolist() == ["taken while event 1 was before it"]
    assert answer.rows["event_id"].tolist() == [2]


def test_what_was_not_committed_yet_when_the_claim_began_is_not_passed_over():
    open_claim = seen().submit(2).at(1.0)
    txn = open_claim.begin("worker-1/0")
    open_claim.submit(1, queued_at=0.0)
    held = {"status": "PROCESSING", "attempt_no": 1, "lease_owner": "worker-1/0", "lease_expires_at": 61.0}
    open_claim.set("worker-1/0", txn, 2, "UPDATE processing_state", **held, cause="claim")
    open_claim.commit("worker-1/0", txn)
    assert judged(open_claim.claim(1).run(), "no_starvation").verdict == "true"


def test_other_orders_of_claims_are_held_to_theirs():
    newest = seen(pipeline={"claim_order": "newest_first"})
    newest.submit(1).at(1.0).submit(2).at(2.0).claim(2).ok(2).claim(1).ok(1)
    assert judged(newest.run(), "no_starvation").verdict == "true"
    oldest = seen(pipeline={"claim_order": "newest_first"})
    oldest.submit(1).at(1.0).submit(2).at(2.0).claim(1).ok(1)
    assert problems(oldest.run(), "no_starvation") == ["taken while event 2 was before it"]


def test_a_healed_run_is_judged_by_its_bounds_too():
    names = [answer.name for answer in run_checks(told().submit(1).run())]
    assert names[-len(HEALED_CHECKS) :] == list(HEALED_CHECKS)
    assert math.isfinite(owed(told().submit(1).run()).told_s)

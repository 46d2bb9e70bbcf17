"""Whether the faults that were asked for landed, and whether a campaign saw what it is about."""

from dataclasses import replace

from frame_builder import story
from stream_builder import seen
from test_stream_edges import busy, judged

from tem_sim.checks.sometimes import SOMETIMES, sometimes, vacuity

OUTAGE = {"faults": [{"kind": "outage", "at": 10, "for": 5}]}


def with_fault(start_s=10.0, landed=1, faults=1, **sections):
    told = story(**{**OUTAGE, **sections}).event(1).story
    for _ in range(faults):
        told.fault(start_s, start_s + 5.0, landed=landed)
    return told.run()


def test_a_fault_that_landed_is_what_was_asked_for():
    answer = judged(with_fault(), "faults_landed")
    assert (answer.verdict, answer.detail) == ("true", "1 fault asked for, 1 strike landed")
    assert (answer.kind, judged(story().event(1).story.run(), "faults_landed").verdict) == ("meta", "true")


def test_a_fault_that_never_landed_leaves_it_open():
    answer = judged(with_fault(landed=0), "faults_landed")
    assert (answer.verdict, answer.detail) == ("unknown", "1 fault of 1 never landed")
    assert answer.rows["kind"].tolist() == ["outage"]


def test_strikes_that_nobody_asked_for_are_seen():
    assert judged(with_fault(faults=2), "faults_landed").rows["problem"].tolist() == ["no fault of the scenario"]
    assert judged(with_fault(9.0), "faults_landed").rows["problem"].tolist() == ["before its time"]
    late = judged(with_fault(21.0, heal_at=20), "faults_landed")
    assert late.rows["problem"].tolist() == ["after heal_at"]


def test_what_happened_is_counted():
    found = sometimes(busy().run())
    assert set(found) == set(SOMETIMES)
    assert {name: found[name] for name in ("lease_rescued", "extinct_reached", "retried")} == {
        "lease_rescued": 1,
        "extinct_reached": 1,
        "retried": 3,
    }


def test_of_a_run_that_nobody_watched_only_its_frames_tell():
    found = sometimes(replace(story().event(1).claim(1.0).rescue(62.0).story.run()))
    assert set(found) == {name for name, one in SOMETIMES.items() if not one.watched}
    assert found["lease_rescued"] == 1


def test_a_claim_inside_anothers_transaction_is_a_race():
    told = seen().submit(1).submit(2).at(1.0)
    first = told.begin("worker-1/0")
    held = {"status": "PROCESSING", "attempt_no": 1, "cause": "claim", "lease_expires_at": 61.0}
    told.set("worker-1/0", first, 1, "UPDATE", **held, lease_owner="worker-1/0")
    told.claim(2, "worker-2/0")
    told.commit("worker-1/0", first)
    assert sometimes(told.run())["claims_raced"] == 1
    assert sometimes(seen().submit(1).submit(2).claim(1).claim(2, "worker-2/0").run())["claims_raced"] == 0


def test_a_lost_answer_is_told_by_what_became_of_its_transaction():
    told = seen().submit(1).at(1.0)
    txn = told.begin("worker-1/0")
    told.set("worker-1/0", txn, 1, "UPDATE", woken_at=1.0)
    told.commit("worker-1/0", txn)
    told.step("worker-1/0", "answer_lost", txn=txn)
    told.step("worker-1/0", "answer_lost", txn=told.begin("worker-1/0"))
    found = sometimes(told.run())
    assert (found["answer_lost_committed"], found["answer_lost_undone"], found["row_swept"]) == (1, 1, 1)


def test_tasks_that_find_nothing_and_deaths_inside_transactions_are_counted():
    told = seen().submit(1).task("worker-1/0").done("worker-1/0")
    told.task("worker-1/0").claim(1).done("worker-1/0")
    told.begin("worker-2/0")
    told.step("worker-2/0", "killed")
    told.step("worker-3/0", "killed")
    found = sometimes(told.run())
    assert (found["wake_skipped"], found["killed_in_transaction"]) == (1, 1)


def test_a_campaign_names_what_it_never_saw():
    table = vacuity([busy().run(), seen().submit(1).run()])
    assert table.loc["extinct_reached", ["hits", "runs_hit", "runs", "hit"]].tolist() == [1, 1, 2, True]
    assert not table.loc["zombie_rejected", "hit"]
    assert list(table.index) == list(SOMETIMES)

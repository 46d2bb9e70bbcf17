"""What checks must know of a run whose processes were real: their clocks are read early, and starting takes a while."""

from __future__ import annotations

from dataclasses import replace

from frame_builder import Story, story

from tem_sim.checks.registry import CHECKS, WATCHED_CHECKS, run_checks
from tem_sim.checks.verdict import Verdict
from tem_sim.frames import Run


def live(told: Story, end_s: float = 1000.0) -> Run:
    return replace(told.run(end_s), mode="live", digest="")


def judged(run: Run, name: str) -> Verdict:
    return run_checks(run, [name])[0]


def waited_for_the_lock() -> Story:
    """A claim that read its clock, and then waited for the scheduler's transaction that made its row due."""
    return story().event(1).claim(1.0).error(1.1, 10.0).retry(11.2).claim(11.05, "worker-2").ok(11.5).story


def test_a_claim_dated_before_its_row_was_due_is_one_that_waited_for_the_database() -> None:
    assert judged(live(waited_for_the_lock()), "no_early_claim").verdict == "true"
    assert judged(waited_for_the_lock().run(), "no_early_claim").verdict == "false"


def test_a_row_that_was_requeued_before_it_was_due_is_early_all_the_same() -> None:
    early = story().event(1).claim(1.0).error(1.1, 10.0).retry(11.0).claim(11.2).ok(11.5).story
    assert judged(live(early), "no_early_claim").verdict == "false"


def test_a_claim_dated_within_the_attempt_before_it_does_not_overlap_it() -> None:
    told = story().event(1).claim(1.0).error(1.5, 0.1).retry(1.65).claim(1.45, "worker-2").ok(2.0).story
    assert judged(live(told), "single_lease").verdict == "true"
    assert judged(told.run(), "single_lease").verdict == "false"


def test_where_nothing_waits_for_locks_no_claim_is_dated_long_before_its_transaction() -> None:
    told = story().event(1).claim(1.0).error(11.5, 0.1).retry(11.65).claim(3.0, "worker-2").ok(12.0).story
    assert judged(live(told), "single_lease").verdict == "true"
    assert judged(replace(live(told), store="postgresql"), "single_lease").verdict == "false"


def test_a_row_is_stuck_a_little_later_than_in_a_simulated_run() -> None:
    told = story().event(1).claim(1.0).story
    assert judged(told.run(73.0), "liveness").verdict == "false"
    assert judged(live(told, 73.0), "liveness").verdict == "unknown"
    assert judged(live(told, 77.0), "liveness").verdict == "false"


def test_nobody_watched_the_statements_of_real_processes() -> None:
    told = story(store={"watch": True}).event(1).claim(1.0).ok(2.0).story
    assert [check.name for check in run_checks(live(told))] == list(CHECKS)
    assert len(run_checks(told.run())) == len(CHECKS) + len(WATCHED_CHECKS)

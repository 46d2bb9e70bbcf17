"""One holder at a time, and only the holder finishes."""

from frame_builder import story, tamper

from tem_sim.checks.registry import run_checks


def judged(run):
    return run_checks(run, ["single_lease"])[0]


def two_workers():
    return story().event(1).claim(1.0).error(1.1, 10.0).retry(11.2).claim(11.3, "worker-2").ok(11.5).story.run()


def test_two_workers_in_turn_hold_one_lease_each():
    answer = judged(two_workers())
    assert (answer.verdict, answer.detail) == (
        "true",
        "each of 2 claims was ended by its holder, or taken back after its lease",
    )


def test_a_zombie_that_finishes_anothers_attempt_is_seen():
    answer = judged(tamper(two_workers(), "transitions", 5, actor="worker-1"))
    assert answer.verdict == "false"
    assert answer.rows["problem"].tolist() == ["ended by another than its holder"]


def test_a_claim_that_does_not_raise_the_token_is_seen():
    run = tamper(two_workers(), "transitions", 4, attempt_no=1)
    assert "wrong attempt number" in judged(run).detail


def test_a_step_that_changes_the_token_without_a_claim_is_seen():
    run = tamper(two_workers(), "transitions", 3, attempt_no=2)
    assert "wrong attempt number" in judged(run).detail


def test_an_end_without_a_claim_is_seen():
    run = tamper(two_workers(), "transitions", 4, cause="retry")
    assert "ended by another than its holder" in judged(run).detail


def test_a_lease_taken_back_after_it_ran_out_is_fine():
    assert judged(story().event(1).claim(0.0).rescue(60.0).story.run()).verdict == "true"


def test_a_lease_taken_back_while_it_lives_is_not():
    answer = judged(story().event(1).claim(0.0).rescue(59.0).story.run())
    assert answer.verdict == "false"
    assert "lease taken back before it ran out" in answer.detail


def test_without_leases_nothing_is_ever_taken_back():
    answer = judged(story(pipeline={"lease": "off"}).event(1).claim(0.0).rescue(600.0).story.run())
    assert "taken back although leases never run out" in answer.detail


def test_a_lease_taken_early_by_less_than_the_clock_skew_is_unknown():
    skew = [{"kind": "clock_skew", "target": "beat", "at": 0, "for": 60, "skew": 30}]
    assert judged(story(faults=skew).event(1).claim(0.0).rescue(31.0).story.run()).verdict == "unknown"
    assert judged(story(faults=skew).event(1).claim(0.0).rescue(29.0).story.run()).verdict == "false"


def test_a_valid_attempt_that_runs_into_the_next_one_is_seen():
    run = tamper(two_workers(), "attempts", 0, finished_s=11.4)
    assert "1 × overlaps the next attempt" in judged(run).detail


def test_a_superseded_attempt_may_run_into_the_next_one():
    run = story().event(1).claim(0.0).rescue(60.0).claim(61.0, "worker-2").ok(63.0).story.run()
    run = tamper(run, "attempts", 0, finished_s=62.0, outcome="superseded")
    assert judged(run).verdict == "true"


def test_two_clocks_may_be_apart_by_the_skew_of_both():
    fast = {"kind": "clock_skew", "target": "worker-1", "at": 0, "for": 60, "skew": 5}
    slow = {"kind": "clock_skew", "target": "worker-2", "at": 0, "for": 100, "skew": -8, "drift": -0.01}
    told = story(faults=[fast, slow])
    told.event(1).claim(5.0).error(15.0, 10.0).retry(20.0).claim(2.0, "worker-2").ok(16.0)
    answer = judged(told.run())
    assert answer.verdict == "unknown"
    assert answer.detail == "1 of 2 claims overlap by no more than the declared clock skew of 14 s"
    assert answer.rows.to_dict("records") == [
        {"event_id": 1, "attempt_no": 1, "actor": "worker-1", "at_s": 15.0, "problem": "overlaps the next attempt"}
    ]


def test_an_attempt_that_names_another_than_its_claimer_is_seen():
    answer = judged(tamper(two_workers(), "attempts", 0, worker="worker-2"))
    assert "1 × claimed by another than its attempt says" in answer.detail


def test_an_outcome_that_contradicts_the_log_is_seen():
    for row, outcome in ((0, "ok"), (0, "lost"), (1, "superseded"), (1, "error")):
        answer = judged(tamper(two_workers(), "attempts", row, outcome=outcome))
        assert answer.verdict == "false"
        assert "1 × ended otherwise than its attempt says" in answer.detail


def test_an_outcome_that_the_log_does_not_know_is_seen():
    run = tamper(story().event(1).claim(0.0).rescue(60.0).story.run(), "attempts", 0, outcome="error")
    assert "1 × its end is not in the log" in judged(run).detail

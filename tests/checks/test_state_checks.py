"""Conservation, legal edges, terminal states."""

from frame_builder import Story, story, tamper, without

from tem_sim.checks.registry import run_checks


def judged(name, run):
    return run_checks(run, [name])[0]


def full_story() -> Story:
    """Every edge of the state machine, once at least."""
    told = story()
    told.event(1).claim(1.0).error(1.1, 10.0).retry(11.2).claim(11.3).ok(11.5)
    extinct = told.event(2).claim(1.0).error(1.1, 10.0).retry(11.2).claim(11.3).error(11.4, 20.0).retry(32.0)
    extinct.claim(33.0).exhausted(33.1).replay(40.0).claim(41.0).ok(42.0)
    told.event(3).claim(1.0).rescue(62.0).claim(63.0).crashed(124.0)
    told.event(4, at_s=990.0).claim(999.0)
    return told


def test_a_story_in_which_all_adds_up_is_conserved():
    answer = judged("conservation", full_story().run())
    assert answer.verdict == "true"
    assert answer.detail == ("4 events = 2 PROCESSED + 1 EXTINCT + 1 in flight; 9 attempts = 4 first tries + 5 retries")


def test_a_row_that_vanished_from_the_store_breaks_conservation():
    answer = judged("conservation", without(full_story().run(), "events", 2))
    assert answer.verdict == "false"
    assert answer.rows["event_id"].unique().tolist() == [3]
    assert "1 × has no row in the store" in answer.detail


def test_a_row_whose_state_is_not_the_logs_last_breaks_conservation():
    answer = judged("conservation", tamper(full_story().run(), "events", 0, status="FAILED"))
    assert answer.rows.to_dict("records") == [{"event_id": 1, "problem": "the log ends in another state"}]


def test_an_event_without_a_creation_breaks_conservation():
    run = story().event(1).story.run()
    answer = judged("conservation", without(run, "transitions", 0))
    assert answer.rows["problem"].tolist() == ["not created exactly once"]


def test_a_step_that_leaves_a_state_never_entered_breaks_conservation():
    run = story().event(1).claim(1.0).error(1.1, 10.0).retry(12.0).claim(13.0).ok(14.0).story.run()
    answer = judged("conservation", without(run, "transitions", 3))
    assert answer.rows.to_dict("records") == [{"event_id": 1, "problem": "the log does not follow on"}]


def test_an_attempt_that_left_no_record_breaks_conservation():
    run = story().event(1).claim(1.0).error(1.1, 10.0).retry(12.0).claim(13.0).ok(14.0).story.run()
    answer = judged("conservation", without(run, "attempts", 0))
    assert answer.rows.to_dict("records") == [{"event_id": 1, "problem": "attempts, claims and attempt_no differ"}]


def test_attempts_that_skip_a_number_break_conservation():
    run = story().event(1).claim(1.0).error(1.1, 10.0).retry(12.0).claim(13.0).ok(14.0).story.run()
    assert judged("conservation", tamper(run, "attempts", 1, attempt_no=3)).verdict == "false"


def test_all_edges_of_the_state_machine_are_legal():
    answer = judged("legal_edges", full_story().run())
    assert answer.verdict == "true"
    assert answer.detail == "all of 25 transitions take a legal edge"


def test_an_edge_that_the_machine_does_not_have_is_illegal():
    run = tamper(story().event(1).claim(1.0).ok(2.0).story.run(), "transitions", 2, before="QUEUED")
    answer = judged("legal_edges", run)
    assert answer.verdict == "false"
    assert answer.rows[["event_id", "before", "after"]].values.tolist() == [[1, "QUEUED", "PROCESSED"]]


def test_a_legal_edge_for_a_reason_that_may_not_take_it_is_illegal():
    run = full_story().run()
    replay = int(run.transitions.index[run.transitions["cause"] == "replay"][0])
    answer = judged("legal_edges", tamper(run, "transitions", replay, cause="retry"))
    assert answer.rows[["before", "after", "cause"]].values.tolist() == [["EXTINCT", "QUEUED", "retry"]]


def test_a_replay_by_hand_may_leave_extinct():
    assert judged("terminal_states", full_story().run()).verdict == "true"


def test_nothing_else_may_leave_extinct():
    run = full_story().run()
    replay = int(run.transitions.index[run.transitions["cause"] == "replay"][0])
    answer = judged("terminal_states", tamper(run, "transitions", replay, cause="retry"))
    assert answer.verdict == "false"
    assert answer.n_rows == 1


def test_a_step_out_of_processed_is_seen_even_when_it_claims_another_origin():
    run = story().event(1).claim(1.0).ok(2.0).claim(3.0).story.run()
    answer = judged("terminal_states", tamper(run, "transitions", 3, before="QUEUED"))
    assert answer.verdict == "false"
    assert answer.rows["at_s"].tolist() == [3.0]


def offered(offered, accepted, rejected, end_s=500.0):
    told = story()
    told.event(1).claim(1.0).ok(2.0)
    numbers = {"offered": offered, "accepted": accepted, "rejected": rejected}
    told.samples += [{"t_s": end_s, "name": f"submissions_{what}", "value": n} for what, n in numbers.items()]
    return run_checks(told.run(end_s=end_s), ["conservation"])[0]


def test_events_that_clients_offered_are_accepted_or_rejected():
    answer = offered(3, 1, 2)
    assert answer.verdict == "true"
    assert "3 offered = 1 accepted + 2 rejected" in answer.detail


def test_an_accepted_or_offered_event_that_is_nowhere_is_seen():
    assert offered(2, 2, 0).verdict == "false"
    assert offered(3, 1, 1).verdict == "false"


def test_a_request_under_way_at_the_horizon_is_said():
    answer = offered(3, 1, 1, end_s=1000.0)
    assert answer.verdict == "true"
    assert "+ 1 under way" in answer.detail

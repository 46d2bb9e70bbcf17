"""Several runs get letters, and words that tell them apart."""

from dataclasses import replace

import pytest
from frame_builder import story

from tem_sim.frames import RunError
from tem_sim.report.outcome import judge
from tem_sim.report.page.assumptions import assumptions
from tem_sim.report.page.comparison import best_words, difference_words
from tem_sim.report.page.narrative import narrative
from tem_sim.report.page.provenance import provenance
from tem_sim.report.page.runs import MOST_RUNS, Runs, load_runs


def runs(*made):
    return Runs(tuple(judge(run) for run in made))


def told(attempts=1, **sections):
    one = story(**sections)
    track = one.event(1)
    for number in range(attempts - 1):
        track.claim(100.0 * number).error(100.0 * number + 1, 10.0).retry(100.0 * number + 20)
    track.claim(100.0 * attempts).ok(100.0 * attempts + 1)
    return one.run()


def lived(run):
    return replace(run, mode="live", digest="")


def test_a_live_run_beside_a_simulated_one_is_called_so():
    both = runs(told(), lived(told()))
    assert both.names == ("story, seed 1", "story, seed 1, live")
    assert both.short == ("simulated", "live")


def test_what_the_numbers_of_a_live_run_rest_on_is_said_and_how_to_run_it_again():
    live = runs(lived(told()))
    assert "The pipeline ran for real" in assumptions(live).html
    assert "time is simulated" not in assumptions(live).html
    said = provenance(live).html
    assert "tem-sim live run" in said
    assert "<dt>digest" not in said
    both = assumptions(runs(told(), lived(told()))).html
    assert "time is simulated" in both
    assert "The pipeline ran for real" in both


def test_a_single_run_has_no_letter_and_no_heading():
    one = runs(told())
    assert (one.letters, one.heading(0), one.differences) == (("",), "", ())


def test_runs_of_one_scenario_are_told_apart_by_what_was_set():
    two = runs(told(workers={"count": 2}), told(workers={"count": 3}))
    assert two.letters == ("A", "B")
    assert two.names == ("story, seed 1 (workers.count 2)", "story, seed 1 (workers.count 3)")
    assert two.short == ("count 2", "count 3")
    assert difference_words(two) == "The runs differ in workers.count (2 | 3)."
    assert two["B"].scenario_dict["workers"]["count"] == 3


def test_a_kind_is_called_by_what_it_is_a_kind_of():
    jitters = ({"kind": "none"}, {"kind": "full"})
    two = runs(*(told(pipeline={"backoff": {"growth": "exponential", "base": 1, "jitter": one}}) for one in jitters))
    assert two.short == ("jitter none", "jitter full")


def test_seeds_are_a_difference():
    two = runs(told(), replace(told(), seed=2))
    assert two.names == ("story, seed 1", "story, seed 2")
    assert two.short == ("seed 1", "seed 2")


def test_a_setting_that_one_run_lacks_is_shown_as_missing():
    two = runs(told(), told(beat={"phase": 0.5}))
    assert [(one.path, one.values) for one in two.differences] == [("beat.phase", ("–", "0.5"))]


def test_the_best_is_named_number_by_number_and_equals_are_not():
    two = runs(told(attempts=3), told(attempts=1))
    assert best_words(two) == ["Fewest attempts per event: B (A 3, B 1); lowest retry peak: B (A 1/s, B 0/s)."]
    assert best_words(runs(told(), told())) == []


def test_a_drain_that_never_came_is_not_the_soonest():
    drained, never = story().fault(1.0, 5.0), story().fault(1.0, 5.0)
    drained.event(1, at_s=2.0).claim(6.0).ok(7.0)
    never.event(1, at_s=2.0)
    (words,) = best_words(runs(never.run(), drained.run()))
    assert "soonest drained: B (A n/a, B 2 s)" in words


def test_a_report_about_none_or_too_many_runs_is_refused(tmp_path):
    with pytest.raises(RunError, match=f"about 1 to {MOST_RUNS} runs, got 0"):
        load_runs()
    with pytest.raises(RunError, match="got 9"):
        load_runs(*[tmp_path] * 9)


def test_the_story_of_a_run_names_what_went_wrong_and_what_did_not():
    one = story().fault(0.0, 5.0)
    one.event(1).claim(2.0).error(2.1, 10.0).retry(12.5).claim(13.0).ok(13.5)
    one.event(2).claim(2.0).ok(2.5, shown=2)
    sentences = narrative(judge(one.run()))
    assert sentences[0] == "1 time a user was told again."
    assert sentences[1] == "1 of 3 attempts were retries; the worst second started 1 of them, 1 times their mean rate."
    assert (
        sentences[2] == "The last fault ended at 5 s; 8.5 s later the backlog was back to what it was before the first."
    )
    assert sentences[3] == "Half of the events that were PROCESSED took at most 2.5 s from their submit."


def test_the_story_of_a_run_that_left_rows_behind_says_so():
    one = story()
    one.event(1).claim(1.0)
    assert narrative(judge(one.run(end_s=2.0)))[0].startswith("1 of 1 events had not ended when the run did; no event ")


def test_protections_that_are_off_are_named():
    off = assumptions(runs(told(pipeline={"write_guard": "stale", "lease": None, "outbox": False}))).html
    assert "does without: lease off, write_guard stale, outbox off." in off
    assert "does without" not in assumptions(runs(told())).html

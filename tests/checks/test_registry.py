"""What all checks have in common."""

import pytest
from frame_builder import story
from synthetic_storm import storm

from tem_sim.checks.registry import ALL_CHECKS, CHECKS, WATCHED_CHECKS, run_checks
from tem_sim.checks.verdict import MAX_ROWS, worst


@pytest.mark.parametrize("name", ALL_CHECKS)
def test_a_check_bears_its_name_and_says_in_a_sentence_what_must_hold(name):
    assert ALL_CHECKS[name].__name__ == name
    assert (ALL_CHECKS[name].__doc__ or "").split("\n")[0].endswith(".")


@pytest.mark.parametrize("name", ALL_CHECKS)
def test_a_run_without_events_is_unknown(name):
    assert run_checks(story().run(), [name])[0].verdict == "unknown"


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_that_crashes_is_unknown_and_says_why(name, monkeypatch):
    def crash(run):
        raise ZeroDivisionError("no luck")

    monkeypatch.setitem(CHECKS, name, crash)
    answer = run_checks(story().event(1).story.run(), [name])[0]
    assert (answer.verdict, answer.detail) == ("unknown", "the check crashed: ZeroDivisionError: no luck")


@pytest.mark.parametrize("name", ALL_CHECKS)
def test_a_single_event_in_one_state_crashes_no_check(name):
    assert "crashed" not in run_checks(story().event(1).story.run(), [name])[0].detail


def test_a_healthy_storm_passes_every_check():
    assert {answer.name: answer.verdict for answer in run_checks(storm())} == dict.fromkeys(CHECKS, "true")


def test_checks_are_judged_in_display_order_whatever_was_asked_for():
    run = story().event(1).story.run()
    assert [answer.name for answer in run_checks(run, ["liveness", "conservation"])] == [
        "conservation",
        "liveness",
    ]


def test_a_watched_run_is_judged_by_what_was_seen_too():
    watched = run_checks(story(store={"watch": True}).event(1).story.run())
    assert [answer.name for answer in watched] == [*CHECKS, *WATCHED_CHECKS]
    assert [answer.name for answer in run_checks(story().event(1).story.run())] == [*CHECKS]


def test_a_verdict_says_whether_it_is_about_harm_progress_or_the_run_itself():
    kinds = {answer.name: answer.kind for answer in run_checks(story().event(1).story.run(), ALL_CHECKS)}
    assert (kinds["lost_write"], kinds["liveness"], kinds["littles_law"]) == ("safety", "liveness", "meta")


def test_a_check_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="no such check: live; there are conservation"):
        run_checks(story().run(), ["live"])


def test_offending_rows_are_counted_in_full_and_kept_up_to_a_limit():
    run = storm(events=MAX_ROWS + 50)
    columns = run.transitions.assign(retry_count=7)
    answer = run_checks(_with_log(run, columns), ["retry_count"])[0]
    assert answer.n_rows > MAX_ROWS
    assert len(answer.rows) == MAX_ROWS


def _with_log(run, log):
    from dataclasses import replace

    from tem_sim.frames import conform

    return replace(run, transitions=conform("transitions", log))


def test_false_beats_unknown_and_unknown_beats_true():
    assert worst(["true", "false", "unknown"]) == "false"
    assert worst(["true", "unknown"]) == "unknown"
    assert worst(["true"]) == "true"
    assert worst([]) == "unknown"

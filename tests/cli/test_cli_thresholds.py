"""Thresholds on the command line: the verdict in words, the exit code, the document, a saved run again."""

import pytest
from cli_helpers import document, tem_sim, written

KEPT = "thresholds={amplification: avg<50, drain_s: p(95)<90s, lost_events: count==0}"
BROKEN = "thresholds={amplification: [max<3, max<50], lost_events: count==0}"
UNDECIDED = "thresholds={latency_s: p(99)<30s, lost_events: count==0}"


def run(storm: str, *settings: str):
    return tem_sim("run", storm, "--no-plots", *(word for setting in settings for word in ("--set", setting)))


def test_thresholds_that_are_kept_pass_and_are_said_in_the_first_line(storm):
    result = run(storm, KEPT)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].endswith("; 3 of 3 thresholds met")


def test_a_broken_threshold_fails_the_run_and_says_by_how_much(storm):
    result = run(storm, BROKEN)
    assert result.exit_code == 1
    assert result.stdout.startswith("FAIL small_storm: ")
    assert result.stdout.splitlines()[0].endswith("; 2 of 3 thresholds met (amplification max 4.125 >= 3)")


def test_a_threshold_that_cannot_be_judged_leaves_the_run_inconclusive(storm):
    result = run(storm, UNDECIDED)
    assert result.exit_code == 4
    assert "1 of 2 thresholds met (latency_s p(99) takes 100 values and there are 40)" in result.stdout


def test_a_broken_one_beside_it_fails_all_the_same(storm):
    assert run(storm, UNDECIDED, "thresholds.events=count<40").exit_code == 1


@pytest.mark.parametrize(
    ("setting", "word"), [(BROKEN, "is not met (max 4.125 >= 3)"), (UNDECIDED, "cannot be judged")]
)
def test_one_that_is_not_strict_only_warns(storm, setting, word):
    result = run(storm, setting, "thresholds.strict=false")
    assert result.exit_code == 0
    (warning,) = [line for line in result.stdout.splitlines() if line.startswith("warning: The threshold")]
    assert word in warning


def test_each_threshold_has_its_line_and_a_quiet_run_shows_those_not_met(storm):
    lines = [line.split() for line in run(storm, BROKEN).stdout.splitlines()]
    assert ["✘", "amplification", "max<3", "max", "4.125", ">=", "3"] in lines
    assert ["✔", "lost_events", "count==0", "count", "0", "==", "0"] in lines
    quiet = tem_sim("run", storm, "--no-plots", "-q", "--set", BROKEN).stdout
    assert "max<3 " in quiet
    assert "max<50" not in quiet


def test_a_number_that_does_not_exist_is_explained(storm):
    result = run(storm, "thresholds={drain_s: max<9}", "faults=[]")
    assert result.exit_code == 4
    assert "has no value here: no fault landed" in result.stdout


def test_the_document_has_each_threshold_and_an_empty_list_without_any(storm):
    found = document("run", storm, "--no-plots", "--set", BROKEN)["thresholds"]
    assert [(held["metric"], held["threshold"], held["verdict"]) for held in found] == [
        ("amplification", "max<3", "false"),
        ("amplification", "max<50", "true"),
        ("lost_events", "count==0", "true"),
    ]
    assert found[0] | {"value": 4.125, "bound": 3, "n": 1, "missing": 0, "strict": True} == found[0]
    assert document("run", storm, "--no-plots")["thresholds"] == []


def test_a_saved_run_is_held_to_them_again(storm):
    run(storm, BROKEN)
    shown = tem_sim("show", "reports/small_storm/seed-1")
    assert "2 of 3 thresholds met (amplification max 4.125 >= 3)" in shown.stdout
    assert document("show", "reports/small_storm/seed-1")["thresholds"][0]["verdict"] == "false"


@pytest.mark.parametrize("command", ["validate", "run"])
def test_a_mistake_is_told_at_its_line_and_column_by_every_command(folder, command):
    text = "scenario: a\narrivals: {kind: burst, events: 1}\nthresholds:\n  amplifcation: max<3\n  drain_s: p95<3\n"
    result = tem_sim(command, written("bad.yaml", text))
    assert result.exit_code == 2
    assert "bad.yaml:4:3: thresholds.amplifcation: unknown key" in result.stderr
    assert "did you mean amplification?" in result.stderr
    assert (
        "bad.yaml:5:12: thresholds.drain_s: must begin with value, avg, min, max, med, p(N) (got p95<3)"
        in result.stderr
    )

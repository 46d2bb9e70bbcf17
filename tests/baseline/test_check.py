"""What a check of scenarios comes to: the word, the exit code, the sentence, and what changed."""

import dataclasses
import json
from xml.etree import ElementTree

import pytest
from baseline_cases import LOG, broken, case

from tem_sim.baseline import drift as drifts
from tem_sim.baseline.check import check_baseline
from tem_sim.baseline.document import document
from tem_sim.baseline.file import Baseline, recorded
from tem_sim.baseline.junit import junit
from tem_sim.baseline.markdown import markdown
from tem_sim.baseline.seen import run_cases
from tem_sim.report.document import text
from tem_sim.scenario.loader import loads

BEFORE = [6.2, 6.3, 6.25, 6.4, 6.15, 6.35, 6.3, 6.2, 6.45, 6.3]
STEADY = {"amplification": BEFORE}
WORSE = {"amplification": [value * 1.1 for value in BEFORE]}
NOISY = {"amplification": [value * (1.0, 1.3)[number % 2] for number, value in enumerate(BEFORE)]}


def baseline(*cases) -> Baseline:
    return Baseline({one.scenario.name: recorded(one) for one in cases})


def checked(now, *, before=None, **more):
    return check_baseline([now], baseline(before or case(STEADY)), **more)


def test_the_same_digests_and_numbers_are_identical():
    found = checked(case(STEADY))
    assert (found.word, found.exit_code) == ("OK", 0)
    assert found.sentence() == "OK made: identical to the baseline, 10 seeds"
    assert found.cases[0].metrics == ()


def test_a_regression_is_told_in_one_line():
    found = checked(case(WORSE, digest="b"))
    assert (found.word, found.exit_code) == ("REGRESSION", 1)
    assert found.sentence() == ("REGRESSION made: amplification 6.29 → 6.92, +10.0 % [10.0, 10.0] at a tolerated 5 %")


def test_numbers_that_differ_under_the_same_digests_are_compared_too():
    found = checked(case(WORSE))
    assert found.word == "REGRESSION"
    assert found.cases[0].drift.sentences() == ["every transition is the same, but not amplification"]


def test_what_is_tolerated_can_be_set_for_one_check():
    assert checked(case(WORSE, digest="b"), min_effects=["amplification=15%"]).word == "OK"


def test_what_cannot_be_told_is_inconclusive_with_the_seeds_that_it_would_take():
    found = checked(case(NOISY, digest="b"))
    assert (found.word, found.exit_code) == ("INCONCLUSIVE", 4)
    assert found.sentence().startswith("INCONCLUSIVE made: amplification 6.29 → 7.24, +15.0 % [")
    assert found.sentence().endswith("seeds would settle it")


def test_of_a_watched_metric_not_being_able_to_tell_is_fine_unless_strict():
    before = {"drain_s": [20.0, 30.0, 10.0, 40.0, 25.0, 20.0, 30.0, 10.0, 40.0, 25.0]}
    now = {"drain_s": [*before["drain_s"][::-1][1:], 20.0]}
    known = case({**STEADY, **before})
    assert checked(case({**STEADY, **now}, digest="b"), before=known).word == "OK"
    assert checked(case({**STEADY, **now}, digest="b"), before=known, strict=True).word == "INCONCLUSIVE"


def test_a_scenario_that_the_baseline_does_not_know_has_none():
    found = checked(case(STEADY, scenario="new"))
    assert (found.word, found.exit_code) == ("NO BASELINE", 4)


def test_a_run_that_breaks_outweighs_all():
    found = checked(broken(case(WORSE, digest="b")))
    assert (found.word, found.exit_code) == ("BROKEN", 3)
    assert "1 of 10 runs broke, seed 1: ZeroDivisionError" in found.sentence()


def test_a_check_that_is_false_fails_and_one_that_is_meant_to_be_does_not():
    known = case(STEADY, checks={"stuck_rows": "false"})
    found = checked(known, before=known)
    assert (found.word, found.exit_code) == ("FAIL", 1)
    assert found.sentence() == "FAIL made: check stuck_rows is false under 10 seeds (first 1)"
    meant = case(STEADY, checks={"stuck_rows": "false"}, expect={"violations": ["stuck_rows"]})
    assert checked(meant, before=known).word == "OK"


def test_a_violation_that_no_seed_shows_fails():
    found = checked(case(STEADY, expect={"violations": ["stuck_rows"]}))
    assert found.sentence().endswith("check stuck_rows is meant to be broken and no seed breaks it")


def test_no_seed_in_common_is_inconclusive():
    now = case(STEADY)
    now = dataclasses.replace(now, runs=tuple(dataclasses.replace(run, seed=run.seed + 100) for run in now.runs))
    assert "no seed in common with the baseline" in checked(now).sentence()


def test_of_several_scenarios_the_gravest_speaks_for_all():
    cases = [case(STEADY), case(WORSE, digest="b", scenario="other"), case(STEADY, scenario="third")]
    known = baseline(case(STEADY), case(STEADY, scenario="other"), case(STEADY, scenario="third"))
    found = check_baseline(cases, known)
    assert found.sentence().startswith("REGRESSION other: ")
    assert found.sentence().endswith("(2 more OK)")


# --- what changed


def test_the_same_scenario_under_the_same_code_that_does_something_else_is_not_deterministic():
    found = checked(case(STEADY, digest="b", log=(*LOG[:-1], LOG[-1].replace("worker-1", "worker-2"))))
    causes = found.cases[0].drift.sentences()
    assert causes[0].startswith("the same scenario behaves differently in 10 of 10 seeds under the same code")
    assert causes[1].startswith("seed 1: the first transition that differs is number 2 of event 0: ")


def test_other_versions_and_other_code_are_told(monkeypatch):
    known = baseline(case(STEADY))
    monkeypatch.setattr(drifts, "engine", lambda: "other")
    monkeypatch.setattr(drifts, "versions", lambda: {**known.scenarios["made"].versions, "numpy": "9.9"})
    causes = check_baseline([case(STEADY, digest="b")], known).cases[0].drift.sentences()
    assert causes[0].endswith("→ 9.9")
    assert causes[1] == "the same scenario behaves differently in 10 of 10 seeds"


SMALL = """
scenario: small
horizon: 60s
arrivals: {kind: burst, at: 1s, events: 4}
pipeline: {backoff: {growth: exponential, base: 1s, jitter: none, max_retries: 3}}
faults: [{kind: outage, at: 0s, for: 2s}]
"""


@pytest.fixture(scope="module")
def small():
    """Return the cases of a small scenario, as it is and with a longer outage."""
    return {
        name: run_cases([(loads(SMALL, words), (1, 2))], jobs=1)[0]
        for name, words in {"as it is": [], "longer": ["faults[0].for=6s"]}.items()
    }


def test_a_changed_setting_is_named_and_the_code_told_to_be_the_same(small):
    found = check_baseline([small["longer"]], baseline(small["as it is"])).cases[0].drift
    assert found.sentences()[:2] == [
        "the scenario changed: faults[0].for 2 → 6",
        "under the scenario of the baseline the code does what it did",
    ]
    assert found.parting.old.after == "PROCESSED"
    assert found.parting.new.after == "FAILED"


def test_a_changed_setting_and_changed_code_are_both_told(small):
    known = recorded(small["as it is"])
    other = Baseline({"small": dataclasses.replace(known, digests=("x", "y"))})
    causes = check_baseline([small["longer"]], other).cases[0].drift.sentences()
    assert causes[1] == "the code changed too: under the scenario of the baseline it does something else"


def test_a_baseline_whose_scenario_is_none_any_more_says_so(small):
    known = recorded(small["as it is"])
    old = Baseline({"small": dataclasses.replace(known, scenario={**known.scenario, "gone": 1}, digests=("x", "y"))})
    causes = check_baseline([small["as it is"]], old).cases[0].drift.sentences()
    assert causes[0] == "the scenario changed: gone 1 → (none)"
    assert causes[1].startswith("the scenario of the baseline is none any more")


def test_what_is_made_of_a_run_is_no_change_of_the_scenario(small):
    again = run_cases([(loads(SMALL, ["thresholds.amplification=max<9", "about=words"]), (1, 2))], jobs=1)
    assert check_baseline(again, baseline(small["as it is"])).sentence().startswith("OK small: identical")


def test_a_threshold_that_is_broken_over_the_seeds_fails_though_nothing_changed(small):
    now = run_cases([(loads(SMALL, ["thresholds.amplification=max<2"]), (1, 2))], jobs=1)
    found = check_baseline(now, baseline(small["as it is"]))
    assert found.sentence() == "FAIL small: threshold amplification max<2 is not met (max 2 >= 2)"


# --- for machines


ALL = [case(STEADY), case(WORSE, digest="b", scenario="<worse> & \x07"), case(NOISY, digest="c", scenario="noisy")]


@pytest.fixture
def found():
    known = baseline(*(case(STEADY, scenario=one.scenario.name) for one in ALL))
    return check_baseline([*ALL, broken(case(STEADY, scenario="gone"))], known)


def test_junit_counts_what_it_holds(found):
    root = ElementTree.fromstring(junit(found))
    for suite in [*root, root]:
        cases = list(suite.iter("testcase"))
        failures = [one for one in cases if one.find("failure") is not None]
        assert (suite.get("tests"), suite.get("failures")) == (str(len(cases)), str(len(failures)))
    assert int(root.get("errors")) == 1
    assert {suite.get("name"): suite.get("failures") for suite in root}["<worse> & "] == "1"


def test_the_document_is_json_without_nan_and_says_what_the_sentence_says(found):
    read = json.loads(text(document(found)))
    assert (read["verdict"], read["exit_code"]) == ("BROKEN", 3)
    assert [one["verdict"] for one in read["scenarios"]] == ["OK", "REGRESSION", "INCONCLUSIVE", "BROKEN"]
    worse = next(one for one in read["scenarios"][1]["metrics"] if one["metric"] == "amplification")
    assert (worse["finding"], round(worse["effect"], 3), worse["min_effect"]) == ("worse", 0.1, "5%")
    assert read["scenarios"][2]["metrics"][0]["seeds_needed"] > 10


def test_markdown_has_a_heading_per_scenario_and_a_row_per_metric_that_changed(found):
    said = markdown(found)
    assert said.count("### ") == 4
    assert "### ❌ REGRESSION &lt;worse> & \x07: amplification 6.29 → 6.92" in said
    assert "| amplification | 6.29 | 6.92 | +10.0 % [10.0, 10.0] | 5 % | WORSE |" in said

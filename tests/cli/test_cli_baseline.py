"""`tem-sim baseline save`, `check` and `compare`: exit codes, files, and what is printed."""

import csv
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from cli_helpers import document, tem_sim, written

SMALL = """
scenario: small
horizon: 60s
arrivals: {kind: burst, at: 1s, events: 3}
pipeline: {backoff: {growth: exponential, base: 1s, jitter: full, max_retries: 4}}
faults: [{kind: outage, at: 0s, for: 2s}]
"""
SAVE = ("baseline", "save", "small.yaml", "--seeds", "3", "--jobs", "1")
CHECK = ("check", "small.yaml", "--jobs", "1")


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> str:
    """Return the text of a baseline of the small scenario, saved once by the command."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("saved"))
        written("small.yaml", SMALL)
        result = tem_sim(*SAVE)
        assert result.exit_code == 0
        assert result.stdout.startswith("baselines/small.json: small, 3 seeds; guarded: ")
        return Path("baselines/small.json").read_text(encoding="utf-8")


@pytest.fixture
def small(folder, saved, monkeypatch):
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    Path("baselines").mkdir()
    written("baselines/small.json", saved)
    return written("small.yaml", SMALL)


def test_what_is_the_same_is_fine(small):
    result = tem_sim(*CHECK)
    assert (result.exit_code, result.stdout) == (0, "OK small: identical to the baseline, 3 seeds\n")


def test_what_got_worse_says_how_much_and_why_in_every_form(small, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "page.md")
    worse = (*CHECK, "--set", "pipeline.batch_size=49", "--set", "faults[0].for=20s", "--baseline", "baselines")
    result = tem_sim(*worse, "--junit", "out/junit.xml", "--markdown")
    assert result.exit_code == 1
    head = "REGRESSION small: "
    assert result.stdout.startswith(f"### ❌ {head}")
    assert "- the scenario changed: pipeline.batch\\_size 50 → 49, faults[0].for 2 → 20" in result.stdout
    assert Path("page.md").read_text(encoding="utf-8").startswith(f"### ❌ {head}")
    assert f"::error file=small.yaml,line=2,col=1,title=REGRESSION small::{head}" in result.stderr
    case = next(ElementTree.parse("out/junit.xml").getroot().iter("testcase"))
    assert (case.get("file"), case.get("line")) == ("small.yaml", "2")
    assert case.find("properties/property[@name='tem_repeat']").get("value") == (
        "tem-sim check small.yaml --baseline baselines --set pipeline.batch_size=49 --set 'faults[0].for=20s'"
    )


def test_json_is_one_document_and_the_exit_code_is_the_same(small):
    result = tem_sim(*CHECK, "--set", "faults[0].for=20s", "--json", "--seeds", "2")
    read = json.loads(result.stdout)
    assert (result.exit_code, read["verdict"], read["scenarios"][0]["seeds"]) == (
        read["exit_code"],
        "REGRESSION",
        [1, 2],
    )


def test_a_scenario_without_a_baseline_is_inconclusive(small):
    written("new.yaml", SMALL.replace("scenario: small", "scenario: new"))
    result = tem_sim("check", "new.yaml", "--seeds", "1", "--jobs", "1", "--quiet")
    assert result.exit_code == 4
    assert result.stdout == ("NO BASELINE new: the baseline does not know it; `tem-sim baseline save` records it\n")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--seeds", "9"), "the baseline of small has 3; save it with --seeds 9"),
        (("--baseline", "nowhere.json"), "nowhere.json: cannot be read"),
        (("--baseline", "small.yaml"), "small.yaml: is no baseline"),
        (("--min-effect", "amplification=lots"), "must be a share such as 5%"),
        (("--json", "--markdown"), "choose one"),
        (("--set", "pipeline.nothing=1"), "pipeline.nothing"),
    ],
)
def test_what_cannot_be_used_is_told_with_exit_code_2(small, words, told):
    result = tem_sim(*CHECK, *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert told in result.stderr


def test_two_scenarios_of_one_name_are_refused_before_anything_runs(small):
    written("twin.yaml", SMALL)
    for command in ("check", "baseline save"):
        result = tem_sim(*command.split(), "small.yaml", "twin.yaml")
        assert (result.exit_code, result.stderr) == (
            2,
            "small: two scenarios have this name; give one of them another\n",
        )


def test_a_run_that_breaks_is_not_saved(folder):
    written("breaks.py", "def handle(event):\n    raise SystemError('of the simulation')\n")
    written("broken.yaml", SMALL)
    import tem_sim.sim.world as world

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world, "simulate", _breaks)
        result = tem_sim("baseline", "save", "broken.yaml", "--seeds", "1", "--jobs", "1")
    assert result.exit_code == 3
    assert "BROKEN small, seed 1: ZeroDivisionError: on purpose" in result.stderr
    assert not Path("baselines").exists()


def _breaks(*_args, **_options):
    raise ZeroDivisionError("on purpose")


# --- compare


def test_two_scenarios_are_compared_in_pairs(small):
    written("longer.yaml", SMALL.replace("for: 2s", "for: 12s"))
    result = tem_sim("compare", "small.yaml", "longer.yaml", "--seeds", "3", "--jobs", "1", "--out", "t/table.csv")
    assert result.exit_code == 0
    assert result.stdout.startswith("a is small.yaml, b is longer.yaml\n")
    table = Path("t/table.csv").read_text(encoding="utf-8").splitlines()
    rows = {row["measure"]: row for row in csv.DictReader(table)}
    one = rows["amplification"]
    assert float(one["b"]) > float(one["a"])
    assert float(one["difference_low"]) <= float(one["difference"]) <= float(one["difference_high"])
    assert one["n"] == "3"
    assert any(row["variance_reduction"] for row in rows.values())


def test_two_runs_are_one_pair_without_intervals(small):
    for number, seconds in enumerate(("2s", "12s")):
        tem_sim("run", small, "--set", f"faults[0].for={seconds}", "--out", f"run{number}", "--no-plots", "-q")
    read = document("compare", "run0", "run1")
    assert "in one pair of runs" in read["verdict"]
    assert all(row["difference_low"] is None for row in read["table"])
    assert read["notes"][0].startswith("One pair of runs: how much of a difference is luck cannot be told")


def test_two_sweeps_are_compared_cell_by_cell(small):
    for number, seconds in enumerate(("2s", "12s")):
        words = ("--set", f"faults[0].for={seconds}", "--set", "pipeline.backoff.base=1s,2s", "--seeds", "1")
        assert tem_sim("sweep", small, *words, "--out", f"{number}.db", "--jobs", "1").exit_code == 0
    read = document("compare", "0.db", "1.db")
    assert len({row["cell"] for row in read["table"]}) == 2


@pytest.mark.parametrize(
    ("a", "b", "told"),
    [
        ("small.yaml", "baselines", "small.yaml is a scenario and baselines is a run; give two of a kind"),
        ("nothing", "small.yaml", "nothing: is no run's folder, no scenario (.yaml) and no results file of a sweep"),
        ("baselines", "baselines", "no run here (no run.json)"),
    ],
)
def test_what_cannot_be_compared_is_told(small, a, b, told):
    result = tem_sim("compare", a, b)
    assert result.exit_code == 2
    assert told in result.stderr

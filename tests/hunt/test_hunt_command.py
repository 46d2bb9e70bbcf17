"""`tem-sim hunt`: what it prints, writes and exits with; and that what it writes is what it says."""

import json
import re
import sys
from pathlib import Path

import pytest
from hunt_scenarios import FILE

from tem_sim.hunt.hunt import Hunt
from tem_sim.hunt.written import differences
from tem_sim.scenario.loader import load, loads
from tem_sim.scenario.models import Scenario
from tem_sim.scenario.yaml_writer import yaml_text

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))
from cli_helpers import document, tem_sim, written

OFF = ("--set", "pipeline.outbox=false", "--jobs", "1", "--budget", "5m")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    written("small.yaml", FILE)
    return tmp_path


# Where the hunt is that it is compared with.
@pytest.mark.xdist_group("hunt")
def test_what_is_written_replays_to_the_same_verdict_and_digest(folder: Path, without_outbox: Hunt) -> None:
    result = tem_sim("hunt", "small.yaml", *OFF, "--check", "notifications", "--json", "--out", "found")
    said = json.loads(result.stdout)
    assert result.exit_code == 1
    assert said["verdict"] == "FOUND"
    file = folder / said["finding"]["file"]
    assert file == folder / "found" / "small-notifications.yaml"
    replayed = tem_sim("run", str(file), "--json", "--no-plots")
    run = json.loads(replayed.stdout)
    assert replayed.exit_code == 1
    assert run["verdict"] == "FAIL"
    assert run["digest"] == said["finding"]["digest"]
    assert [check["name"] for check in run["checks"] if check["verdict"] == "false"] == ["notifications"]
    # The same seed has found the same before, in another hunt.
    assert said["finding"]["digest"] == without_outbox.finding.digest
    comment = file.read_text()
    assert said["finding"]["digest"] in comment
    assert "tem-sim hunt small.yaml --seed 1 --budget 5m --check notifications --set pipeline.outbox=false" in comment
    assert not (folder / ".hypothesis").exists()


def test_an_objective_is_written_as_the_threshold_that_is_broken(folder: Path) -> None:
    result = tem_sim("hunt", "small.yaml", "--objective", "extinct>0", "--jobs", "1", "--budget", "5m")
    assert result.exit_code == 1
    assert "FOUND small: extinct value<=0 in try" in result.stdout
    (file,) = (folder / "reports/hunts").glob("*.yaml")
    assert load(file).thresholds.listed()[0].bound == 0
    assert re.search(r"# \w+: \w+ [0-9.]+ s is enough, [0-9.]+ s is not", file.read_text())
    run = document("run", str(file), "--no-plots")
    assert run["verdict"] == "FAIL"
    assert run["thresholds"][0]["verdict"] == "false"


def test_a_clean_hunt_exits_with_0_and_shows_what_it_covered(folder: Path) -> None:
    result = tem_sim("hunt", "small.yaml", "--tries", "8", "--jobs", "1", "--budget", "5m")
    assert result.exit_code == 0
    assert result.stdout.startswith("CLEAN small: nothing found of 11 checks; ")
    assert re.search(r"^fault +asked +landed +submit", result.stdout, re.MULTILINE)
    assert re.search(r"^worker_(death|pause) +\d+ +\d+ ", result.stdout, re.MULTILINE)
    assert "after_commit_before_wake" in result.stdout
    assert not (folder / "reports").exists()


def test_a_budget_too_small_for_any_try_exits_with_4() -> None:
    assert tem_sim("hunt", "small.yaml", "--budget", "1us", "--jobs", "1").exit_code == 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--objective", "amplification>"), "hunt: --objective: amplification: the bound must be a finite number"),
        (("--objective", "amplify>3"), "hunt: --objective: amplify is no metric"),
        (("--check", "notification"), "hunt: --check: there is no check notification; did you mean notifications?"),
        (("--budget", "soon"), "hunt: --budget: "),
        (("--set", "pipeline.outbx=false"), "unknown key"),
    ],
)
def test_what_cannot_be_hunted_is_told_at_its_option(words: tuple[str, ...], said: str) -> None:
    result = tem_sim("hunt", "small.yaml", *words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("file", sorted(Path("scenarios").glob("*.yaml")), ids=lambda file: file.stem)
def test_what_differs_from_the_defaults_is_the_whole_scenario(file: Path) -> None:
    scenario = load(Path(__file__).parents[2] / file)
    # A matrix is for sweeps; a hunt leaves it out.
    plain = Scenario.model_validate({**scenario.resolved(), "matrix": None, "seeds": None})
    assert loads(yaml_text(differences(plain))) == plain
    assert len(yaml_text(differences(plain))) < len(yaml_text(plain.resolved()))

"""The committed baselines hold: what the shipped scenarios came to, they still do."""

from pathlib import Path

import pytest

from tem_sim.baseline.check import check_baseline
from tem_sim.baseline.file import load_baseline
from tem_sim.baseline.seen import run_cases
from tem_sim.baseline.words import sentence
from tem_sim.scenario.loader import load

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "baselines").glob("*.json"))


def test_there_are_some():
    assert FILES


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_shipped_scenario_is_no_worse_than_its_baseline(file):
    known = load_baseline(file)
    asked = [(load(ROOT / "scenarios" / f"{name}.yaml"), recorded.seeds) for name, recorded in known.scenarios.items()]
    found = check_baseline(run_cases(asked, jobs=1), known)
    told = [[sentence(case), *(case.drift.sentences() if case.drift else [])] for case in found.cases]
    assert found.word == "OK", (told, "if that is meant: make baselines")

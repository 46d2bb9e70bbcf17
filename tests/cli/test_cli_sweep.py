"""`tem-sim sweep`: a verdict first, a results file, and the exit code that the cells come to."""

import csv
from pathlib import Path

import pytest
from cli_helpers import STORM, document, tem_sim, written

SWEEP = (
    STORM.replace("events: 40", "events: 10")
    + """
seeds: 2
matrix: {pipeline.backoff.base: [1s, 4s]}
"""
)


@pytest.fixture
def file(folder):
    return written("sweep.yaml", SWEEP)


def test_the_verdict_is_the_first_line_and_the_file_the_last(file):
    said = tem_sim("sweep", file, "-j", "1", "--seeds", "1")
    assert said.exit_code == 0
    assert said.stdout.startswith("PASS small_storm: 2 cells, 2 runs. amplification is least with base=")
    assert said.stdout.splitlines()[-1] == "results reports/small_storm/sweep.db"
    assert Path("reports/small_storm/sweep.db").exists()
    again = tem_sim("sweep", file)
    assert (again.exit_code, again.stdout) == (2, "")
    assert "--resume goes on with it, --force begins anew" in again.stderr
    assert tem_sim("sweep", file, "--resume", "--seeds", "1").stdout == said.stdout


def test_a_broken_threshold_of_one_cell_is_exit_code_1(file):
    found = tem_sim("sweep", file, "-j", "1", "--seeds", "1", "--set", "thresholds={attempts: max<35}")
    assert found.exit_code == 1
    assert "Thresholds are broken in 1 of 2 cells: base=1s (attempts max " in found.stdout
    lenient = tem_sim(
        "sweep", file, "--resume", "--seeds", "1", "--set", "thresholds={strict: false, attempts: max<35}"
    )
    assert lenient.exit_code == 0


def test_a_threshold_that_cannot_be_judged_is_exit_code_4(file):
    found = tem_sim("sweep", file, "-j", "1", "--seeds", "1", "--set", "thresholds={latency_p999_s: max<35}")
    assert found.exit_code == 4
    assert found.stdout.startswith("INCONCLUSIVE small_storm")


def test_a_run_that_breaks_is_exit_code_3_and_the_others_are_told(file, monkeypatch):
    def broken(scenario, seed, **_):
        raise ZeroDivisionError(f"seed {seed}")

    monkeypatch.setattr("tem_sim.sim.world.simulate", broken)
    found = tem_sim("sweep", file, "-j", "1")
    assert found.exit_code == 3
    assert "4 runs broke, the first of them base=1s, seed 1: ZeroDivisionError: seed 1" in found.stdout


def test_json_has_each_cell_with_its_means_and_thresholds(file):
    found = document("sweep", file, "-j", "1", "--set", "base=1s,2s,4s", "--set", "thresholds={attempts: max<99}")
    assert (found["schema_version"], found["verdict"], found["seeds"]) == (1, "PASS", 2)
    assert [cell["labels"] for cell in found["cells"]] == [
        {"pipeline.backoff.base": base} for base in ("1s", "2s", "4s")
    ]
    cell = found["cells"][0]
    assert set(cell["metrics"]["attempts"]) == {"mean", "low", "high", "n"}
    assert cell["thresholds"][0]["verdict"] == "true"
    assert cell["broken"] == []


def test_rows_and_figures_are_saved_where_asked(file):
    tem_sim(
        "sweep", file, "-j", "1", "--seeds", "1", "--plots", "drawn", "--measure", "attempts", "--measure", "drain_s"
    )
    rows = list(csv.DictReader(Path("drawn/rows.csv").read_text(encoding="utf-8").splitlines()))
    assert [(row["pipeline.backoff.base"], row["seed"]) for row in rows] == [("1s", "1"), ("4s", "1")]
    for name in ("attempts", "drain_s", "pareto"):
        assert Path(f"drawn/{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--set", "base=1s,x"), "--set base=1s,x: pipeline.backoff.base: must be a duration"),
        (("--set", "workers.cuont=3"), "--set workers.cuont=3: workers.cuont: unknown key"),
        (("--set", "expect={violations: [livenes]}"), "did you mean liveness?"),
        (("--resume", "--force"), "choose one"),
        (("--retry-failed",), "--retry-failed needs --resume"),
        (("--dask", "tcp://x:1", "--jobs", "2"), "choose one"),
        (("--measure", "drian_s"), "did you mean drain_s?"),
        (("--out", "sweep.yaml", "--force"), "sweep.yaml: cannot be used as a results file"),
    ],
)
def test_a_mistake_is_told_in_words_and_exits_with_2_before_anything_runs(file, words, told):
    said = tem_sim("sweep", file, *words)
    assert (said.exit_code, said.stdout) == (2, "")
    assert told in said.stderr


def test_a_value_of_the_matrix_that_does_not_fit_is_told_by_validate_and_not_by_run(folder):
    file = written("bad.yaml", SWEEP.replace("4s", "-4s"))
    said = tem_sim("validate", file)
    assert said.exit_code == 2
    assert said.stderr.startswith("bad.yaml:10:38: pipeline.backoff.base: must be > 0")
    assert tem_sim("run", file, "--no-plots", "-q").exit_code == 0


def test_a_run_of_a_file_with_a_matrix_says_what_it_is_not(file):
    said = tem_sim("run", file, "--no-plots", "-q")
    assert "warning: The file has a matrix and 2 seeds for `tem-sim sweep`; this is one run" in said.stdout

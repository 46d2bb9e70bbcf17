"""The simulator against theory, small enough for CI; and that what is wrong is found."""

import json
import math

import numpy as np
import pytest
from typer.testing import CliRunner

from tem_sim.cli.main import app
from tem_sim.studies import validation
from tem_sim.studies.cells import Row
from tem_sim.studies.steady_state import MEASURES, form_of, predicted
from tem_sim.studies.validation import FULL, QUICK, Plan, Point, judged, scenario_at, validate_model

# One process has the runs that these tests share.
pytestmark = pytest.mark.xdist_group("validation")

POINT = Point(8, 0.8, "full")
PLAN = Plan((POINT,), 100, 6, 0.02)


@pytest.fixture(scope="module")
def quick():
    """Run what CI runs, once."""
    return validate_model(QUICK, jobs=1)


def test_the_simulator_agrees_with_theory(quick):
    assert quick.passed, quick.verdict
    assert quick.table["ok"].all()
    assert quick.verdict.startswith(
        "The simulator agrees with theory: of 27 numbers at 3 points none is off by |z| ≥ 3"
    )
    assert "none was queued, begun or ended more than 0.5 µs from where an ideal queue" in quick.verdict


def test_every_number_is_there_with_its_interval(quick):
    assert len(quick.table) == len(QUICK.points) * len(MEASURES)
    assert quick.table.notna().all(axis=None)
    assert (quick.table["n"] == QUICK.seeds).all()
    inside = (quick.table["low"] <= quick.table["simulated"]) & (quick.table["simulated"] <= quick.table["high"])
    assert inside.all()


def test_taking_out_the_ideal_queues_luck_is_worth_many_runs(quick):
    queued = quick.table[quick.table["measure"] == "in_system"]
    assert (queued["variance_reduction"] > 20).all()


def test_the_summary_has_a_line_per_measure(quick):
    assert quick.summary["measure"].tolist() == list(MEASURES)
    assert (quick.summary["points"] == 3).all()


def test_the_full_grid_is_all_that_was_asked_for():
    assert len(set(FULL.points)) == 27
    assert (FULL.seeds, FULL.max_error) == (10, 0.02)


@pytest.mark.slow
def test_a_part_of_the_full_grid_agrees_to_two_percent():
    points = tuple(Point(c, load, "decorrelated") for c, load in [(1, 0.5), (8, 0.9), (16, 0.9)])
    found = validate_model(Plan(points, 1000, 8, 0.02))
    assert found.passed, found.verdict


# --- what is wrong is found


def rows(after=0, **off):
    """Rows of runs that scatter about the truth, but for what is off by a factor."""
    scenario = scenario_at(POINT, PLAN.events)
    expected, unpolled = predicted(form_of(scenario)), predicted(form_of(scenario, polled=False))
    rng = np.random.default_rng(1 + after)
    made = []
    for seed in range(after + 1, after + PLAN.seeds + 1):
        luck = {name: rng.normal(1, 0.2) for name in MEASURES}
        own = {name: rng.normal(1, 0.002) for name in MEASURES}
        seen = {
            name: expected[name] * off.get(name, 1.0) * own[name] + unpolled[name] * luck[name] for name in MEASURES
        }
        ideal = {f"ideal {name}": unpolled[name] * (1 + luck[name]) for name in MEASURES}
        made.append(Row(str(POINT), seed, {**seen, **ideal, "apart_s": 5e-7, "attempts": 1000.0}))
    return made


def verdict(found):
    return judged(PLAN, {str(POINT): scenario_at(POINT, PLAN.events)}, found)


def test_honest_scatter_passes():
    assert verdict(rows()).passed


@pytest.mark.parametrize("name", MEASURES)
def test_any_measure_that_is_off_by_five_percent_is_found(name):
    found = verdict(rows(**{name: 1.05}))
    assert not found.passed
    assert found.table.loc[~found.table["ok"], "measure"].tolist() == [name]
    assert found.verdict.startswith(
        "The simulator does NOT agree with theory: 1 of 9 numbers are off, where 0.0 would be"
    )
    assert f"{name} at c=8 ρ=0.8 full" in found.verdict


def test_an_attempt_out_of_place_fails_whatever_the_means_say():
    moved = rows()
    moved[2].values["apart_s"] = 0.001
    assert not verdict(moved).passed
    assert "attempts are not where the ideal queue has them" in verdict(moved).verdict
    moved[2].values["apart_s"] = math.inf
    assert "Attempts were made that the ideal queue does not have" in verdict(moved).verdict


def test_a_broken_run_fails_and_is_told():
    found = verdict([*rows(), Row(str(POINT), 99, error="ValueError: boom")])
    assert not found.passed
    assert "1 runs broke, the first (c=8 ρ=0.8 full, seed 99) with ValueError: boom." in found.verdict


# --- what is off by chance


def answering(monkeypatch, *batches):
    """Let these rows be what is simulated, one batch after the other; return the seeds that were asked for."""
    seeds, answers = [], iter(batches)

    def run_cells(cells, *_, **__):
        seeds.append([cell.seed for cell in cells])
        return list(next(answers))

    monkeypatch.setattr(validation, "run_cells", run_cells)
    return seeds


def test_a_point_that_is_off_by_chance_is_run_again_under_fresh_seeds_and_judged_over_all(monkeypatch):
    seeds = answering(monkeypatch, rows(queued=1.025), rows(after=6, queued=0.99))
    found = validate_model(PLAN)
    assert seeds == [list(range(1001, 1007)), list(range(1007, 1013))]
    assert found.passed
    assert (found.table["n"] == 12).all()
    assert found.notes[-1].startswith("Off at first, and run again: queued at c=8 ρ=0.8 full (z +")


def test_what_is_really_off_is_further_off_the_second_time(monkeypatch):
    answering(monkeypatch, rows(queued=1.025), rows(after=6, queued=1.025))
    found = validate_model(PLAN)
    assert not found.passed
    assert found.table.loc[~found.table["ok"], "measure"].tolist() == ["queued"]


def test_where_nothing_is_off_nothing_is_run_twice(monkeypatch):
    seeds = answering(monkeypatch, rows())
    assert validate_model(PLAN).passed
    assert len(seeds) == 1


# --- the command


def test_the_command_says_what_was_found_and_exits_accordingly(monkeypatch):
    answers = iter([verdict(rows()), verdict(rows(queued=1.1))])
    monkeypatch.setattr(validation, "validate_model", lambda plan, **_: next(answers))
    good = CliRunner().invoke(app, ["validate-model", "--quick"])
    assert (good.exit_code, good.output.count("\n· ")) == (0, 6)
    assert "The simulator agrees with theory" in good.output
    bad = CliRunner().invoke(app, ["validate-model", "--json"])
    told = json.loads(bad.output)
    assert (bad.exit_code, told["passed"], len(told["table"])) == (1, False, 9)

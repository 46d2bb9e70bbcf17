"""Variants meet the same luck; rows are the same however they were made; a run that breaks is told and stops nobody."""

import math
import os
import signal
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from small_storm import STORM, storm

from tem_sim.analysis.metrics import METRICS, metrics
from tem_sim.analysis.statistics import mean_interval, paired
from tem_sim.scenario.errors import ScenarioError
from tem_sim.scenario.variants import scenario_with, variants, variants_of, with_outage
from tem_sim.sim.world import simulate
from tem_sim.studies.cells import Cell, Row, StudyError, cells_of, run_cell
from tem_sim.studies.progress import in_interactive_kernel, reported
from tem_sim.studies.replications import Replications, replicate

JITTERS = variants_of(storm(), "pipeline.backoff.jitter", ["none", "full"])


@pytest.fixture(scope="module")
def study():
    return replicate(JITTERS, 4, jobs=1)


def rows_of(*numbers, variant="a"):
    return [Row(variant, seed, {"wait_s": value}) for seed, value in enumerate(numbers, start=1)]


# --- variants


def test_a_variant_differs_in_what_was_set_and_in_nothing_else():
    changed = scenario_with(storm(), "pipeline.backoff.jitter=none", "workers.count=3")
    before, after = storm().resolved(), changed.resolved()
    assert after["workers"] == {**before["workers"], "count": 3}
    assert after["pipeline"]["backoff"] == {**before["pipeline"]["backoff"], "jitter": {"kind": "none"}}
    assert {name for name in after if after[name] != before[name]} == {"workers", "pipeline"}


def test_variants_take_one_setting_several_or_none():
    made = variants(storm(), {"as it is": [], "few": "workers.count=1", "two": ["workers.count=1", "seed=7"]})
    assert [(s.workers.count, s.seed) for s in made.values()] == [(2, 1), (1, 1), (1, 7)]


def test_a_variant_that_makes_no_sense_is_refused_with_its_reason():
    with pytest.raises(ScenarioError, match=r"workers\.count"):
        variants(storm(), {"none at all": "workers.count=0"})


def test_without_its_outage_a_scenario_s_other_faults_strike_as_they_do_with_it():
    deaths = {"kind": "worker_death", "target": "workers", "rate": "0.3/s", "until": "20s", "restart_after": "1s"}
    both = storm(faults=[*STORM["faults"], deaths], stop="horizon", horizon="30s")
    struck = [
        simulate(made).faults.query("kind == 'worker_death'")[["target", "start_s"]].to_numpy().tolist()
        for made in (with_outage(both, None), with_outage(both, 6.0), with_outage(both, 9.0))
    ]
    assert struck[0] == struck[1] == struck[2] != []


# --- rows


def test_there_is_one_row_per_variant_and_seed_with_what_its_run_says(study):
    assert list(study.rows.columns) == ["variant", "seed", *METRICS, "error"]
    assert list(zip(study.rows["variant"], study.rows["seed"], strict=True)) == [
        (name, seed) for name in ("none", "full") for seed in (1, 2, 3, 4)
    ]
    alone = metrics(simulate(JITTERS["full"], 3))
    assert study.rows.iloc[6][list(METRICS)].to_dict() == pytest.approx(alone, nan_ok=True, abs=0, rel=0)


def test_processes_give_the_rows_that_one_alone_gives(study):
    told = []
    parallel = replicate(JITTERS, 4, jobs=2, progress=lambda done, total: told.append((done, total)))
    pd.testing.assert_frame_equal(parallel.rows, study.rows, check_exact=True)
    assert told == [(done, 8) for done in range(1, 9)]


def test_a_measure_goes_to_other_processes_by_value():
    here = os.getpid()
    found = replicate(storm(), 2, jobs=2, measure=lambda run: {"elsewhere": os.getpid() != here, "end_s": run.end_s})
    assert (found.rows["elsewhere"] == 1.0).all()
    assert (found.rows["end_s"] > 6.0).all()


def test_seeds_are_shared_by_the_variants_and_may_be_named():
    found = replicate(JITTERS, [9, 5], jobs=1, measure=lambda run: {"seed_used": run.seed})
    assert found.rows["seed_used"].tolist() == [9, 5, 9, 5]


@pytest.mark.parametrize(("seeds", "why"), [(0, "at least one"), ([], "at least one"), ([3, 3], "counts once")])
def test_seeds_that_make_no_study_are_refused(seeds, why):
    with pytest.raises(ValueError, match=why):
        replicate(storm(), seeds)


def test_no_scenario_and_no_process_are_refused():
    with pytest.raises(ValueError, match="scenarios: must be at least one"):
        replicate({}, 1)
    with pytest.raises(ValueError, match="jobs must be at least 1"):
        replicate(storm(), 1, jobs=0)


# --- what breaks


def breaks_on_seed_2(run):
    if run.seed == 2:
        raise KeyError("no such\nthing")
    return {"end_s": run.end_s}


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_run_that_breaks_is_a_row_with_its_error_and_the_others_go_on(jobs):
    found = replicate(JITTERS, 3, jobs=jobs, measure=breaks_on_seed_2)
    broken = found.rows[found.rows["seed"] == 2]
    assert broken["end_s"].isna().all()
    assert broken["error"].str.fullmatch(r"KeyError: 'no such\\nthing' \(test_replications\.py:\d+\)").all()
    assert found.rows["end_s"].notna().sum() == 4
    assert found.table()["n"].tolist() == [2, 2]
    for shown in (repr(found), found._repr_html_()):
        assert "2 of 6 runs BROKE" in shown
        assert "none, seed 2: KeyError" in shown


def test_a_study_of_which_nothing_is_left_says_why():
    with pytest.raises(StudyError, match="all 2 runs broke; small storm, seed 1: ZeroDivisionError"):
        replicate(storm(), 2, jobs=1, measure=lambda _: {"x": 1 / 0})


def test_a_process_that_dies_ends_the_study_with_advice():
    with pytest.raises(StudyError, match=r"a process of the study died, .* jobs=1 does all runs in this process"):
        replicate(storm(), 2, jobs=2, measure=lambda _: os.kill(os.getpid(), signal.SIGKILL))


def test_an_interrupted_run_is_no_row(monkeypatch):
    monkeypatch.setattr("tem_sim.sim.world.simulate", lambda *_, **__: SimpleNamespace(status="interrupted"))
    with pytest.raises(KeyboardInterrupt):
        run_cell(Cell("a", storm(), 1), metrics)


def test_a_cell_alone_gives_its_row_of_the_whole(study):
    cell = cells_of(JITTERS, (1, 2, 3, 4))[5]
    row = run_cell(cell, metrics)
    assert (row.variant, row.seed, row.error) == ("full", 2, "")
    assert row.values == pytest.approx(study.rows.iloc[5][list(METRICS)].to_dict(), nan_ok=True, abs=0, rel=0)


# --- tables


def test_the_table_has_each_mean_with_its_t_interval_and_unit(study):
    table = study.table(["drain_s", "attempts"])
    assert list(table.columns) == ["variant", "measure", "mean", "low", "high", "n", "unit"]
    assert table["unit"].tolist() == ["s", "1", "s", "1"]
    drains = study.values("full", "drain_s").to_numpy()
    assert tuple(table.loc[2, ["mean", "low", "high", "n"]]) == tuple(mean_interval(drains))


def test_a_measure_that_does_not_exist_in_a_run_is_counted_out():
    found = Replications.of(rows_of(1.0, math.nan, 3.0))
    assert found.table().loc[0, ["mean", "n"]].tolist() == [2.0, 2]


def test_differences_are_taken_seed_by_seed(study):
    table = study.compare("none", measures=["attempts"])
    none, full = (study.values(name, "attempts").to_numpy() for name in ("none", "full"))
    row = table.iloc[0]
    assert (row["baseline"], row["variant"]) == ("none", "full")
    assert row["difference"] == np.mean(full - none)
    assert tuple(row[["low", "high", "p"]]) == paired(none, full)[3:6]


def test_rows_are_paired_by_their_seed_and_not_by_their_place():
    rows = [*rows_of(1.0, 2.0, 5.0), *reversed(rows_of(2.0, 3.0, 6.5, variant="b"))]
    row = Replications.of(rows).compare("a", "b").iloc[0]
    assert row["difference"] == pytest.approx((1.0 + 1.0 + 1.5) / 3)
    # Var(a) = 13/3 and Var(b) = 67/12, while the differences 1, 1, 1.5 have 1/12.
    assert row["variance_reduction"] == pytest.approx((13 / 3 + 67 / 12) * 12)


def test_among_many_comparisons_a_single_small_p_is_no_discovery():
    rng = np.random.default_rng(3)
    base = rng.normal(size=10)
    rows = rows_of(*base, variant="base")
    rows += [row for n in range(40) for row in rows_of(*(base + rng.normal(size=10)), variant=f"same {n}")]
    rows += rows_of(*(base + 5 + 0.1 * rng.normal(size=10)), variant="other")
    table = Replications.of(rows).compare("base")
    assert (table["p"] < 0.05).sum() > 1
    assert table.loc[table["significant"], "variant"].tolist() == ["other"]


def test_an_unknown_name_is_told_the_known_ones(study):
    with pytest.raises(KeyError, match="known are none, full"):
        study.compare("nobody")
    with pytest.raises(KeyError, match="drain_s"):
        study.table(["no such measure"])


def test_a_study_shows_means_with_intervals_a_column_per_variant(study):
    text = repr(study)
    assert text.startswith("2 variants × 4 seeds: mean [95% interval]\n")
    assert "drain_s (s)" in text
    assert "<table" in study._repr_html_()


# --- progress


def test_outside_of_a_notebook_nobody_is_told(capsys):
    with reported("runs", 3, None) as tell:
        tell(1, 3)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


@pytest.mark.parametrize("allowed", [True, False])
def test_a_kernel_is_interactive_when_it_can_ask_its_user(allowed, monkeypatch):
    kernel = SimpleNamespace(get_parent=lambda: {"content": {"allow_stdin": allowed}})
    shell = SimpleNamespace(kernel=kernel)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert in_interactive_kernel() == allowed

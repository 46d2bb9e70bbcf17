"""Sweeps: the same rows wherever they are made, kept as they come, gone on with, and judged over all seeds."""

import math
import os
import signal
import threading
from html import escape

import pandas as pd
import pytest
from tiny_sweep import ONE, TINY, TWO, lasting, tiny

import tem_sim.sweeps.rows
from tem_sim.analysis.metrics import METRICS, metrics
from tem_sim.analysis.statistics import mean_interval
from tem_sim.checks.registry import CHECKS
from tem_sim.checks.thresholds import measured, over_seeds
from tem_sim.scenario.loader import loads, loads_plan
from tem_sim.scenario.seeds import SeedsUntil
from tem_sim.sim.world import simulate
from tem_sim.sweeps.results import SweepError
from tem_sim.sweeps.run import sweep
from tem_sim.sweeps.sweep import Sweep

AXES = ["pipeline.backoff.base", "pipeline.backoff.jitter"]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    return tiny(folder, out=folder / "tiny.db")


@pytest.fixture(scope="module")
def folder(found, tmp_path_factory):
    return next(path for path in tmp_path_factory.getbasetemp().glob("tiny*") if (path / "tiny.db").exists())


@pytest.fixture
def counted(monkeypatch):
    """Count the runs that are done from here on."""
    seeds = []
    real = simulate
    monkeypatch.setattr(
        "tem_sim.sim.world.simulate", lambda scenario, seed, **more: seeds.append(seed) or real(scenario, seed, **more)
    )
    return seeds


def cell_scenario(number):
    return loads_plan(TINY).cells[number].scenario


# --- rows


def test_there_is_a_row_per_cell_and_seed_with_all_that_is_known_of_the_run(found):
    rows = found.rows
    assert list(rows.columns) == [
        *("cell", *AXES, "seed", "verdict"),
        *METRICS,
        *(f"check: {name}" for name in CHECKS),
        *("threshold: amplification max<9", "threshold: latency_s p(50)<1"),
        *("digest", "seconds", "error"),
    ]
    cells = [("1s", "none"), ("1s", "full"), ("2s", "none"), ("2s", "full")]
    assert list(rows[["cell", *AXES, "seed"]].itertuples(index=False, name=None)) == [
        (number, *cell, seed) for number, cell in enumerate(cells) for seed in (1, 2)
    ]
    run = simulate(cell_scenario(3), 2)
    row = rows.iloc[7]
    assert row[list(METRICS)].to_dict() == pytest.approx(metrics(run), nan_ok=True, abs=0, rel=0)
    assert (row["digest"], row["verdict"], row["check: liveness"]) == (run.digest, "PASS", "true")
    assert (row["threshold: amplification max<9"], row["threshold: latency_s p(50)<1"]) == ("true", "false")


def test_processes_give_the_rows_that_one_alone_gives(found, tmp_path):
    told = []
    parallel = tiny(tmp_path, jobs=2, progress=lambda done, total: told.append((done, total)))
    pd.testing.assert_frame_equal(lasting(parallel), lasting(found), check_exact=True)
    assert list(dict.fromkeys(told)) == [(done, 8) for done in range(9)]


def test_a_dask_cluster_gives_the_rows_that_one_process_gives(found, tmp_path):
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster:
        onto = tiny(tmp_path, jobs=None, dask=cluster.scheduler_address)
    pd.testing.assert_frame_equal(lasting(onto), lasting(found), check_exact=True)


def test_a_cluster_that_does_not_answer_is_told_and_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("tem_sim.sweeps.machines.CONNECT_S", 0.2)
    with pytest.raises(SweepError, match=r"--dask tcp://127\.0\.0\.1:9: no scheduler answers"):
        tiny(tmp_path, jobs=None, dask="tcp://127.0.0.1:9", out=tmp_path / "a.db")
    assert not (tmp_path / "a.db").exists()


def test_a_worker_with_other_code_is_refused(tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    # A worker answers from a thread of its own.
    monkeypatch.setattr(
        "tem_sim.sweeps.machines.engine", lambda: str(threading.current_thread() is threading.main_thread())
    )
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with (
        distributed.LocalCluster(**options) as cluster,
        pytest.raises(SweepError, match="other versions or other code than here"),
    ):
        tiny(tmp_path, jobs=None, dask=cluster.scheduler_address)


def test_the_file_has_what_the_sweep_returned(found, folder):
    pd.testing.assert_frame_equal(Sweep.load(folder / "tiny.db").rows, found.rows, check_exact=True)


def test_a_scenario_and_a_matrix_in_python_are_a_sweep_as_well(found):
    again = sweep(
        loads(ONE), matrix={path: values[:1] for path, values in loads(TINY).matrix.items()}, seeds=[1], jobs=1
    )
    pd.testing.assert_frame_equal(lasting(again), lasting(found).head(1), check_exact=True)


# --- means and verdicts


def test_means_are_of_the_seeds_with_t_intervals(found):
    table = found.table(["attempts", "drain_s"])
    assert list(table.columns) == ["cell", "name", *AXES, "measure", "mean", "low", "high", "n", "unit"]
    drains = found.rows.loc[found.rows["cell"] == 1, "drain_s"]
    assert tuple(table.loc[3, ["mean", "low", "high", "n"]]) == tuple(mean_interval(drains))
    assert table.loc[3, "name"] == "base=1s, jitter=full"


def test_thresholds_are_judged_over_all_seeds_of_a_cell_distributions_too(found):
    scenario = cell_scenario(2)
    thresholds = scenario.thresholds.listed()
    runs = [measured(simulate(scenario, seed), thresholds) for seed in (1, 2)]
    expected = over_seeds(thresholds, runs)
    rows = found.thresholds()
    rows = rows[rows["cell"] == 2]
    assert rows["value"].tolist() == [held.pooled.value for held in expected]
    assert rows["n"].tolist() == [held.pooled.n for held in expected]
    assert rows["seeds_unmet"].tolist() == [0, 2]


def test_the_verdict_names_the_cells_that_break_a_threshold_and_the_best_and_the_worst(tmp_path):
    found = tiny(tmp_path, "thresholds={attempts: max<55}", text=TWO)
    words = found.verdict
    failing = [cell.name for cell in found.cells if cell.unmet("false")]
    assert failing == ["base=1s, jitter=full"]
    assert words.startswith(
        "FAIL tiny: 2 cells, 4 runs. Thresholds are broken in 1 of 2 cells: "
        "base=1s, jitter=full (attempts max 58 >= 55)."
    )
    assert "attempts is least with " in words
    assert (found.word, found.exit_code) == ("FAIL", 1)
    assert escape(words) in found._repr_html_()


def test_a_threshold_that_only_warns_fails_nothing(found):
    assert (found.word, found.exit_code) == ("PASS", 0)
    assert set(found.thresholds()["verdict"]) == {"true", "false"}


def test_checks_count_and_an_expected_violation_must_be_seen(tmp_path):
    text = """\
scenario: bug
horizon: 40s
stop: horizon
seeds: 2
arrivals: {kind: burst, at: 1s, events: 3}
pipeline: {backoff: {growth: exponential, base: 1s, jitter: none, max_retries: 3}}
faults: [{kind: outage, at: 0s, for: 40s}]
expect: {violations: [retry_count]}
matrix: {pipeline.write_guard: [stale, fenced]}
"""
    found = tiny(tmp_path, text=text)
    assert [cell.failing_checks().get("retry_count", 0) for cell in found.cells] == [0, 2]
    assert "write_guard=fenced (retry_count in 2 of 2 runs)" in found.verdict


def test_cells_differ_in_pairs_by_seed(found):
    row = found.compare(0, ["attempts"]).iloc[0]
    values = [found.rows.loc[found.rows["cell"] == cell, "attempts"].to_numpy() for cell in (0, 1)]
    assert row["difference"] == (values[1] - values[0]).mean()
    assert row["n"] == 2


# --- going on


def test_a_file_that_is_there_is_refused_unless_that_is_meant(found, folder, counted):
    with pytest.raises(SweepError, match=r"tiny\.db: exists; --resume goes on with it, --force begins anew"):
        tiny(folder, out=folder / "tiny.db")
    assert counted == []


def test_what_is_done_is_not_done_again_and_what_is_new_is(found, folder, counted):
    more = tiny(folder, "seeds=3", "jitter=none", "base=1s,2s,4s", out=folder / "tiny.db", resume=True)
    assert sorted(counted) == [1, 2, 3, 3, 3]
    assert len(more.rows) == 9
    again = tiny(folder, out=folder / "tiny.db", resume=True)
    assert len(counted) == 5
    # Also how long a run took is as it was.
    pd.testing.assert_frame_equal(again.rows, found.rows, check_exact=True)


def test_to_begin_anew_is_to_lose_what_was_there(tmp_path, counted):
    tiny(tmp_path, text=ONE, out=tmp_path / "a.db")
    tiny(tmp_path, "seeds=1", text=ONE, out=tmp_path / "a.db", force=True)
    assert len(counted) == 3
    assert len(Sweep.load(tmp_path / "a.db").rows) == 1


def test_other_code_makes_other_runs(tmp_path, counted, monkeypatch):
    tiny(tmp_path, text=ONE, out=tmp_path / "a.db")
    monkeypatch.setattr("tem_sim.sweeps.run.engine", lambda: "another")
    tiny(tmp_path, text=ONE, out=tmp_path / "a.db", resume=True)
    assert len(counted) == 4


def test_the_users_own_code_is_part_of_what_a_run_is(tmp_path, counted, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    own = tmp_path / "own_policy_of_a_sweep.py"
    own.write_text("def wait(retry):\n    return 1.0\n")
    setting = "pipeline.backoff=own_policy_of_a_sweep:wait"
    tiny(tmp_path, setting, text=ONE, out=tmp_path / "a.db")
    own.write_text("def wait(retry):\n    return 2.0\n")
    tiny(tmp_path, setting, text=ONE, out=tmp_path / "a.db", resume=True)
    assert len(counted) == 4


# --- what breaks


@pytest.fixture
def breaks_on_seed_2(monkeypatch):
    real = simulate

    def breaking(scenario, seed, **more):
        if seed == 2:
            raise KeyError("no such thing")
        return real(scenario, seed, **more)

    monkeypatch.setattr("tem_sim.sim.world.simulate", breaking)
    yield
    monkeypatch.setattr("tem_sim.sim.world.simulate", real)


def test_a_run_that_breaks_is_kept_with_its_traceback_and_the_others_go_on(tmp_path, breaks_on_seed_2):
    found = tiny(tmp_path, "seeds=3", text=TWO, out=tmp_path / "a.db")
    assert found.rows["verdict"].tolist() == ["PASS", "BROKEN", "PASS"] * 2
    assert (
        found.rows.loc[found.rows["seed"] == 2, "error"]
        .str.startswith("KeyError: 'no such thing' (test_sweep.py")
        .all()
    )
    broken = found.cells[0].broken[0]
    assert "raise KeyError" in broken.traceback
    assert (found.word, found.exit_code) == ("BROKEN", 3)
    assert "2 runs broke, the first of them base=1s, jitter=full, seed 2: KeyError" in found.verdict
    # The others are measured and judged.
    assert found.table(["attempts"])["n"].tolist() == [2, 2]


def test_a_run_that_broke_is_done_again_only_on_request(tmp_path, monkeypatch, request):
    request.getfixturevalue("breaks_on_seed_2")
    tiny(tmp_path, text=TWO, out=tmp_path / "a.db")
    monkeypatch.setattr("tem_sim.sim.world.simulate", simulate)
    kept = tiny(tmp_path, text=TWO, out=tmp_path / "a.db", resume=True)
    assert (kept.rows["verdict"] == "BROKEN").sum() == 2
    mended = tiny(tmp_path, text=TWO, out=tmp_path / "a.db", resume=True, retry_failed=True)
    assert (mended.rows["verdict"] == "PASS").all()


def dies_on_seed_2(task):
    if task.seed == 2 and task.scenario.pipeline.backoff.base_s == 2.0:
        os.kill(os.getpid(), signal.SIGKILL)
    return tem_sim.sweeps.rows.run_task(task)


@pytest.mark.slow
def test_a_run_that_kills_its_process_is_a_broken_run_and_the_others_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr("tem_sim.sweeps.run.run_task", dies_on_seed_2)
    found = tiny(tmp_path, text=TWO, jobs=2)
    assert found.rows["verdict"].tolist() == ["PASS", "PASS", "PASS", "BROKEN"]
    assert found.rows["error"].iloc[3].startswith("TerminatedWorkerError")


def test_an_interrupted_sweep_keeps_what_is_done(tmp_path, monkeypatch):
    real = tem_sim.sweeps.rows.run_task

    def interrupted(task):
        if task.seed == 2:
            raise KeyboardInterrupt
        return real(task)

    monkeypatch.setattr("tem_sim.sweeps.run.run_task", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tiny(tmp_path, text=TWO, out=tmp_path / "a.db")
    part = Sweep.load(tmp_path / "a.db")
    assert part.rows[["cell", "seed"]].to_numpy().tolist() == [[0, 1]]


# --- as many as it takes


def test_each_cell_stops_when_its_own_mean_is_known_well_enough(tmp_path):
    goal = "seeds={min: 2, max: 6, batch: 3, until: ci(attempts) < 20%}"
    found = tiny(tmp_path, goal, text=TWO, out=tmp_path / "a.db")
    assert isinstance(found.seeds, SeedsUntil)
    sizes = [len(cell.runs) for cell in found.cells]
    assert set(sizes) <= {2, 5, 6}
    assert len(set(sizes)) == 2
    for cell in found.cells:
        mean, low, _, n = mean_interval([row.metrics["attempts"] for row in cell.runs])
        assert n == 6 or (mean - low) < 0.2 * mean
    pd.testing.assert_frame_equal(Sweep.load(tmp_path / "a.db").rows, found.rows, check_exact=True)


def test_a_metric_that_no_run_has_is_looked_for_up_to_the_last_seed(tmp_path):
    found = tiny(tmp_path, "seeds={min: 2, max: 3, batch: 1, until: ci(latency_p999_s) < 3%}", text=ONE)
    assert len(found.rows) == 3
    assert math.isnan(found.table(["latency_p999_s"])["mean"].iloc[0])

"""P(collapse) by load and outage: every run against its control, intervals and words that match the counts."""

import math
from pathlib import Path

import numpy as np
import pytest

from tem_sim.analysis.statistics import false_discoveries, paired, wilson
from tem_sim.scenario.loader import load
from tem_sim.studies import metastability as study
from tem_sim.studies.cells import Row
from tem_sim.studies.metastability import metastability, phase_paths

SHIPPED = load(Path(__file__).parents[2] / "scenarios" / "metastable.yaml")
# One server serves 10/s, and the hidden capacity is 2/s: a load of 0.2.
SMALL = load(
    Path(__file__).parents[2] / "scenarios" / "metastable.yaml",
    ["handler.capacity.servers=1", "handler.capacity.queue=40", "faults[0].at=3s", "workers.count=1"],
)


@pytest.fixture(scope="module")
def small_map():
    return metastability(SMALL, loads=(0.15, 0.7), outages_s=(6.0,), seeds=2, persist_s=24.0, jobs=1)


def cell(result, load_, outage_s):
    table = result.table
    return table[(table["load"] == load_) & (table["outage_s"] == outage_s)].iloc[0]


# --- with the simulator


def test_a_load_above_the_hidden_capacity_stays_down_and_one_below_recovers(small_map):
    assert (small_map.capacity_per_s, small_map.hidden_capacity_per_s) == (10.0, 2.0)
    light, heavy = cell(small_map, 0.15, 6.0), cell(small_map, 0.7, 6.0)
    assert (light["collapsed"], light["n"]) == (0, 2)
    assert (heavy["collapsed"], heavy["n"]) == (2, 2)
    assert heavy["goodput_share"] < 0.3 < 0.9 < light["goodput_share"]
    assert math.isinf(light["tipping_outage_s"])
    assert 1.0 < heavy["tipping_outage_s"] < 6.0


def test_every_run_has_a_control_of_its_seed_and_load_without_the_outage(small_map):
    rows = small_map.rows
    assert set(zip(rows["load"], rows["outage_s"], rows["seed"], strict=True)) == {
        (load_, outage_s, seed) for load_ in (0.15, 0.7) for outage_s in (0.0, 6.0) for seed in (1, 2)
    }
    # The same arrivals with and without the outage.
    offered = rows.set_index(["load", "seed", "outage_s"])["late_offered_per_s"].unstack()
    assert (offered[0.0] == offered[6.0]).all()
    assert (rows.loc[rows["outage_s"] == 0.0, "fate"] == "up").all()


def test_runs_are_judged_long_after_the_outage(small_map):
    # The outage ends after 9 s at the latest, the runs end 24 s later, and the second half of that counts.
    assert (small_map.window.from_s, small_map.window.before_s) == (21.0, 33.0)


def test_only_the_outage_and_the_load_are_changed():
    plan = study._Plan.of(SMALL, (0.5,), (4.0,), None)
    before, after = SMALL.resolved(), plan.variant(0.5, 4.0).resolved()
    assert {key for key in before if before[key] != after[key]} == {"arrivals", "horizon", "faults"}
    assert after["faults"] == [{**before["faults"][0], "for": 4.0}]
    assert plan.variant(0.5, 0.0).faults == ()


def test_phase_paths_end_where_they_began_or_in_another_place():
    paths = phase_paths(SMALL, 0.7, [1.0, 6.0], persist_s=24.0)
    assert list(paths) == ["no outage", "outage of 1 s", "outage of 6 s"]
    ends = {name: path["backlog"].iloc[-3:].mean() for name, path in paths.items()}
    assert ends["outage of 1 s"] < 10 < 30 < ends["outage of 6 s"]
    assert paths["outage of 6 s"]["in_outage"].sum() == 3
    assert not paths["no outage"]["in_outage"].any()


# --- from the runs to the table and the words


def outputs(monkeypatch, goodput):
    """Let runs end with the goodput per s that a function of (load, outage, seed) gives; None breaks the run."""

    def run_cells(cells, measure, **_):
        made = []
        for each in cells:
            outage = each.variant.partition("outage of ")[2].removesuffix(" s")
            load_ = float(each.variant.partition(",")[0].removeprefix("load "))
            good = goodput(load_, float(outage or 0), each.seed)
            names = ("early_goodput_per_s", "late_goodput_per_s", "early_offered_per_s", "late_offered_per_s")
            rate = load_ * 20
            values = {} if good is None else dict(zip(names, (good, good, rate, rate), strict=True))
            made.append(Row(each.variant, each.seed, values, "" if values else "SimulationError: no"))
        return made

    monkeypatch.setattr(study, "run_cells", run_cells)


def test_counts_intervals_and_discoveries_are_those_of_the_runs(monkeypatch):
    rng = np.random.default_rng(1)
    noise = {(load_, seed): rng.normal(0, 0.1) for load_ in (0.4, 0.8) for seed in range(1, 11)}

    def goodput(load_, outage_s, seed):
        usual = load_ * 20 + noise[load_, seed]
        return (
            1.0
            if outage_s and seed <= {(0.4, 2.0): 0, (0.4, 8.0): 4, (0.8, 2.0): 7, (0.8, 8.0): 10}[load_, outage_s]
            else usual
        )

    outputs(monkeypatch, goodput)
    result = metastability(SHIPPED, loads=(0.4, 0.8), outages_s=(2.0, 8.0), seeds=10)
    table = result.table
    assert list(zip(table["load"], table["outage_s"], table["collapsed"], table["n"], strict=True)) == [
        *((0.4, 2.0, 0, 10), (0.4, 8.0, 4, 10), (0.8, 2.0, 7, 10), (0.8, 8.0, 10, 10))
    ]
    assert [tuple(row) for row in table[["p_collapse", "p_low", "p_high", "n"]].to_numpy()] == [
        tuple(wilson(count, 10)) for count in (0, 4, 7, 10)
    ]
    p_values = [
        paired(*([goodput(load_, outage, seed) for seed in range(1, 11)] for outage in (0.0, outage_s))).p
        for load_ in (0.4, 0.8)
        for outage_s in (2.0, 8.0)
    ]
    assert table["goodput_lost"].tolist() == false_discoveries(p_values).tolist() == [False, True, True, True]
    assert result.verdict.startswith(
        "An outage of 2 s at load 0.8 (7 of 10 runs, P 0.40 to 0.89) left the system down after it was over. "
    )
    assert "hidden capacity, 4/s or load 0.2" in result.verdict


def test_a_seed_that_collapses_by_itself_judges_nothing_and_is_told(monkeypatch):
    outputs(monkeypatch, lambda load_, outage_s, seed: 0.0 if outage_s or seed == 3 else load_ * 20)
    result = metastability(SHIPPED, loads=(0.9,), outages_s=(4.0,), seeds=5)
    only = result.table.iloc[0]
    assert (only["n"], only["collapsed"], only["control_collapsed"]) == (4, 4, 1)
    assert "Some seeds collapsed without any outage and are left out: 1 at load 0.9." in result.verdict


def test_a_run_that_broke_is_left_out_with_those_that_it_was_the_control_of(monkeypatch):
    outputs(monkeypatch, lambda load_, outage_s, seed: None if seed == 2 and not outage_s else load_ * 20)
    result = metastability(SHIPPED, loads=(0.5,), outages_s=(1.0, 2.0), seeds=3)
    assert result.table["n"].tolist() == [2, 2]
    assert any(note.startswith("3 of 9 runs broke") for note in result.notes)
    assert (result.rows.loc[result.rows["fate"] == "broken", "error"] == "SimulationError: no").all()


def test_where_nothing_collapses_the_verdict_says_how_sure_that_is(monkeypatch):
    outputs(monkeypatch, lambda load_, outage_s, seed: load_ * 20)
    result = metastability(SHIPPED, loads=(0.5, 0.6), outages_s=(1.0,), seeds=10)
    assert "No outage of up to 1 s left most runs down" in result.verdict
    assert "Up to load 0.6 no run collapsed (P at most 0.28 in any cell)." in result.verdict


# --- what makes no map


def test_a_scenario_without_capacity_or_without_one_outage_is_refused():
    with pytest.raises(ValueError, match=r"handler\.capacity is off"):
        metastability(load(Path(__file__).parents[2] / "scenarios" / "recovery_flow.yaml"), seeds=1)
    with pytest.raises(ValueError, match="must have one outage among its faults, got 0"):
        metastability(SHIPPED.model_copy(update={"faults": ()}), seeds=1)


@pytest.mark.parametrize(("loads", "outages_s"), [((), (1.0,)), ((0.5,), ()), ((0.0,), (1.0,)), ((0.5,), (-1.0,))])
def test_a_map_needs_loads_and_outages_above_zero(loads, outages_s):
    with pytest.raises(ValueError, match="each needs values, all above 0"):
        metastability(SHIPPED, loads, outages_s, seeds=1)


def test_a_map_needs_time_after_the_outage():
    with pytest.raises(ValueError, match="persist_s must be above 0, got 0"):
        metastability(SHIPPED, (0.5,), (1.0,), seeds=1, persist_s=0.0)


def test_a_load_or_an_outage_named_twice_counts_once():
    plan = study._Plan.of(SHIPPED, (0.7, 0.5, 0.7), (4.0, 1.0, 4.0), None)
    assert (plan.loads, plan.outages_s) == ((0.5, 0.7), (1.0, 4.0))
    assert len(plan.cells((1, 2))) == 2 * 3 * 2

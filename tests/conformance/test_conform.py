"""Live runs that are as predicted conform, others do not and get a suspect; all of it can be kept.

The live runs here are simulated ones, so that what is different in their world is known. `test_live_conform.py` has
real ones.
"""

import json
from dataclasses import replace

import numpy as np
import pytest

from tem_sim.analysis.conformance import COMPARED, counted
from tem_sim.conformance.conform import as_live, conform, held_against
from tem_sim.conformance.culprits import ASSUMPTIONS, NOBODY, culprits
from tem_sim.conformance.document import conformance_document, save
from tem_sim.conformance.prediction import predict, simulated, with_phase
from tem_sim.frames import Run, RunError
from tem_sim.live.calibrate import SCALE, Calibration
from tem_sim.scenario.errors import ScenarioError
from tem_sim.scenario.loader import changed_by
from tem_sim.scenario.models import Scenario

# Two processes would each make the same runs.
pytestmark = [pytest.mark.xdist_group("conformance"), pytest.mark.long]

STORM = Scenario.model_validate(
    {
        "scenario": "small_storm",
        "horizon": "2m",
        "arrivals": [{"kind": "poisson", "rate": 20, "until": 8}],
        "pipeline": {"backoff": {"base": "1s", "jitter": "full", "max_retries": 8}, "batch_size": 5},
        "workers": {"count": 2, "concurrency": 2},
        "handler": {"service_time": {"kind": "exponential", "mean": "50ms"}},
        "faults": [{"kind": "outage", "at": "2s", "for": "3s"}],
    }
)
MODEL = as_live(STORM)
SEEDS = range(1, 40)
# Without faults, and with a gateway that takes its time: of what is compared, one thing must show it.
CALM = changed_by(
    MODEL,
    {"faults": [], "beat": {"relay_every": "50ms"}, "handler": {"service_time": {"kind": "constant", "value": "50ms"}}},
)
SLOW = changed_by(CALM, {"users": {"latency": "200ms"}})


def live(model, seeds=(91, 92, 93)):
    return [replace(simulated(model, seed), mode="live", digest="") for seed in seeds]


@pytest.fixture(scope="module")
def same():
    return held_against(MODEL, SEEDS, live(MODEL), jobs=1)


@pytest.fixture(scope="module")
def other():
    return held_against(CALM, SEEDS, live(SLOW), at_least=12, jobs=1)


def test_runs_of_the_same_world_conform(same):
    assert (same.word, same.unsafe, len(same.table)) == ("CONFORMS", (), 12)
    assert same.inside >= 11
    assert "every check of safety holds in all runs" in same.verdict


def test_of_the_same_luck_in_the_same_world_nothing_is_left_over(same):
    assert same.table["same_luck"].abs().max() == 0


def test_a_slower_world_deviates_and_what_is_slow_is_suspected(other):
    assert (other.word, counted(other.table)["outside"]) == ("DEVIATES", 1)
    (suspect,) = other.suspects.to_dict("records")
    assert (suspect["metric"], suspect["culprit"]) == ("delivery_p95_s", "notification latency")
    assert suspect["share"] == pytest.approx(suspect["moves"] / suspect["missing"])
    row = other.table.set_index("metric").loc["delivery_p95_s"]
    assert row["culprit"].startswith("notification latency (10 times as long: ")
    assert row["same_luck"] == pytest.approx(0.18, abs=0.05)


def test_a_gap_that_nothing_explains_has_no_culprit(same):
    odd = same.table.assign(verdict=["outside", *["inside"] * 11], live=1e4)
    found = culprits(MODEL, odd, [1, 2], assumptions=ASSUMPTIONS[:2], jobs=1)
    assert found.iloc[0]["culprit"] == NOBODY
    assert culprits(MODEL, same.table, [1, 2]).empty


@pytest.mark.parametrize("assumption", ASSUMPTIONS, ids=lambda one: f"{one.name}, {one.change}")
def test_every_assumption_is_one_of_a_scenario_that_has_all_of_it(assumption):
    """Each changes something, and what it makes is a scenario; but for what is so already."""
    has_all = changed_by(
        MODEL,
        {
            "broker": {"latency_each": 0.001},
            "faults": [{"kind": "worker_death", "target": "worker-1", "at": 1, "restart_after": 2}],
        },
    )
    fragment = assumption.otherwise(has_all)
    already = {"workers exit"}
    assert (fragment is None) == (assumption.change in already)
    if fragment is not None:
        assert changed_by(has_all, fragment) != has_all


def test_what_is_unsafe_deviates_however_many_metrics_are_inside(same):
    broken = replace(same, unsafe=(("live", 91, "conservation", "1 event is gone"),))
    assert (broken.inside, broken.word) == (same.inside, "DEVIATES")


@pytest.mark.parametrize(("verdicts", "word"), [(9 * ["inside"], "CONFORMS"), (8 * ["inside"], "INCONCLUSIVE")])
def test_what_cannot_be_told_is_not_held_against_it(same, verdicts, word):
    told = [*verdicts, *["unknown"] * (12 - len(verdicts))]
    assert replace(same, table=same.table.assign(verdict=told)).word == word


def test_a_broken_check_of_safety_is_seen_in_any_run():
    """The historic bug, as a live system could have it again: its writes are not guarded."""
    stale = changed_by(MODEL, {"pipeline": {"lease": 0.3, "write_guard": "stale"}, "workers": {"count": 1}})
    found = held_against(stale, [1, 2], live(stale, [91]), jobs=1)
    assert {mode for mode, *_ in found.unsafe} == {"sim", "live"}
    assert "BROKEN" in found.verdict
    assert found.word == "DEVIATES"


# --- what predicts


def test_predictions_are_the_same_however_many_processes_make_them():
    one, two = (predict(MODEL, [1, 2, 3], jobs=jobs) for jobs in (1, 2))
    assert [seen.course.metrics for seen in one] == [seen.course.metrics for seen in two]


def test_nobody_knows_when_a_live_scheduler_begins_to_tick():
    phases = [with_phase(MODEL, seed).beat.phase_s for seed in range(200)]
    assert 0 <= min(phases) < 0.2
    assert 4.8 < max(phases) < MODEL.beat.rescue_every_s
    assert np.mean(phases) == pytest.approx(2.5, abs=0.4)


def test_a_simulated_system_is_as_a_live_one_and_as_it_was_measured():
    measured = Calibration("small_storm", 1, {}, {"workers": {"startup": 3.0}, "broker": {"latency": 0.004}})
    found = as_live(STORM, measured)
    assert (found.workers.up_at_start, found.beat.through, found.broker.behaves_like) == (True, "broker", "celery-5.7")
    assert (found.workers.startup_s, found.broker.latency_s) == (3.0, 0.004)


# --- refusals


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"runs": 0}, ValueError, "runs: must be at least 1"),
        ({"seeds": []}, ValueError, "seeds: must be at least one"),
        ({"time_scale": -1}, ValueError, "time scale: must be a finite number > 0"),
        ({"calibration": "nowhere.yaml"}, OSError, "nowhere.yaml"),
        (
            {"calibration": Calibration("x", 1, {}, {}, {SCALE: "0.5"})},
            ValueError,
            "calibration: was measured at a time scale of 0.5, and this is 1",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_starts(options, error, said):
    with pytest.raises(error, match=said):
        conform(STORM, **options)


def test_a_fault_that_cannot_be_inflicted_live_is_refused_before_anything_starts():
    skewed = changed_by(STORM, {"faults": [{"kind": "clock_skew", "at": 1, "for": 1, "target": "api", "skew": 1}]})
    with pytest.raises(ScenarioError):
        conform(skewed)


# --- kept


def test_a_live_run_is_handed_over_before_the_next_one_begins(monkeypatch):
    happened = []

    def run_live(scenario, seed, **_):
        happened.append(f"{seed} begins")
        return live(scenario, [seed])[0]

    monkeypatch.setattr("tem_sim.conformance.conform.run_live", run_live)
    found = conform(STORM, runs=2, seeds=2, jobs=1, lived=lambda run: happened.append(f"{run.seed} {run.mode}"))
    assert happened == ["3 begins", "3 live", "4 begins", "4 live"]
    assert found.live_seeds == (3, 4)


def test_it_is_kept_as_a_folder_of_a_document_and_runs(other, tmp_path):
    folder = save(other, tmp_path / "kept")
    document = json.loads((folder / "conformance.json").read_text(encoding="utf-8"))
    assert (document["word"], document["inside"]) == (other.word, other.inside)
    assert [row["metric"] for row in document["table"]] == list(COMPARED)
    assert document["live_seeds"] == [91, 92, 93]
    assert [Run.load(folder / name).mode for name in document["runs"]] == ["live"] * 3 + ["sim"] * 3
    assert Scenario.model_validate(document["simulated_scenario"]) == CALM


def test_another_one_in_its_place_leaves_none_of_its_runs(other, same, tmp_path):
    save(other, tmp_path / "kept")
    fewer = replace(same, runs=same.runs[:1])
    save(fewer, tmp_path / "kept")
    assert [path.name for path in (tmp_path / "kept").iterdir() if path.is_dir()] == ["live-seed-91"]


def test_a_folder_of_somebody_else_is_refused(same, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="holds no conformance"):
        save(same, tmp_path)


def test_a_document_has_no_number_that_json_has_not(same):
    odd = replace(same, table=same.table.assign(off=float("nan"), live=float("inf")))
    assert json.loads(json.dumps(conformance_document(odd), allow_nan=False))["table"][0]["live"] is None


def test_a_notebook_shows_the_verdict_the_table_and_how_it_was_made(other):
    shown = other._repr_html_()
    assert other.verdict in shown
    assert "notification latency" in shown
    assert "delivery_p95_s is off by +" in shown

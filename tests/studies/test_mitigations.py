"""The mitigations bench: what is tried, what is measured, what is called better or worse, and what the verdict says."""

import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from small_storm import storm

from tem_sim.plots.mitigations import PANELS, mitigation_effects
from tem_sim.scenario.variants import scenario_with
from tem_sim.sim.world import simulate
from tem_sim.studies.mitigations import BASELINE, MEASURES, RANKED, measured, mitigations, verdict
from tem_sim.studies.remedies import Sizes, remedies

# 40 events meet an outage of 6 s, and a downstream that serves 20 a second.
NARROW = storm(handler={"service_time": "100ms", "capacity": {"servers": 2, "queue": 4, "timeout": "1s"}})
TRIED = {
    "short deadline": "pipeline.deadline=7s",
    "narrow budget": ["pipeline.retry_budget={ratio: 0, floor: 2/s, burst: 2}"],
    "nothing": "pipeline.relay_limit=499",
}


@pytest.fixture(scope="module")
def bench():
    return mitigations(NARROW, seeds=4, tried=TRIED, jobs=1)


def row(result, name):
    return result.table.set_index("mitigation").loc[name]


# --- what is tried


def test_every_mitigation_is_tried_sized_by_the_scenario():
    tried = remedies(NARROW)
    assert list(tried) == [
        *("jitter none", "jitter equal", "jitter decorrelated", "cap 4 s", "tick LIMIT", "tick LIMIT, adaptive poll"),
        *("new events first", "newest first", "retry budget", "circuit breaker", "concurrency limit", "load shedding"),
        "deadline",
    ]
    assert Sizes.of(NARROW) == Sizes(capacity_per_s=20.0, load_per_s=40 / 180, outage_s=6.0, slots=8, servers=2)
    assert tried["concurrency limit"] == ("pipeline.concurrency_limit=2",)
    assert tried["deadline"] == ("pipeline.deadline=12",)


def test_a_limit_that_the_scenario_has_already_is_tried_without():
    guarded = scenario_with(NARROW, "pipeline.breaker={}", "pipeline.deadline=9s")
    tried = remedies(guarded)
    assert (tried["no circuit breaker"], tried["no deadline"]) == (
        ("pipeline.breaker=off",),
        ("pipeline.deadline=off",),
    )
    assert not {"circuit breaker", "deadline"} & set(tried)
    assert scenario_with(guarded, *tried["no circuit breaker"], *tried["no deadline"]) == NARROW


@pytest.mark.parametrize(
    "changed",
    [
        NARROW,
        storm(),
        storm(pipeline={"backoff": {"preset": "sidekiq"}}),
        storm(pipeline={"backoff": {"growth": "explicit", "delays": ["1s", "5s"], "cap": "3s"}}),
        storm(faults=[]),
    ],
)
def test_what_is_tried_fits_any_scenario(changed):
    for settings in remedies(changed).values():
        assert scenario_with(changed, *settings) != changed


# --- what is measured


def test_each_variant_is_run_under_the_same_seeds_beside_the_baseline(bench):
    assert set(bench.table["mitigation"]) == {BASELINE, *TRIED}
    assert bench.rows.rows.groupby("variant")["seed"].apply(list).map(tuple).unique().tolist() == [(1, 2, 3, 4)]


def test_the_measures_are_those_of_the_runs(bench):
    of_the_third = measured(simulate(NARROW, 3))
    assert of_the_third == pytest.approx({name: bench.rows.values(BASELINE, name)[3] for name in of_the_third})


def test_a_runs_measures_are_counted_from_its_frames():
    run = simulate(scenario_with(NARROW, "pipeline.deadline=7s"), 1)
    found = measured(run)
    extinct = int((run.events["status"] == "EXTINCT").sum())
    assert 0 < extinct < 40
    assert found["lost_share"] == found["extinct_share"] == extinct / 40
    took_s = run.events["finished_s"].max() - run.events["submitted_s"].min()
    assert found["goodput_per_s"] == pytest.approx((40 - extinct) / took_s)
    started = run.attempts["started_s"].dropna()
    assert found["peak_per_s"] == np.bincount(started[started >= 6.0].astype(int)).max()
    assert found["calls_per_event"] == len(started) / 40


def test_refused_events_are_lost_and_a_run_that_never_recovers_counts_up_to_its_end():
    second = "arrivals=[{kind: burst, at: 1s, events: 30}, {kind: burst, at: 2s, events: 10}]"
    shed = simulate(scenario_with(NARROW, "pipeline.shedding={above: 0}", "api.retries=0", second), 1)
    assert measured(shed)["refused_share"] == measured(shed)["lost_share"] == 0.25
    stuck = scenario_with(NARROW, "pipeline.backoff={base: 1h, jitter: none}", "horizon=60s")
    assert measured(simulate(stuck, 1))["recovery_s"] == 54.0


# --- what is made of it


def test_only_what_is_sure_is_called_better_or_worse(bench):
    assert "loss" in row(bench, "short deadline")["worse"].split(", ")
    assert "peak" in row(bench, "narrow budget")["better"].split(", ")
    assert (row(bench, "nothing")["better"], row(bench, "nothing")["worse"]) == ("", "")


def test_the_order_is_by_what_is_surely_better_less_what_is_surely_worse(bench):
    def score(words):
        return words.map(lambda said: len(said.split(", ")) if said else 0)

    scores = score(bench.table["better"]) - score(bench.table["worse"])
    assert scores.is_monotonic_decreasing
    for measure in RANKED:
        best = bench.table.loc[bench.table[f"rank_{measure}"] == 1, measure]
        assert (best == (bench.table[measure].max() if MEASURES[measure][1] else bench.table[measure].min())).all()


def test_the_verdict_names_the_best_its_price_and_who_loses_events(bench):
    assert bench.verdict.startswith(f"{bench.table['mitigation'].iloc[0]} helps most: ")
    assert "More events are lost with short deadline." in bench.verdict
    assert repr(bench).startswith("Mitigations of small storm\n")


def a_table(**sure):
    """Return a table of the baseline and one mitigation, whose measures differ by what is given."""
    lines = []
    for name in (BASELINE, "it"):
        line = {"mitigation": name, "better": "", "worse": ""}
        for measure in MEASURES:
            change = sure.get(measure, 0.0) if name == "it" else math.nan
            line |= {
                measure: 10.0,
                f"{measure}_difference": change,
                f"{measure}_difference_low": change,
                f"{measure}_difference_high": change,
            }
            line[f"{measure}_sure"] = measure in sure and name == "it"
        lines.append(line)
    return pd.DataFrame(lines)


def test_a_verdict_gives_changes_in_percent_of_the_baseline():
    table = a_table(peak_per_s=-6.1, latency_mean_s=1.0)
    table.loc[1, ["better", "worse"]] = ["peak", "latency"]
    assert verdict(table) == "it helps most: peak -61 % [-61, -61], at the price of latency +10 % [10, 10]."


def test_a_verdict_says_when_nothing_helps():
    assert verdict(a_table()) == "None of 1 mitigations makes anything surely better."


def test_a_bench_without_anything_to_try_is_refused():
    with pytest.raises(ValueError, match="at least one mitigation"):
        mitigations(NARROW, tried={})
    with pytest.raises(ValueError, match="none called 'as it is'"):
        mitigations(NARROW, tried={BASELINE: "pipeline.deadline=7s"})


# --- the picture


def test_the_picture_has_a_panel_per_measure_and_a_row_per_mitigation(bench):
    figure = mitigation_effects(bench.table, Figure())
    assert len(figure.axes) == len(PANELS)
    names = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert names == [name for name in bench.table["mitigation"] if name != BASELINE]
    # One dot and one line per row, and the line of no change.
    assert all(len(ax.lines) == 2 * len(TRIED) + 1 for ax in figure.axes)


def test_what_goes_beyond_the_picture_is_drawn_at_its_edge_with_its_number():
    figure = mitigation_effects(a_table(goodput_per_s=99.0), Figure())
    (note,) = figure.axes[0].texts
    assert note.get_text() == "+990"
    assert figure.axes[0].get_xlim()[1] < 200
    # Where nothing changes the axis is of whole percents, not of rounding errors.
    assert figure.axes[1].get_xlim() == (-1.15, 1.15)

"""Stale reads: what is counted of a run, what is said of many, and the one that can be read."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from tem_sim.analysis.stale_reads import (
    extra_counts,
    foreign_ends,
    lost_increments,
    settlings,
    story,
    workers_per_row,
    wrong_extinct,
)
from tem_sim.checks.registry import run_checks
from tem_sim.plots.stale_reads import PANELS, guards_compared
from tem_sim.scenario.loader import loads
from tem_sim.sim.world import simulate
from tem_sim.studies.stale_reads import HARMS, MEASURES, READ, contended, measured, shared_rows, stale_reads, verdict

# A seed in which a refreshed count is overwritten all the same.
SEED = 4


@pytest.fixture(scope="module")
def refreshed():
    return simulate(contended(shared_rows(), "refresh", "read_committed", 1.5), SEED)


@pytest.fixture(scope="module")
def study():
    return stale_reads(
        guards=["refresh", "fenced"], isolations=["read_committed"], calls=[0.1, 1.5], seeds=[1, SEED], jobs=1
    )


def test_a_lost_increment_is_a_finishing_write_after_which_the_count_is_lower(refreshed):
    (lost, *_) = lost_increments(refreshed)
    assert lost.now("retry_count") < lost.was("retry_count")
    assert lost.now("status") in ("FAILED", "EXTINCT")


def test_its_story_has_another_worker_that_counts_between_the_read_and_the_write(refreshed):
    (lost, *_) = lost_increments(refreshed)
    lines = story(refreshed, lost)
    assert len({line.split()[2] for line in lines}) == 2
    read = next(n for n, line in enumerate(lines) if lost.thread in line and "SELECT processing_state" in line)
    raised = next(
        n for n, line in enumerate(lines) if n > read and lost.thread not in line and "UPDATE processing_state" in line
    )
    write = next(n for n, line in enumerate(lines) if f"{lost.was('retry_count')} → {lost.now('retry_count')}" in line)
    assert read < raised < write
    assert "commit" in lines[-1]


def test_the_checks_agree_that_something_is_wrong(refreshed):
    false = {one.name for one in run_checks(refreshed) if one.verdict == "false"}
    assert extra_counts(refreshed)
    assert foreign_ends(refreshed)
    assert {"retry_count", "attribution"} <= false
    assert bool(wrong_extinct(refreshed)) == ("extinct_budget" in false)


def test_the_default_guard_has_none_of_these_under_the_same_luck():
    run = simulate(contended(shared_rows(), "fenced", "read_committed", 1.5), SEED)
    found = measured(run)
    assert {name: found[name] for name in HARMS} == dict.fromkeys(HARMS, 0)
    assert found["superseded"] > 0
    assert workers_per_row(run) > 1.05


def test_settlings_are_timed_from_the_end_of_the_call(refreshed):
    found = settlings(refreshed)
    handled = refreshed.steps.loc[refreshed.steps["kind"] == "handled", "t_s"]
    assert {one.from_s for one in found} <= set(handled)
    assert all(one.took_s > 0 and one.waited_s >= 0 for one in found)


def test_the_study_answers_whether_refresh_suffices_and_where_to_read_it(study):
    assert study.verdict.startswith("`refresh` does not suffice: of 4 runs with it, some")
    assert f"seed {study.readable.scenario.seed} under read_committed, calls of 1.5 leases" in study.verdict
    assert "No harm in any run of `fenced`" in study.verdict
    again = simulate(study.readable.scenario)
    assert study.readable.event_id in [change.event_id for change in lost_increments(again)]


def test_shares_are_of_seeds_with_wilsons_interval(study):
    table = study.table.set_index(["guard", "calls"])
    assert (table["seeds"] == 2).all()
    for name in MEASURES:
        assert (table[f"{name}_seeds"] / 2 == table[name]).all()
        assert ((table[f"{name}_low"] <= table[name]) & (table[name] <= table[f"{name}_high"])).all()
    assert table.loc[("fenced", 1.5), "foreign_ends_high"] > 0.5
    assert table.loc[("refresh", 0.1), "workers_per_row"] == pytest.approx(1.0)
    # It counts in a transaction of its own, and reads twice.
    assert table.loc[("refresh", 0.1), "statements_per_event"] > table.loc[("fenced", 0.1), "statements_per_event"]
    assert table.loc[("refresh", 0.1), "settle_ms"] > table.loc[("fenced", 0.1), "settle_ms"]


def test_no_harm_is_said_to_be_no_proof():
    zeros = {name: 0 for measure in MEASURES for name in (measure, f"{measure}_seeds")}
    row = {"guard": "refresh", "isolation": "snapshot", "calls": 0.1, "seeds": 3, **zeros}
    told = verdict(pd.DataFrame([row | {"settle_ms": 1.0, "statements_per_event": 2.0}]), None)
    assert told.startswith("`refresh` did no harm in 3 runs: more seeds, or longer calls, may show one.")


def test_each_guard_is_said_of_two_or_more():
    zeros = {name: 0 for measure in MEASURES for name in (measure, f"{measure}_seeds")}
    row = {"isolation": "snapshot", "calls": 1.5, "seeds": 3, **zeros, "wrong_extinct_seeds": 2}
    row |= {"settle_ms": 1.0, "statements_per_event": 2.0}
    one, other = ({"guard": guard, **row} for guard in ("stale", "refresh"))
    assert "Each guard" not in verdict(pd.DataFrame([other]), None)
    assert "Each guard did some harm." in verdict(pd.DataFrame([one, other]), None)


def test_where_no_increment_is_lost_another_harm_is_read(monkeypatch):
    monkeypatch.setitem(READ, "lost_increments", lambda run: [])
    found = stale_reads(guards=["refresh"], isolations=["read_committed"], calls=[1.5], seeds=[SEED], jobs=1)
    told = found.readable
    assert told.harm == ("wrong_extinct" if found.table["wrong_extinct_seeds"][0] else "foreign_ends")
    assert f"event {told.event_id} ({told.harm})." in found.verdict
    run = simulate(told.scenario)
    events = wrong_extinct(run) or [change.event_id for change in foreign_ends(run)]
    assert told.event_id in events
    assert told.lines


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"guards": ["refreshed"]}, "guards: must be of stale, refresh"),
        ({"isolations": []}, "isolations: must be of read_committed"),
        ({"calls": [0.0]}, "calls: must be lengths in leases"),
        (
            {"scenario": loads("scenario: x\narrivals: {kind: burst, events: 1}\npipeline: {lease: off}\n")},
            "pipeline.lease: is off",
        ),
    ],
)
def test_what_cannot_be_studied_is_refused(asked, said):
    with pytest.raises(ValueError, match=said):
        stale_reads(**asked)


def test_the_plot_has_a_mark_with_its_interval_for_each_guard_and_length_of_calls(study):
    figure = guards_compared(study.table)
    assert len(figure.axes) == len(PANELS)
    top = figure.axes[0]
    table = study.table
    for line, guard in zip(top.get_lines(), ["refresh", "fenced"], strict=False):
        assert list(line.get_ydata()) == list(table.loc[table["guard"] == guard, "lost_increments"])
    assert figure.axes[-1].get_ylim()[1] > table["settle_ms_high"].max()
    plt.close(figure)

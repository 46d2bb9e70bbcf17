"""Rows by state, backlog, drain and recovery time."""

import math

import pytest
from frame_builder import story
from synthetic_storm import storm

from tem_sim.analysis.backlog import backlog, recovery, rows_by_state, sample_times_s, span_recovery


def test_rows_by_state_follow_an_event_through_its_phases():
    told = story()
    told.event(1, at_s=0.5).claim(2.0).error(3.0, 1.0).retry(4.5).claim(5.5).ok(6.0)
    table = rows_by_state(told.run(end_s=7.0))
    held = table.idxmax(axis=1).where(table.any(axis=1), "")
    assert held.tolist() == ["", "QUEUED", "PROCESSING", "FAILED", "FAILED", "RETRY", "PROCESSED", "PROCESSED"]


def test_rows_by_state_always_add_up_to_the_events_submitted():
    run = storm(events=300)
    table = rows_by_state(run, step_s=0.25)
    submitted = [int((run.events["submitted_s"] <= t_s).sum()) for t_s in table.index]
    assert table.sum(axis=1).tolist() == submitted
    assert (table >= 0).all(axis=None)


def test_the_last_sample_is_the_runs_end_whatever_the_step():
    assert sample_times_s(2.5, 1.0).tolist() == [0.0, 1.0, 2.0, 2.5]
    assert sample_times_s(0.3, 0.1).tolist() == [0.0, 0.1, 0.2, 0.3]
    with pytest.raises(ValueError, match="step_s must be > 0"):
        sample_times_s(1.0, 0.0)


def test_a_skewed_clock_counts_no_row_twice():
    told = story()
    told.event(1, at_s=10.0).claim(-20.0).ok(-19.0).story.event(2, at_s=11.0)
    table = rows_by_state(told.run(end_s=12.0))
    assert table.sum(axis=1).tolist() == [0] * 10 + [1, 2, 2]
    assert (table >= 0).all(axis=None)


def test_the_backlog_is_what_is_not_terminal():
    told = story()
    told.event(1).claim(1.0).error(2.0, 10.0).retry(12.0).claim(13.0).ok(14.0)
    told.event(2).claim(1.0).exhausted(5.0).replay(20.0)
    steps = backlog(told.run())
    assert list(zip(steps.at_s.tolist(), steps.level.tolist(), strict=True)) == [
        (0.0, 2),
        (5.0, 1),
        (14.0, 0),
        (20.0, 1),
    ]
    assert [steps.value(at_s) for at_s in (-1.0, 0.0, 4.9, 5.0, 19.0, 99.0)] == [0, 2, 2, 1, 0, 1]


def held_up():
    """One row always open; the fault from 20 to 40 s adds a hundred, of which the last ends at 70 s."""
    told = story().fault(20.0, 40.0)
    told.event(1)
    for number in range(100):
        at_s = 50.0 + number * 0.2
        told.event(2 + number, at_s=30.0).claim(at_s).ok(at_s + 0.2)
    return told


def test_drain_is_the_time_from_the_faults_end_to_the_level_before():
    drain_s, recovery_s = span_recovery(held_up().run())
    assert drain_s == pytest.approx(30.0)
    # The band above a level of 1 reaches to 1 + 3·√2: six rows are the first too many.
    assert recovery_s == pytest.approx(29.2)


def test_recovery_is_the_last_return_and_drain_the_first():
    told = held_up()
    for number in range(10):
        told.event(200 + number, at_s=100.0).claim(120.0).ok(121.0)
    drain_s, recovery_s = span_recovery(told.run())
    assert drain_s == pytest.approx(30.0)
    assert recovery_s == pytest.approx(81.0)


def test_a_backlog_that_never_comes_back_has_no_drain_time():
    told = held_up()
    for number in range(50):
        told.event(200 + number, at_s=39.0)
    assert all(math.isnan(value) for value in span_recovery(told.run()))


def test_without_faults_or_with_faults_to_the_end_there_is_nothing_to_recover_from():
    told = story()
    told.event(1).claim(1.0).ok(2.0)
    assert all(math.isnan(value) for value in span_recovery(told.run()))
    told.fault(0.0, 5.0, landed=0)
    assert all(math.isnan(value) for value in span_recovery(told.run()))
    told.fault(0.0, 1000.0)
    assert all(math.isnan(value) for value in span_recovery(told.run(end_s=1000.0)))


def test_a_fault_that_did_no_harm_is_over_at_once():
    told = story().fault(10.0, 20.0)
    told.event(1).claim(1.0).ok(2.0)
    assert span_recovery(told.run()) == (0.0, 0.0)


def test_each_fault_that_landed_has_its_own_recovery():
    told = held_up().fault(500.0, 510.0, kind="worker_pause").fault(600.0, 610.0, landed=0)
    table = recovery(told.run())
    assert table["kind"].tolist() == ["outage", "worker_pause"]
    assert table["level_before"].tolist() == [1, 1]
    assert table["peak"].tolist() == [101, 1]
    assert table["drain_s"].tolist() == [pytest.approx(30.0), 0.0]


def test_recovery_without_faults_is_an_empty_table_with_its_columns():
    table = recovery(story().run())
    assert len(table) == 0
    assert {"level_before", "peak", "drain_s", "recovery_s"} <= set(table.columns)

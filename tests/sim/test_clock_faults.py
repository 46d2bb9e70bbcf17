"""Faults of the clocks: what each shows in the times that nodes write."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from sim_worlds import all_done, burst, fault_row, run, world
from sqlalchemy import event, text

from tem_sim.analysis.rules import worst_skew_s
from tem_sim.frames import Run
from tem_sim.scenario.models import Scenario
from tem_sim.sim.kernel import Kernel

LEASED = {"lease": "5s", "sweep_after": "5s"}


def off_s(of: Run, worker: str) -> np.ndarray:
    """How far a worker's claims lie from the wake-ups' true order: its clock at each claim, less the true time.

    Events arrive one by one and are claimed at once, so the claim's true time is the submit's to some milliseconds.
    """
    rows = of.attempts[of.attempts["worker"].astype(str).str.startswith(worker)].merge(of.events, on="event_id")
    return (rows["claimed_s"] - rows["submitted_s"]).to_numpy()


STEADY: dict[str, Any] = {
    "horizon": "3m",
    "arrivals": {"kind": "constant", "rate": "20/s", "until": "30s"},
    "handler": {"service_time": "5ms"},
}


def test_a_clock_that_steps_is_off_from_then_on_until_it_is_set_right() -> None:
    fault = {"kind": "clock_step", "target": "worker-1", "at": "10s", "step": "-7s", "corrected_after": "8s"}
    done = run(**STEADY, faults=[fault])
    row = fault_row(done)
    assert (row["target"], row["start_s"], row["end_s"], row["landed"]) == ("worker-1", 10.0, 18.0, 1)
    behind = off_s(done, "worker-1") < -6.5
    assert behind.sum() > 20
    rows = done.attempts[done.attempts["worker"].astype(str).str.startswith("worker-1")].merge(done.events)
    assert rows.loc[behind, "submitted_s"].between(9.9, 18.0).all()
    assert not rows.loc[~behind, "submitted_s"].between(10.0, 17.9).any()
    assert all_done(done)


def test_a_clock_may_step_between_two_steps_of_the_code_and_for_good() -> None:
    step = {"kind": "clock_step", "target": "workers", "edge": "before_settle", "nth": 20, "step": "40s"}
    done = run(**STEADY, faults=[{**step, "corrected_after": "off"}])
    assert len(done.faults) == 1
    assert fault_row(done)["end_s"] == done.end_s
    ahead = (done.attempts["finished_s"] - done.attempts["started_s"]) > 30
    # The call that was measured across the step took 40 s by that clock: never, here the step is after the reading.
    assert ahead.sum() == 0
    assert worst_skew_s(done.scenario) == 40.0
    assert all_done(done)


def test_steps_at_a_rate_do_not_add_up() -> None:
    fault = {"kind": "clock_step", "target": "workers", "rate": "1/s", "until": "30s", "step": "5s"}
    done = run(**STEADY, faults=[{**fault, "corrected_after": "2s"}])
    assert len(done.faults) > 10
    assert 4.9 < off_s(done, "worker").max() < 5.1


def test_a_backward_step_makes_due_rows_wait_again() -> None:
    """The beat is set back by 20 s: what falls due from then on is not yet due by its clock, until it is set right."""
    failing = {"fail_first": 1, "service_time": "5ms"}
    fault = {"kind": "clock_step", "target": "beat", "at": "10s", "step": "-20s", "corrected_after": "20s"}
    done = run(**STEADY | {"handler": failing}, faults=[fault])
    per_tick = done.transitions[done.transitions["cause"] == "retry"].groupby("at_s").size()
    assert list(per_tick.index) == [*np.arange(2.0, 10.0), 30.0, 31.0]
    assert per_tick[30.0] > 300
    assert all_done(done)


def test_a_clock_that_stands_still_shows_one_time_and_then_jumps_to_the_truth() -> None:
    done = run(**STEADY, faults=[{"kind": "clock_frozen", "target": "worker-1", "at": "10s", "for": "6s"}])
    assert (fault_row(done)["start_s"], fault_row(done)["end_s"]) == (10.0, 16.0)
    rows = done.attempts[done.attempts["worker"].astype(str).str.startswith("worker-1")].merge(done.events)
    frozen = rows[rows["submitted_s"].between(10.0, 15.95)]
    assert len(frozen) > 20
    assert set(frozen["claimed_s"]) == {10.0}
    assert set(frozen["finished_s"]) == {10.0}
    assert off_s(done, "worker-1").min() == pytest.approx(-6.0, abs=0.1)
    assert all_done(done)


def test_a_frozen_beat_requeues_nothing_that_falls_due_meanwhile() -> None:
    failing = {"fail_first": 1, "service_time": "5ms"}
    frozen = {"kind": "clock_frozen", "target": "beat", "at": "10s", "for": "8s"}
    done = run(**STEADY | {"handler": failing}, faults=[frozen])
    retries = done.transitions[done.transitions["cause"] == "retry"]["at_s"]
    assert not retries.between(10.000001, 17.999999).any()
    assert retries.between(18.0, 19.0).sum() > 20
    assert all_done(done)


@pytest.mark.parametrize("resolution_s", [0.001, 0.016, 2.0])
def test_a_coarse_clock_shows_whole_multiples_only(resolution_s: float) -> None:
    coarse = {"kind": "clock_resolution", "target": "*", "at": "0s", "for": "2m", "resolution": resolution_s}
    done = run(**STEADY, faults=[coarse])
    for times in (done.attempts["claimed_s"], done.attempts["finished_s"], done.events["submitted_s"]):
        assert (np.round(times.to_numpy() * 1e6).astype(int) % round(resolution_s * 1e6) == 0).all()
    assert (done.attempts["finished_s"] >= done.attempts["started_s"]).all()
    assert done.faults["landed"].item() == 6
    assert all_done(done)


def test_what_falls_due_at_the_very_time_that_a_coarse_clock_shows_is_due() -> None:
    """`next_retry_at <= now` at equality: delay, period and resolution are all whole seconds."""
    whole = {"backoff": {"growth": "fixed", "base": "2s", "jitter": "none", "max_retries": 3}}
    coarse = {"kind": "clock_resolution", "target": "*", "at": "0s", "for": "1m", "resolution": "1s"}
    done = run(
        horizon="2m",
        arrivals=burst(20, at="500ms"),
        pipeline=whole,
        handler={"fail_first": 2, "service_time": "5ms"},
        faults=[coarse],
    )
    retries = done.transitions[done.transitions["cause"] == "retry"]
    due = done.attempts[done.attempts["delay_s"].notna()]
    both = retries.merge(due, on=["event_id", "attempt_no"])
    assert (both["at_s"] == both["finished_s"] + both["delay_s"]).all()
    assert all_done(done)


def test_a_leap_second_is_smeared_by_some_and_stepped_by_the_others() -> None:
    done = run(**STEADY, faults=[{"kind": "leap_second", "target": "worker-1", "at": "10s", "for": "10s"}])
    smeared, stepped = (
        done.attempts[done.attempts["worker"].astype(str).str.startswith(name)].merge(done.events)
        for name in ("worker-1", "worker-2")
    )
    # Everybody else, the API among them, is set back by a second at 15 s.
    true_s = smeared["event_id"] / 20
    apart = smeared["claimed_s"] - smeared["submitted_s"]
    assert apart[true_s.between(14.5, 14.9)].between(-0.5, -0.43).all()
    assert apart[true_s.between(15.1, 15.5)].between(0.43, 0.5).all()
    assert (stepped["claimed_s"] - stepped["submitted_s"]).between(-0.001, 0.01).all()
    # Afterwards all agree, one second behind what the run counts.
    assert apart[true_s > 20.1].between(-0.001, 0.01).all()
    assert done.events["submitted_s"].max() == pytest.approx(29.0, abs=0.1)
    assert worst_skew_s(done.scenario) == 1.0
    assert all_done(done)


def test_local_time_that_falls_back_by_an_hour_holds_retries_back_for_an_hour_and_loses_none() -> None:
    """C5: naive local time is a step of an hour on every node that keeps it."""
    done = run(
        horizon="2h",
        arrivals=burst(20),
        handler={"fail_first": 1},
        faults=[{"kind": "clock_step", "target": "*", "at": "2500ms", "step": "-1h", "corrected_after": "off"}],
    )
    assert all_done(done)
    assert 3600 < done.end_s < 3700


def test_no_statement_and_no_trigger_asks_the_databases_own_clock() -> None:
    """C6: the clock is a bind parameter everywhere, so the database's own may say what it likes."""
    own_clock = re.compile(r"\b(now|current_\w+|localtime\w*|clock_timestamp|julianday|strftime|datetime|unixepoch)\b")
    deaths = {"kind": "worker_death", "target": "workers", "rate": "0.3/s", "until": "20s"}
    made = world(pipeline=LEASED, handler={"failure_rate": 0.3}, faults=[deaths])
    said: set[str] = set()
    engine = made.database.store.engine
    event.listen(engine, "before_cursor_execute", lambda _c, _u, statement, *_: said.add(statement.lower()))
    made.run()
    with made.database.store.begin() as connection:
        said |= {str(sql).lower() for sql in connection.execute(text("SELECT sql FROM sqlite_master")).scalars()}
    made.close()
    assert len(said) > 30
    # Bind parameters are named, `:now` among them.
    assert [statement for statement in said if own_clock.search(re.sub(r":\w+", "?", statement))] == []


# --- the declared bounds

DECLARED = [
    ([{"kind": "clock_step", "target": "worker-1", "at": 5, "step": "-30s"}], 30.0),
    ([{"kind": "clock_step", "target": "workers", "edge": "after_claim", "step": "30s"}], 30.0),
    ([{"kind": "clock_frozen", "target": "beat", "at": 5, "for": "4s"}], 4.0),
    ([{"kind": "clock_resolution", "target": "beat", "at": 5, "for": "4s", "resolution": "1s"}], 1.0),
    ([{"kind": "leap_second", "at": 5, "for": "10s", "leap": "-1s"}], 1.0),
    (
        [
            {"kind": "clock_step", "target": "worker-1", "at": 5, "step": "-30s"},
            {"kind": "clock_skew", "target": "*", "at": 6, "for": 20, "skew": "-5s"},
        ],
        35.0,
    ),
    (
        [
            {"kind": "clock_step", "target": "worker-1", "at": 5, "step": "-30s", "corrected_after": 1},
            {"kind": "clock_skew", "target": "*", "at": 6, "for": 20, "skew": "-5s"},
        ],
        30.0,
    ),
    ([{"kind": "worker_pause", "target": "worker-1", "at": 5, "for": 5}], 0.0),
]


@pytest.mark.parametrize(("faults", "skew_s"), DECLARED)
def test_how_far_clocks_may_be_apart_is_read_off_the_scenario(faults: list[dict[str, Any]], skew_s: float) -> None:
    made = Scenario.model_validate({"scenario": "x", "arrivals": burst(1), "faults": faults})
    assert worst_skew_s(made) == skew_s


# --- the clock itself


@pytest.mark.parametrize("grain_s", [0.1, 0.3, 0.001, 1.0])
def test_a_multiple_of_the_grain_is_shown_as_it_is(grain_s: float) -> None:
    kernel = Kernel()
    clock = kernel.node("n").clock
    clock.coarsen(grain_s)
    for count in range(1, 20):
        kernel.run(round(count * grain_s, 6))
        kernel.env.run(until=round(count * grain_s, 6))
        assert clock.now() == round(count * grain_s, 6)


def test_of_several_grains_the_coarsest_counts_and_offsets_add_up() -> None:
    kernel = Kernel()
    clock = kernel.node("n").clock
    kernel.env.run(until=10.123456)
    clock.coarsen(1.0, by="a")
    clock.coarsen(0.5, by="b")
    clock.skew(2.0, by="a")
    clock.skew(0.4, by="b")
    assert clock.now() == 12.0
    clock.correct(by="a")
    assert clock.now() == 10.5
    clock.correct(by="b")
    assert clock.now() == 10.123456

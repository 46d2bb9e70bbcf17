"""Composites: which parts they are made of, when and on whom."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from sim_worlds import all_done, fault_row, run, scenario

from tem_sim.analysis.rules import worst_skew_s
from tem_sim.checks.registry import run_checks
from tem_sim.scenario.streams import Streams

LEASED = {"lease": "5s", "sweep_after": "5s"}
SIX: dict[str, Any] = {"workers": {"count": 6, "concurrency": 1}, "pipeline": LEASED}


def test_a_swizzle_freezes_half_of_them_one_by_one_and_wakes_them_in_another_order() -> None:
    done = run(**SIX, faults=[{"kind": "swizzle", "target": "workers", "at": "6s", "for": "18s"}])
    rows = done.faults
    assert set(rows["kind"].astype(str)) == {"worker_pause"}
    assert set(rows["fault_id"]) == {0}
    assert rows["landed"].tolist() == [1, 1, 1]
    assert rows["start_s"].tolist() == [6.0, 8.0, 10.0]
    assert sorted(rows["end_s"]) == pytest.approx([20.0, 22.0, 24.0])
    assert rows["target"].nunique() == 3
    # The order of waking is not that of freezing.
    assert not rows["end_s"].is_monotonic_increasing
    assert all_done(done)


@pytest.mark.parametrize("seed", range(20))
def test_a_swizzle_of_two_or_more_never_wakes_them_as_it_froze_them(seed: int) -> None:
    (fault,) = scenario(faults=[{"kind": "swizzle", "at": "1s", "for": "9s", "fraction": 1}]).faults
    for names in (["a", "b"], ["a", "b", "c", "d"]):
        parts = fault.parts(names, Streams(seed).stream("x"))  # type: ignore[union-attr]
        frozen = [part.target for part in parts]
        woken = [part.target for part in sorted(parts, key=lambda part: part.at_s + part.for_s)]
        assert sorted(frozen) == names
        assert woken != frozen
        assert max(part.at_s + part.for_s for part in parts) == pytest.approx(10.0)


def test_another_seed_chooses_others() -> None:
    (fault,) = scenario(faults=[{"kind": "swizzle", "at": "1s", "for": "9s"}]).faults
    names = [f"worker-{n}" for n in range(1, 9)]
    chosen = {
        tuple(part.target for part in fault.parts(names, Streams(seed).stream("fault", 0)))  # type: ignore[union-attr]
        for seed in range(10)
    }
    assert len(chosen) == 10


def test_a_rolling_restart_takes_one_worker_at_a_time_and_loses_nothing() -> None:
    rolling = {"kind": "rolling_restart", "at": "5s", "for": "18s", "grace": "5s", "restart_after": "500ms"}
    done = run(**SIX, handler={"service_time": "200ms"}, faults=[rolling])
    rows = done.faults
    assert rows["target"].astype(str).tolist() == [f"worker-{n}" for n in range(1, 7)]
    assert rows["start_s"].tolist() == [5.0, 8.0, 11.0, 14.0, 17.0, 20.0]
    assert rows["detail"].str.startswith("ended by itself").all()
    # Each is back before the next goes.
    assert (rows["end_s"].to_numpy()[:-1] < rows["start_s"].to_numpy()[1:]).all()
    assert not (done.attempts["outcome"] == "lost").any()
    assert (done.events["crash_count"] == 0).all()
    assert all_done(done)


def test_a_bisect_puts_half_of_the_workers_in_another_time() -> None:
    split = {"kind": "bisect", "target": "workers", "at": "5s", "for": "20s", "skew": "-30s"}
    done = run(**SIX, handler={"service_time": "400ms"}, faults=[split])
    assert worst_skew_s(done.scenario) == 30.0
    claims = done.attempts.merge(done.events[["event_id", "submitted_s"]])
    inside = claims[claims["submitted_s"].between(6.0, 24.0)]
    off = (inside["claimed_s"] - inside["submitted_s"] < -5).groupby(inside["worker"].astype(str)).mean()
    assert sorted(off) == [0.0] * 3 + [1.0] * 3
    assert set(done.faults["target"].astype(str)) == {name.partition("/")[0] for name in off[off == 1].index}
    judged = {verdict.name: verdict.verdict for verdict in run_checks(done)}
    assert "false" not in judged.values()
    assert all_done(done)


@pytest.mark.parametrize("by", ["pause", "death"])
def test_a_node_that_flaps_goes_and_comes_in_the_rhythm_of_the_lease(by: str) -> None:
    flap = {"kind": "flap", "target": "worker-1", "at": "5s", "for": "20s", "every": "5s", "down": 0.4, "by": by}
    done = run(**SIX, handler={"service_time": {"kind": "exponential", "mean": "300ms"}}, faults=[flap])
    rows = done.faults
    assert rows["start_s"].tolist() == [5.0, 10.0, 15.0, 20.0]
    assert rows["end_s"].to_numpy() == pytest.approx([7.0, 12.0, 17.0, 22.0])
    assert set(rows["kind"].astype(str)) == {"worker_pause" if by == "pause" else "worker_death"}
    claims = done.attempts.loc[done.attempts["worker"].astype(str).str.startswith("worker-1/"), "claimed_s"]
    away = np.floor(claims % 5)[claims.between(5, 25)] < 2
    assert away.sum() <= 4
    assert all_done(done)


def test_the_last_time_away_ends_with_the_window() -> None:
    flap = {"kind": "flap", "target": "worker-1", "at": "5s", "for": "7s", "every": "5s", "down": 0.8}
    done = run(**SIX, faults=[flap])
    assert done.faults["end_s"].tolist() == [9.0, 12.0]
    with pytest.raises(ValidationError, match="must be above 0"):
        scenario(faults=[{**flap, "down": 0}])


def test_a_correlated_failure_takes_the_broker_and_a_worker_that_is_at_work() -> None:
    both = {"kind": "correlated", "at": "10s", "for": "3s", "within": "50ms", "messages": "lost"}
    slow = {"service_time": "400ms"}
    done = run(**SIX, handler=slow, broker={"ack": "late"}, faults=[both])
    kinds = done.faults["kind"].astype(str).tolist()
    assert kinds == ["broker_restart", "worker_death"]
    assert done.faults["landed"].tolist() == [1, 1]
    died = done.faults.iloc[1]
    assert 10.0 <= died["start_s"] <= 10.05
    lost = done.attempts[done.attempts["outcome"] == "lost"]
    assert set(lost["worker"].astype(str).str.partition("/")[0]) == {str(died["target"])}
    assert len(lost) >= 1
    assert all_done(done)
    assert (done.notifications["shown"] == 1).all()


def test_a_kick_slows_the_database_and_lets_a_crowd_in_and_moves_nobody_elses_luck() -> None:
    kick = {"kind": "metastable_kick", "at": "10s", "for": "5s", "factor": 20, "events": 40}
    done, calm = run(store={"latency": "5ms"}, faults=[kick]), run(store={"latency": "5ms"})
    assert done.faults["kind"].astype(str).tolist() == ["database_slow", "metastable_kick"]
    assert done.faults["landed"].tolist()[1] == 40
    crowd = done.events[done.events["event_id"] > len(calm.events)]
    assert len(crowd) == 40
    assert crowd["submitted_s"].between(10.0, 10.2).all()
    own = done.events[done.events["event_id"] <= len(calm.events)]
    assert (own["user_id"].to_numpy() == calm.events["user_id"].to_numpy()).all()
    both = own.merge(calm.events, on="event_id")
    apart = (both["submitted_s_x"] - both["submitted_s_y"]).abs()
    assert apart[~both["submitted_s_y"].between(9.9, 15.1)].max() < 0.01
    assert all_done(done)
    assert (done.notifications["shown"] == 1).all()


def test_a_composite_that_never_struck_says_so_under_its_own_name() -> None:
    late = {"kind": "swizzle", "at": "290s", "for": "5s"}
    done = run(stop="drained", horizon="5m", arrivals={"kind": "burst", "at": "1s", "events": 1}, faults=[late])
    assert done.faults["landed"].gt(0).all()
    dead = [
        {"kind": "worker_death", "target": "workers", "at": "1s", "restart_after": "off"},
        {"kind": "swizzle", "at": "10s", "for": "5s"},
    ]
    none = run(horizon="30s", faults=dead)
    row = fault_row(none, 1)
    assert (row["kind"], row["landed"], row["detail"]) == ("swizzle", 0, "never reached")


def test_the_parts_have_luck_of_their_own_and_leave_that_of_others_alone() -> None:
    """A composite in front of a fault at random moves none of that fault's strikes."""
    deaths = {"kind": "worker_death", "target": "workers", "rate": "0.3/s", "until": "25s", "restart_after": "10ms"}
    flap = {"kind": "flap", "target": "beat", "at": "5s", "for": "10s", "every": "5s"}
    swizzle = {"kind": "swizzle", "target": "worker-1", "at": "5s", "for": "10s"}
    one, two = (run(faults=[first, deaths]) for first in (flap, swizzle))
    starts = [done.faults.loc[done.faults["fault_id"] == 1, "start_s"].tolist() for done in (one, two)]
    assert starts[0] == starts[1]
    assert len(starts[0]) > 3


# --- all at once, and healed

EVERYTHING: list[dict[str, Any]] = [
    {"kind": "clock_step", "target": "workers", "at": "5s", "step": "-1h", "corrected_after": "off"},
    {"kind": "clock_frozen", "target": "*", "at": "6s", "for": "5m"},
    {"kind": "worker_stop", "target": "worker-1", "at": "7s", "grace": "1h", "restart_after": "off"},
    {"kind": "out_of_memory", "at": "8s", "for": "5m", "probability": 0.2, "restart_after": "off"},
    {"kind": "worker_slow", "target": "worker-2", "at": "8s", "for": "5m", "factor": 500},
    {"kind": "beat_misrouted", "at": "5s", "for": "5m"},
    {"kind": "beat_late", "at": "5s", "for": "5m", "by": "50s"},
    {"kind": "flap", "target": "worker-3", "at": "5s", "for": "5m", "every": "4s", "by": "death"},
    {"kind": "swizzle", "target": "*", "at": "9s", "for": "5m"},
    {"kind": "beat_stopped", "at": "10s", "for": "4m", "missed": "fired"},
    {"kind": "bisect", "at": "10s", "for": "4m"},
    {"kind": "correlated", "at": "12s", "for": "4m", "messages": "lost", "restart_after": "off"},
    {"kind": "leap_second", "at": "12s", "for": "4m"},
    {"kind": "forked_seed", "target": "workers", "at": "0s", "for": "4m"},
]


@pytest.mark.parametrize("interleave", ["transaction", "statement"])
def test_all_of_them_together_are_over_when_the_scenario_says_so_and_what_is_owed_from_then_on_is_done(
    interleave: str,
) -> None:
    common: dict[str, Any] = {"pipeline": LEASED, "api": {"retries": 50}, "horizon": "10m"}
    done = run(**common, store={"interleave": interleave}, heal_at="20s", faults=EVERYTHING)
    assert done.faults["end_s"].max() == 20.0
    assert {verdict.name: verdict.detail for verdict in run_checks(done) if verdict.verdict == "false"} == {}
    assert all_done(done)
    assert (done.notifications["shown"] == 1).all()

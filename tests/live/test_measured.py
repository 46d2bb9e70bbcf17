"""What logs tell of durations, and the settings that follow: by hand-written logs, whose truth is known."""

import itertools
import json
import math
from dataclasses import replace

import pytest
from frame_builder import story
from hypothesis import given
from hypothesis import strategies as st

from tem_sim.frames import conform
from tem_sim.live.calibrate import (
    SCALE,
    Calibration,
    fragment,
    like_live,
    time_scale_of,
    with_starts,
    without_faults,
)
from tem_sim.live.measured import THINGS, Sample, measured, startups
from tem_sim.scenario.distributions import Lognormal
from tem_sim.scenario.loader import changed_by, loads, overlaid
from tem_sim.scenario.models import Scenario

BEGAN = 1000.0
STORM = Scenario.model_validate(
    {
        "scenario": "storm",
        "arrivals": {"kind": "burst", "events": 10},
        "handler": {"service_time": {"kind": "lognormal", "mean": 0.1, "cv": 0.8}, "fail_time": 0.02},
        "faults": [{"kind": "outage", "at": 1, "for": 2}],
        "heal_at": 5,
        "thresholds": {"drain_s": "max<3s"},
        "expect": {"violations": ["liveness"]},
    }
)


@pytest.fixture
def logs(tmp_path):
    """Return a function that writes a node's log, each line with the node and one pid."""

    def write(node, *told):
        lines = [{"node": node, "pid": 7, "t": BEGAN, **line} for line in told]
        (tmp_path / f"{node}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return tmp_path

    return write


def told_run():
    """A run with one event, whose user is told 4 s after the run's beginning, and a wake-up at 1 s."""
    tale = story()
    tale.event(1).claim(1.0).ok(4.0)
    wakeups = {"t_s": [1.0], "actor": ["api"], "task": ["request"], "first_id": [1], "sent": [1], "lost": [0]}
    return replace(tale.run(), wakeups=conform("wakeups", wakeups))


def of(name, folder, run=None):
    return measured(folder, told_run() if run is None else run)[name]


# --- samples


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50), st.integers(1, 60))
def test_slices_keep_the_mean_and_are_ascending(values, number):
    sliced = Sample.of(values).slices_s(number)
    assert len(sliced) == number
    assert math.fsum(sliced) / number == pytest.approx(Sample.of(values).mean_s, abs=1e-6)
    assert all(b - a >= -1e-9 for a, b in itertools.pairwise(sliced))


def test_a_value_counts_as_often_as_it_stands_for():
    sample = Sample.of([3.0, 1.0], [1.0, 9.0])
    assert (sample.n, sample.mean_s, sample.quantile_s(0.5), sample.quantile_s(0.95)) == (10, 1.2, 1.0, 3.0)
    assert sample.slices_s(10) == pytest.approx((*[1.0] * 9, 3.0))


def test_samples_are_put_together_with_their_weights():
    both = Sample.of([1.0], [3.0]).plus(Sample.of([5.0]))
    assert (both.n, both.mean_s) == (4, 2.0)
    assert Sample.of([]).plus(Sample.of([])).n == 0


def test_nothing_has_no_mean():
    nothing = Sample.of([math.nan])
    assert (nothing.n, math.isnan(nothing.mean_s), math.isnan(nothing.quantile_s(0.5))) == (0, True, True)


# --- from logs


def test_without_a_line_nothing_is_known(tmp_path):
    assert {name: sample.n for name, sample in measured(tmp_path, told_run()).items()} == dict.fromkeys(THINGS, 0)


def test_transactions_count_as_often_as_they_were_and_the_first_of_a_process_opened_the_connection(logs):
    line = {"event": "store_time", "what": "transaction", "total_s": 1.0}
    first, later = {**line, "n": 3, "durations_s": [0.9, 0.1, 0.1]}, {**line, "n": 40, "durations_s": [0.2, 0.2]}
    sample = of("transaction", logs("api", first, later, {**first, "what": "commit"}))
    assert sample.n == 2 + 40
    assert sample.mean_s == pytest.approx((2 * 0.1 + 40 * 0.2) / 42)


def test_a_send_is_told_by_wake_up_and_a_hop_lasts_until_a_slot_begins(logs):
    wake = {"event": "wake", "actor": "api", "task": "request", "first_id": 1, "lost": 0}
    sends = [
        {**wake, "ids": ["a"], "count": 1, "took_s": 0.5},
        {**wake, "ids": ["b", "c"], "count": 2, "took_s": 0.02, "t": BEGAN + 1},
    ]
    logs("worker-1", {"event": "message_started", "message": "b", "t": BEGAN + 1.25})
    folder = logs("api", *sends)
    assert of("send", folder).values_s == (0.01,)
    assert of("hop", folder).values_s == (0.25,)


def test_what_a_call_took_over_what_was_meant(logs):
    call = {"event": "handled", "event_id": 1, "attempt_no": 1, "outcome": "ok"}
    folder = logs(
        "worker-1",
        {**call, "took_s": 0.9, "intended_s": 0.1},
        {**call, "took_s": 0.104, "intended_s": 0.1},
        {**call, "took_s": 0.2, "intended_s": None},
    )
    assert of("call_over", folder).values_s == pytest.approx((0.004,))


def test_the_way_of_a_notification_is_told_in_two_parts(logs):
    logs("api", {"event": "wake", "ids": ["a"], "count": 1, "took_s": 0.1, "t": BEGAN + 1.1, "actor": "api"})
    logs("maintenance", {"event": "publish", "event_ids": [99], "t": BEGAN + 3.0})
    folder = logs("gateway", {"event": "received", "event_ids": [99], "t": BEGAN + 3.5})
    assert of("pubsub", folder).values_s == (0.5,)
    # The run began at 1000 s, and its user was shown it 4 s later.
    assert of("socket", folder).values_s == pytest.approx((0.5,), abs=1e-6)


def test_what_was_received_twice_says_nothing_of_the_way_to_the_user(logs):
    logs("api", {"event": "wake", "ids": ["a"], "count": 1, "took_s": 0.1, "t": BEGAN + 1.1, "actor": "api"})
    twice = [{"event": "received", "event_ids": [99], "t": BEGAN + at} for at in (3.5, 3.6)]
    assert of("socket", logs("gateway", *twice)).n == 0


def test_a_start_up_is_that_of_a_worker_that_is_started_again():
    def at(t, event, **more):
        return {"t": t, "event": event, **more}

    started = [at(t, "started", name="worker-1") for t in (0, 10, 20, 30)]
    ready = [at(t, "ready") for t in (5, 12, 33)]
    # The one that was started at 20 was killed before it was up.
    assert startups({"system": started, "worker-1": ready}).values_s == (2, 3)


# --- settings


def samples(**given):
    return {name: Sample.of(given.get(name, [])) for name in THINGS}


def test_settings_say_what_was_seen_and_nothing_else():
    assert fragment(STORM, samples()) == like_live()
    some = fragment(STORM, samples(request=[0.001, 0.003], send=[0.002], hop=[0.003, 0.004, 0.9], startup=[2.0]))
    assert some["api"] == {"latency": 0.002}
    assert some["broker"] == {"behaves_like": "celery-5.7", "latency": 0.006, "latency_each": 0.002}
    assert some["workers"] == {"up_at_start": True, "startup": 2.0}
    assert "store" not in some


def test_service_times_are_the_scenarios_own_and_what_calls_took_over_them():
    made = changed_by(STORM, fragment(STORM, samples(call_over=[0.01, 0.03])))
    mine, measured_too = STORM.handler.service_time, made.handler.service_time
    assert made.handler.fail_time_s == 0.04
    assert measured_too.mean_s == pytest.approx(mine.mean_s + 0.02, rel=0.01)
    assert isinstance(mine, Lognormal)
    for u in (0.05, 0.5, 0.95):
        assert measured_too.quantile(u) == pytest.approx(mine.quantile(u) + 0.02, rel=0.02)


def test_code_of_ones_own_keeps_its_own_time():
    own = changed_by(STORM, {"handler": {"call": "time:sleep"}})
    assert "handler" not in fragment(own, samples(call_over=[0.01]))


def test_the_file_lays_itself_over_a_scenario_and_is_one_that_a_scenario_extends(tmp_path):
    seen = samples(transaction=[0.001, 0.002, 0.03], startup=[2.5], call_over=[0.01], request=[0.002])
    found = Calibration("storm", 10_001, seen, fragment(STORM, seen), {SCALE: "0.25", "on": "2026-01-01"})
    file = tmp_path / "calibration.yaml"
    file.write_text(found.yaml())
    laid = overlaid(STORM, file)
    assert laid == changed_by(STORM, found.fragment)
    assert laid.store.latency_s.mean_s == pytest.approx(0.011)
    text = "extends: calibration.yaml\nscenario: mine\narrivals: {kind: burst, events: 1}\n"
    assert loads(text, file=str(tmp_path / "mine.yaml")).workers.startup_s == 2.5
    assert time_scale_of(file.read_text()) == 0.25
    assert time_scale_of("scenario: x") is None


def test_what_calibrates_has_none_of_the_faults():
    calm = without_faults(STORM)
    assert (calm.faults, calm.heal_at_s, calm.thresholds.listed(), calm.expect.violations) == ((), None, (), ())
    assert (calm.handler, calm.arrivals) == (STORM.handler, STORM.arrivals)


@pytest.mark.parametrize("starts", [1, 3])
def test_a_worker_is_started_so_often_under_a_light_load(starts):
    struck = with_starts(STORM, starts)
    assert [fault.target for fault in struck.faults] == ["worker-1"] * starts
    assert struck.horizon_s - struck.faults[-1].at_s == 10
    assert (struck.handler, struck.stop) == (STORM.handler, "horizon")


def test_more_starts_than_there_are_times_for_are_refused():
    with pytest.raises(ValueError, match="starts: must be from 0 to 3, got 4"):
        with_starts(STORM, 4)

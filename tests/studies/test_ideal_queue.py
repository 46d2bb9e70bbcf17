"""The ideal queue against the real simulator, attempt by attempt, and against its own theory over long runs."""

import math

import numpy as np
import pytest
from frame_builder import story

from tem_sim.analysis.statistics import z_against
from tem_sim.scenario.models import Scenario
from tem_sim.sim.world import simulate
from tem_sim.studies.ideal_queue import attempts_as_logged, furthest_apart_s, ideal_queue
from tem_sim.studies.steady_state import MEASURES, Window, form_of, measured, predicted, warm_up_s, window_of
from tem_sim.studies.validation import FULL, Point, scenario_at


def changed(scenario: Scenario, **sections: object) -> Scenario:
    return Scenario.model_validate({**scenario.resolved(), **sections})


@pytest.mark.parametrize("jitter", ["none", "full"])
def test_with_the_schedulers_tick_the_simulator_does_the_same_to_the_microsecond(jitter):
    scenario = scenario_at(Point(4, 0.5, jitter), 120)
    seen = attempts_as_logged(simulate(scenario, 7))
    assert len(seen) > 300
    assert furthest_apart_s(seen, ideal_queue(scenario, 7, tick_s=scenario.beat.retry_every_s)) < 1.5e-6


def test_a_latency_that_the_ideal_queue_does_not_have_is_seen():
    scenario = changed(scenario_at(Point(4, 0.5, "none"), 20), store={"latency": 0.001})
    seen = attempts_as_logged(simulate(scenario, 7))
    assert furthest_apart_s(seen, ideal_queue(scenario, 7, tick_s=scenario.beat.retry_every_s)) > 1e-4


def test_other_attempts_are_infinitely_far_apart():
    scenario = scenario_at(Point(4, 0.8, "none"), 50)
    ideal = ideal_queue(scenario, 7)
    assert furthest_apart_s(ideal, ideal) == 0
    assert furthest_apart_s(ideal.iloc[:-1], ideal) == math.inf
    assert furthest_apart_s(ideal.assign(failed=~ideal["failed"]), ideal) == math.inf


def test_every_event_of_the_ideal_queue_ends():
    scenario = scenario_at(Point(2, 0.5, "full"), 200)
    table = ideal_queue(scenario, 1)
    last = table.groupby("event_id").tail(1)
    assert (~last["failed"] | (last["attempt_no"] == 4)).all()
    assert table["attempt_no"].max() == 4
    assert (table["queued_s"] <= table["begun_s"]).all()


@pytest.mark.parametrize(
    "point",
    [
        *(Point(1, 0.8, "decorrelated"), Point(8, 0.5, "none"), Point(16, 0.9, "full")),
        *(pytest.param(point, marks=pytest.mark.slow) for point in FULL.points),
    ],
    ids=str,
)
def test_its_long_run_is_the_product_form(point):
    scenario = scenario_at(point, 2500)
    form = form_of(scenario, polled=False)
    seen = [measured(ideal_queue(scenario, seed), form, window_of(scenario)) for seed in range(100, 108)]
    expected = predicted(form)
    z = {name: z_against([one[name] for one in seen], expected[name]) for name in MEASURES}
    # Nine measures at 27 points: 0.02 of these 243 would lie outside of 4 by chance.
    assert max(map(abs, z.values())) < 4, z
    assert np.mean([one["utilisation"] for one in seen]) == pytest.approx(point.load, rel=0.05)


# --- reading a run's log


def test_an_attempt_is_read_from_queued_to_settled():
    told = story()
    told.event(1, at_s=1.0).claim(2.0).error(3.0, 4.0).retry(8.0).claim(9.0).ok(10.0)
    table = attempts_as_logged(told.run(end_s=20.0))
    assert table[["attempt_no", "queued_s", "begun_s", "ended_s", "failed"]].to_numpy().tolist() == [
        [1, 1.0, 2.0, 3.0, True],
        [2, 8.0, 9.0, 10.0, False],
    ]


def test_a_run_with_an_open_attempt_is_no_queue():
    told = story()
    told.event(1, at_s=1.0).claim(2.0)
    with pytest.raises(ValueError, match="never ended"):
        attempts_as_logged(told.run(end_s=20.0))


# --- measures


def test_measures_of_a_day_that_can_be_done_by_hand():
    scenario = changed(
        scenario_at(Point(1, 0.5, "none"), 10),
        arrivals={"kind": "poisson", "rate": 1.0, "until": 10.0},
    )
    told = story()
    told.event(1, at_s=1.0).claim(1.0).error(2.0, 2.0).retry(4.0).claim(5.0).ok(6.0)
    told.event(2, at_s=3.0).claim(3.0).exhausted(5.0)
    seen = measured(attempts_as_logged(told.run(end_s=20.0)), form_of(scenario), Window(0.0, 10.0))
    assert seen["attempts_per_event"] == 1.5
    assert seen["p_extinct"] == 0.5
    assert seen["utilisation"] == seen["all_busy"] == pytest.approx(0.4)
    assert seen["queued"] == pytest.approx(0.1)
    assert seen["in_system"] == pytest.approx(0.5)
    assert seen["in_backoff"] == pytest.approx(0.2)
    mean = form_of(scenario).in_backoff
    assert seen["backoff_variance"] == pytest.approx(0.2 * (1 - mean) ** 2 + 0.8 * mean**2)
    assert seen["time_to_end_s"] == pytest.approx((5 + 2) / 2)


def test_only_what_lies_in_the_window_counts():
    scenario = changed(
        scenario_at(Point(1, 0.5, "none"), 10),
        arrivals={"kind": "poisson", "rate": 1.0, "until": 10.0},
    )
    told = story()
    told.event(1, at_s=1.0).claim(1.0).ok(4.0)
    told.event(2, at_s=5.0).claim(5.0).ok(9.0)
    seen = measured(attempts_as_logged(told.run(end_s=20.0)), form_of(scenario), Window(3.0, 7.0))
    assert seen["utilisation"] == pytest.approx(3 / 4)
    assert seen["time_to_end_s"] == 4.0


def test_the_warm_up_outlasts_the_longest_chain_of_delays_and_the_queues_memory():
    lazy = form_of(scenario_at(Point(16, 0.5, "decorrelated"), 10))
    assert warm_up_s(lazy) == pytest.approx(0.5 * (3 + 9 + 27))
    busy = form_of(scenario_at(Point(1, 0.9, "none"), 10))
    assert warm_up_s(busy) == pytest.approx(4 * 0.1 / (1 - math.sqrt(0.9)) ** 2)


def test_another_law_has_no_such_form():
    scenario = scenario_at(Point(1, 0.5, "none"), 10)
    with pytest.raises(ValueError, match="Poisson arrivals and exponential service"):
        form_of(changed(scenario, handler={"service_time": "100ms"}))

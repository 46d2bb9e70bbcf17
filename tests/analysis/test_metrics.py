"""The registry of metrics."""

import math

import pytest
from frame_builder import story, without

from tem_sim.analysis.metrics import METRICS, metrics

PROMISED = [
    "events",
    "attempts",
    "retries",
    "processed",
    "extinct",
    "in_flight",
    "amplification",
    "retry_peak_per_s",
    "storm_factor",
    "drain_s",
    "recovery_s",
    "latency_p50_s",
    "latency_p95_s",
    "latency_p99_s",
    "lost_events",
    "stuck_rows",
    "duplicate_effects",
    "lost_notifications",
    "duplicate_notifications",
    "wasted_attempts",
]


def eventful():
    told = story().fault(0.0, 5.0)
    told.event(1).claim(1.0).error(1.5, 10.0).retry(12.0).claim(12.5).ok(13.0, shown=3)
    told.event(2).claim(1.0).exhausted(2.0)
    told.event(3).claim(1.0)
    told.event(4).claim(1.0).ok(2.0, shown=None).told(2.0, shown=0, acked=True)
    return told


def test_every_promised_metric_is_there():
    assert set(PROMISED) <= set(METRICS)


def test_metrics_have_units_in_their_names_and_definitions_in_one_line():
    for name, metric in METRICS.items():
        assert metric.unit == {"_s": "s"}.get(name[-2:], metric.unit) or name.endswith("_per_s"), name
        assert metric.about, name
        assert "\n" not in metric.about, name


def test_the_metrics_of_an_eventful_run():
    numbers = metrics(eventful().run(end_s=500.0))
    wanted = {
        "events": 4,
        "attempts": 5,
        "retries": 1,
        "processed": 2,
        "extinct": 1,
        "in_flight": 1,
        "amplification": 1.25,
        "retry_peak_per_s": 1,
        "storm_factor": 1,
        "queue_age_peak_s": 1.0,
        "full_tick_share": 0.0,
        "latency_p50_s": 2.0,
        "extinct_rate": 0.25,
        "lost_events": 0,
        "stuck_rows": 1,
        "duplicate_effects": 0,
        "lost_notifications": 1,
        "duplicate_notifications": 2,
        "wasted_attempts": 2,
    }
    assert {name: numbers[name] for name in wanted} == wanted


def test_drain_ends_when_the_backlog_is_back():
    told = story().fault(0.5, 5.0)
    told.event(1, at_s=1.0).claim(1.0).error(1.5, 10.0).retry(12.0).claim(12.5).ok(13.0)
    assert metrics(told.run(end_s=20.0))["drain_s"] == 8.0


def test_what_does_not_exist_is_nan_and_a_run_without_events_has_all_metrics():
    numbers = metrics(story().run())
    assert list(numbers) == list(METRICS)
    assert {name for name, value in numbers.items() if math.isnan(value)} == {
        "amplification",
        "storm_factor",
        "drain_s",
        "recovery_s",
        "latency_p50_s",
        "latency_p95_s",
        "latency_p99_s",
        "latency_p999_s",
        "delivery_p95_s",
        "extinct_rate",
        "index_of_dispersion",
        "queue_age_peak_s",
        "scheduler_lag_p95_s",
        "full_tick_share",
        "statements_per_event",
    }


def test_an_event_gone_from_the_store_is_lost():
    assert metrics(without(eventful().run(), "events", 0))["lost_events"] == 1


def test_an_effect_applied_again_is_a_duplicate():
    told = story()
    track = told.event(1).claim(0.0).rescue(61.0).claim(62.0).ok(63.0)
    assert metrics(told.run())["duplicate_effects"] == 0
    track.story.attempts[0]["effect_s"] = 5.0
    assert metrics(told.run())["duplicate_effects"] == 1


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_a_plain_float(name):
    assert type(metrics(eventful().run())[name]) is float


def test_rejected_submissions_are_counted_where_the_run_counted_them():
    told = eventful()
    assert metrics(told.run())["rejected_submissions"] == 0
    numbers = {"offered": 7, "accepted": 4, "rejected": 3}
    told.samples += [{"t_s": 500.0, "name": f"submissions_{what}", "value": n} for what, n in numbers.items()]
    assert metrics(told.run())["rejected_submissions"] == 3

"""How numbers are written for people."""

import math

import pytest
from frame_builder import story

from tem_sim.report.document import number
from tem_sim.report.numbers import duration, plain, seconds_text, value_text, why_missing


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.00085, "850 µs"),
        (0.0203, "20.3 ms"),
        (0.99996, "1000 ms"),
        (1.234, "1.23 s"),
        (99.97, "100 s"),
        (312.4, "312 s"),
        (725, "12 min 5 s"),
        (12_000, "3 h 20 min"),
    ],
)
def test_durations_keep_three_digits_and_say_their_unit(seconds, text):
    assert duration(seconds).replace(",", "") == text


@pytest.mark.parametrize(
    ("value", "text"), [(10_000.0, "10,000"), (5.5321, "5.53"), (0.0123, "0.0123"), (999.7, "1,000"), (0.0, "0")]
)
def test_numbers_are_never_in_powers_of_ten(value, text):
    assert plain(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.05, "0.05"), (22026.4, "22026"), (9765625.0, "9765625"), (7.5, "7.5")])
def test_seconds_in_a_table_carry_no_separators(value, text):
    assert seconds_text(value) == text


def test_metrics_carry_their_unit_and_missing_ones_say_so():
    shown = [value_text(*one) for one in (("retries", 5.0), ("retry_peak_per_s", 20.0), ("drain_s", math.nan))]
    assert shown == ["5", "20/s", "n/a"]


def test_a_missing_metric_says_why():
    told = story()
    told.event(1).claim(1.0).ok(2.0)
    calm = told.run()
    assert why_missing("latency_p999_s", calm) == "too few: 1 events PROCESSED"
    assert why_missing("index_of_dispersion", calm) == why_missing("full_tick_share", calm) == "no retries"
    assert why_missing("statements_per_event", calm) == "the run did not count them"
    told.event(2).claim(1.0).rescue(62.0).claim(62.5).ok(63.0)
    assert why_missing("index_of_dispersion", told.run()) == "all retries within one second"
    assert why_missing("full_tick_share", told.run()) == "the scheduler requeued nothing"
    told.event(3).claim(1.0).error(2.0, 10.0).retry(13.0)
    assert why_missing("scheduler_lag_p95_s", told.run()) == "too few: 1 retries requeued"


@pytest.mark.parametrize(("value", "made"), [(3.0, 3), (0.5, 0.5), (math.nan, None), (math.inf, None)])
def test_json_numbers_are_numbers_or_null(value, made):
    assert number(value) == made

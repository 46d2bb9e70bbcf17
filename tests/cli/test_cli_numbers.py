"""How numbers are written for people."""

import math

import pytest

from tem_sim.report.document import number
from tem_sim.report.numbers import duration, plain, seconds_text, value_text


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


@pytest.mark.parametrize(("value", "made"), [(3.0, 3), (0.5, 0.5), (math.nan, None), (math.inf, None)])
def test_json_numbers_are_numbers_or_null(value, made):
    assert number(value) == made

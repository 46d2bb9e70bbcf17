"""Durations, rates and counts as people write them."""

import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tem_sim.scenario import quantities as q


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("1h30m", 5400.0), ("1.5s", 1.5), ("0s", 0.0), ("2d", 172800.0), ("10us", 1e-5), (".5m", 30.0)],
)
def test_durations_are_written_with_units(text: str, seconds: float) -> None:
    assert q.duration_s(text) == seconds


def test_a_bare_number_is_seconds() -> None:
    assert q.duration_s(12) == 12.0


@pytest.mark.parametrize(
    "value",
    ["", "10", "s", "10 s", "1h!!30m", "1mm", "10s\n", "ten", True, None, [], {}, math.nan, math.inf, "9" * 400 + "h"],
)
def test_what_is_no_duration_is_refused_with_a_remedy(value: object) -> None:
    with pytest.raises(ValueError, match="write a duration such as 250ms"):
        q.duration_s(value)


def test_a_negative_duration_is_refused_where_time_cannot_run_backwards() -> None:
    with pytest.raises(ValueError, match="must be >= 0"):
        q.duration_s("-5s")
    assert q.signed_duration_s("-5s") == -5.0


@given(st.integers(0, 10**12))
def test_microseconds_survive_being_written_and_read(microseconds: int) -> None:
    assert q.duration_s(f"{microseconds}us") == pytest.approx(microseconds / 1e6, abs=5e-7)


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_the_parts_of_a_duration_add_up(hours: int, minutes: int, seconds: int, millis: int) -> None:
    expected = hours * 3600 + minutes * 60 + seconds + millis / 1000
    assert q.duration_s(f"{hours}h{minutes}m{seconds}s{millis}ms") == pytest.approx(expected, abs=1e-6)


@given(st.text(max_size=12))
def test_any_text_is_a_duration_or_an_error(text: str) -> None:
    with suppress(ValueError):
        assert 0 <= q.duration_s(text) <= q.MAX_DURATION_S


@pytest.mark.parametrize(
    ("value", "per_s"), [("20/s", 20.0), ("6/m", 0.1), ("36/h", 0.01), ("0.1/s", 0.1), ("1e3/s", 1000.0), (5, 5.0)]
)
def test_rates_are_per_second(value: object, per_s: float) -> None:
    assert q.rate_per_s(value) == pytest.approx(per_s)


@pytest.mark.parametrize("value", ["20", "20/x", "-3/s", -3, math.nan, True, "1e999/s", "/s"])
def test_what_is_no_rate_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="write a rate such as 20/s"):
        q.rate_per_s(value)


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, "0.5", True])
def test_a_probability_lies_between_0_and_1(value: object) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        q.fraction(value)


def test_a_drift_may_be_given_in_ppm() -> None:
    assert q.drift("50ppm") == pytest.approx(5e-5)
    assert q.drift(-0.001) == -0.001


@pytest.mark.parametrize("value", [0, -1, 1.5, "4", True, math.nan, math.inf, 10**30])
def test_a_count_is_a_whole_number(value: object) -> None:
    with pytest.raises(ValueError, match="whole number"):
        q.whole(1)(value)


def test_a_whole_float_counts() -> None:
    assert q.whole(1)(1e4) == 10_000

"""How soon the scheduler looks again."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tem_sim.pipeline.polling import Polling

QUICK = Polling(period_s=8.0, floor_s=1.0)


def waits(polling, *moved, limit=10):
    """Return the waits that follow ticks which moved so many rows."""
    seen, wait_s = [], polling.period_s
    for rows in moved:
        wait_s = polling.next_wait_s(wait_s, rows, limit)
        seen.append(wait_s)
    return seen


def test_full_ticks_halve_the_wait_down_to_the_floor_and_others_double_it_up_to_the_period():
    assert waits(QUICK, 10, 10, 10, 10, 9, 0, 10, 0, 0, 0) == [4, 2, 1, 1, 2, 4, 2, 4, 8, 8]


def test_without_a_floor_or_without_a_limit_the_period_is_fixed():
    assert waits(Polling(period_s=8.0), 10, 10, 0) == [8, 8, 8]
    assert waits(QUICK, 500, 500, 0, limit=None) == [8, 8, 8]


@given(moved=st.lists(st.integers(0, 10)), floor_s=st.floats(0.01, 20.0))
def test_a_wait_is_never_longer_than_the_period_nor_shorter_than_the_floor(moved, floor_s):
    polling = Polling(period_s=8.0, floor_s=floor_s)
    assert all(min(floor_s, 8.0) <= wait_s <= 8.0 for wait_s in waits(polling, *moved))


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("name", ["period_s", "floor_s"])
def test_times_that_would_never_pass_or_never_end_are_refused(name, value):
    with pytest.raises(ValueError, match=rf"polling\.{name}: "):
        Polling(**{"period_s": 1.0, name: value})

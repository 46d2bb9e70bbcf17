"""Ids: never twice from one process, and as rarely from two as the docstring says."""

import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tem_sim.live.ids import COUNTER_BITS, EPOCH_S, MAX_ID, Ids

NOW = EPOCH_S + 60_000_000.0


@given(
    times=st.lists(st.floats(EPOCH_S - 10, EPOCH_S + 2**31 - 2), min_size=1, max_size=50),
    place=st.integers(0, 2**COUNTER_BITS - 1),
)
def test_ids_grow_and_fit_whatever_the_clock_does(times, place):
    clock = iter(times)
    new_id = Ids(lambda: next(clock), lambda below: place)
    made = [new_id() for _ in times]
    assert all(earlier < later for earlier, later in pairwise(made))
    assert made[0] >= 1
    assert made[-1] <= MAX_ID


def test_threads_that_share_one_never_get_the_same_id():
    new_id = Ids()
    with ThreadPoolExecutor(8) as pool:
        made = [i for some in pool.map(lambda _: [new_id() for _ in range(2000)], range(8)) for i in some]
    assert len(set(made)) == len(made)


def test_an_id_says_in_which_second_it_was_made():
    assert Ids(lambda: NOW)() >> COUNTER_BITS == NOW - EPOCH_S


def test_two_processes_meet_about_as_often_as_is_said():
    luck = random.Random(1)
    m, n, seconds = 3000, 5000, 20_000
    places = ((Ids(lambda: NOW, luck.randrange)(), Ids(lambda: NOW, luck.randrange)()) for _ in range(seconds))
    met = sum(first < second + n and second < first + m for first, second in places)
    assert met / seconds == pytest.approx((m + n) / 2**COUNTER_BITS, rel=0.5)


def test_processes_that_start_together_begin_at_places_of_their_own():
    ask = [sys.executable, "-c", "from tem_sim.live.ids import Ids; print(Ids()())"]
    asked = [subprocess.Popen(ask, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    places = {int(process.communicate(timeout=300)[0]) % 2**COUNTER_BITS for process in asked}
    assert len(places) == 3


def test_a_clock_that_is_decades_off_is_told():
    with pytest.raises(OverflowError, match="set the clock right"):
        Ids(lambda: EPOCH_S + 2.0**31)()

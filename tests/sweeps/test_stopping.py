"""When a mean is known well enough: a rule of the rows alone, in the order of the seeds."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tem_sim.analysis.statistics import mean_interval
from tem_sim.scenario.seeds import SeedsUntil
from tem_sim.sweeps.stopping import known_well, wanted

RULE = SeedsUntil(min=4, max=14, batch=3, until="ci(attempts) < 10%")
NOISY = {seed: float(seed % 7) for seed in range(1, 100)}


@pytest.mark.parametrize(("seeds", "expected"), [(3, (1, 2, 3)), ((9, 4), (9, 4))])
def test_a_number_or_a_list_asks_for_nothing_more(seeds, expected):
    assert wanted(seeds, NOISY) == expected


def test_seeds_are_added_batch_by_batch_up_to_the_last():
    asked = []
    known: dict[int, float] = {}
    while set(seeds := wanted(RULE, known)) - set(known):
        asked.append(len(seeds))
        known = {seed: NOISY[seed] for seed in seeds}
    assert asked == [4, 7, 10, 13, 14]


def test_a_narrow_interval_is_enough():
    assert wanted(RULE, {1: 10.0, 2: 10.1, 3: 9.9, 4: 10.0}) == (1, 2, 3, 4)


def test_a_batch_that_is_not_complete_is_not_looked_at():
    assert wanted(RULE, {seed: NOISY[seed] for seed in (1, 2, 4, 5, 6, 7)}) == (1, 2, 3, 4)


@given(st.permutations(range(1, 15)), st.integers(0, 14))
def test_in_which_order_runs_end_makes_no_difference(order, done):
    """A sweep that is gone on with asks for the seeds that it would have asked for."""
    known = {seed: NOISY[seed] for seed in order[:done]}
    asked = wanted(RULE, known)
    assert wanted(RULE, dict(sorted(known.items()))) == asked
    assert len(asked) in (4, 7, 10, 13, 14)


@given(st.lists(st.floats(0.1, 100), min_size=2, max_size=20), st.floats(0.01, 0.5))
def test_known_well_is_half_the_interval_over_the_mean(values, share):
    mean, low, _, _ = mean_interval(values)
    assert known_well(values, share) == (mean - low == 0 or mean - low < share * abs(mean))


@pytest.mark.parametrize(
    ("values", "answer"),
    [([], False), ([1.0], False), ([0.0, 0.0], True), ([-1.0, 1.0], False), ([math.nan] * 5, False)],
)
def test_the_ends_of_the_rule(values, answer):
    assert known_well(values, 0.05) == answer

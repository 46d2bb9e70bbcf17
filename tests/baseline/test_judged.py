"""Each finding about a metric, from numbers made for it."""

import math

import numpy as np
import pytest
from baseline_cases import SEEDS, finding, pairs
from hypothesis import given, settings
from hypothesis import strategies as st

from tem_sim.baseline.judged import judged
from tem_sim.baseline.words import change, settling

BEFORE = [6.2, 6.3, 6.25, 6.4, 6.15, 6.35, 6.3, 6.2, 6.45, 6.3]
LUCK = [0.01, -0.02, 0.02, 0.0, -0.01, 0.015, -0.015, 0.01, -0.01, 0.0]


def times(share: float, luck: float = 1.0) -> list[float]:
    return [value * share + luck * little for value, little in zip(BEFORE, LUCK, strict=True)]


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (BEFORE, "same"),
        (times(1.10), "worse"),
        (times(1.04), "equivalent"),
        (times(0.97), "equivalent"),
        (times(0.9), "better"),
        (times(0.955, luck=30), "no_worse"),
        (times(1.06, luck=20), "unsure"),
        (times(1.0, luck=60), "unsure"),
    ],
)
def test_a_metric_is_worse_the_same_better_or_not_to_be_told(now, expected):
    assert finding(BEFORE, now).finding == expected


def test_a_regression_is_told_with_its_interval_and_what_is_tolerated():
    assert change(finding(BEFORE, times(1.105))) == (
        "amplification 6.29 → 6.95, +10.5 % [10.3, 10.7] at a tolerated 5 %"
    )


def test_an_effect_that_is_sure_and_too_small_to_matter_is_no_regression():
    found = finding(BEFORE, times(1.03))
    assert found.contrast.low > 0
    assert found.finding == "equivalent"


def test_an_effect_that_is_large_and_not_sure_is_no_regression():
    found = finding(BEFORE, times(1.2, luck=200))
    assert found.contrast.effect > 0.1
    assert found.finding == "unsure"


def test_where_less_is_worse_less_is_a_regression():
    assert finding(BEFORE, times(0.9), metric="processed", worse="less").finding == "worse"
    assert finding(BEFORE, times(1.1), metric="processed", worse="less").finding == "better"


def test_an_absolute_effect_counts_in_the_metrics_own_unit():
    assert finding(BEFORE, times(1.10), min_effect="1").finding == "equivalent"
    assert finding(BEFORE, times(1.10), min_effect="0.2").finding == "worse"


def test_what_was_always_zero_and_is_not_any_more_is_worse_if_it_is_so_each_time():
    found = finding([0.0] * SEEDS, [2.0] * SEEDS, metric="lost_events")
    assert found.finding == "worse"
    assert change(found) == "lost_events 0 → 2, +2.0 [2.0, 2.0] at a tolerated 5 %"


def test_what_was_always_zero_and_once_is_not_is_unsure():
    found = finding([0.0] * SEEDS, [1.0] + [0.0] * (SEEDS - 1), metric="lost_events")
    assert found.finding == "unsure"
    assert found.seeds_needed > SEEDS


def test_a_rare_thing_that_becomes_usual_is_worse_though_its_share_has_no_interval():
    found = finding([0, 0, 0, 0, 0, 0, 0, 0, 0, 0.001], [0.2 + little for little in LUCK], metric="extinct_rate")
    assert found.finding == "worse"
    assert not found.contrast.relative


def test_a_deterministic_metric_is_judged_without_scatter():
    assert finding([4.0] * SEEDS, [4.2] * SEEDS).finding == "equivalent"
    assert finding([4.0] * SEEDS, [4.3] * SEEDS).finding == "worse"


def test_a_metric_that_no_run_has_any_more_has_vanished():
    found = finding(BEFORE, [math.nan] * SEEDS, metric="drain_s")
    assert found.finding == "vanished"
    assert change(found) == "drain_s has no value under 10 of 10 seeds in which it had one"


def test_infinite_is_no_value():
    assert finding(BEFORE, [math.inf] * SEEDS, metric="drain_s").finding == "vanished"


def test_a_metric_that_a_few_runs_have_no_more_is_unsure_however_good_the_others_are():
    now = [math.nan, math.nan, *times(0.9)[2:]]
    found = finding(BEFORE, now, metric="drain_s")
    assert (found.finding, found.missing) == ("unsure", 2)
    assert found.seeds_needed > SEEDS


def test_a_metric_that_there_never_was_is_absent_and_one_that_appears_is_no_regression():
    nothing = [math.nan] * SEEDS
    assert finding(nothing, nothing).finding == "absent"
    assert finding(nothing, BEFORE).finding == "absent"


def test_one_pair_tells_nothing_unless_it_is_the_same():
    assert finding([1.0], [1.0]).finding == "same"
    found = finding([1.0], [2.0])
    assert (found.finding, found.seeds_needed) == ("unsure", 2)


def test_only_seeds_that_both_have_are_pairs():
    one = pairs(BEFORE, times(1.2))
    found = judged([type(one)(**{**_fields(one), "now": {3: one.now[3], 4: one.now[4], 99: 1.0}})])[0]
    assert found.contrast.n == 2


def _fields(one):
    return {name: getattr(one, name) for name in ("scenario", "metric", "guard", "before", "now")}


def test_what_one_metric_proves_alone_may_be_too_little_among_twenty():
    # +10 % with such a scatter that its own interval is just above 5 %.
    now = times(1.10, luck=28)
    others = [pairs(BEFORE, times(1.0, luck=sign * 20)) for sign in np.linspace(-1, 1, 19)]
    alone, among = judged([pairs(BEFORE, now)])[0], judged([pairs(BEFORE, now), *others])[0]
    assert (alone.finding, among.finding, among.suspect) == ("worse", "unsure", True)
    assert settling(among).startswith("its interval is above, but for one of so many metrics not by enough; about ")


def test_metrics_that_are_the_same_cost_the_others_nothing():
    now = times(1.10, luck=28)
    assert judged([pairs(BEFORE, now), *[pairs([0.0] * SEEDS, [0.0] * SEEDS)] * 30])[0].finding == "worse"


rows = st.lists(st.floats(0, 10) | st.just(math.nan), min_size=SEEDS, max_size=SEEDS)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(rows, rows), min_size=1, max_size=4))
def test_whatever_the_numbers_are_each_metric_gets_a_finding_and_a_sentence(family):
    found = judged([pairs(before, now) for before, now in family])
    assert len(found) == len(family)
    assert all(change(one) and settling(one) for one in found)


def test_luck_alone_is_called_a_regression_in_at_most_one_of_twenty_checks():
    # Noise of 10 % in 15 metrics, none of which got worse.
    chance = np.random.default_rng(7)
    alarms = 0
    for _ in range(60):
        noise = 10 + chance.standard_normal((2, 15, SEEDS))
        alarms += any(one.finding == "worse" for one in judged([pairs(*rows) for rows in zip(*noise, strict=True)]))
    assert alarms <= 3

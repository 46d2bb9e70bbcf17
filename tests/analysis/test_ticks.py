"""The scheduler's tick and its LIMIT, against a scheduler that is played through by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tem_sim.analysis.ticks import Tick, release

# A tenth of a second as a grid: that is where float arithmetic goes wrong.
tenths = st.integers(0, 60).map(lambda tenth: tenth / 10)


def played_through(delays_s, fail_s, tick, budget_s):
    """Release tick by tick, row by row, in whole microseconds."""
    retries, rows = len(delays_s), len(delays_s[0])
    micros = [[round(delay * 1e6) for delay in row] for row in delays_s]
    period, phase, fail = round(tick.period_s * 1e6), round(tick.phase_s * 1e6), round(fail_s * 1e6)
    budget = None if budget_s is None else round(budget_s * 1e6)
    due = {row: micros[0][row] for row in range(rows) if budget is None or micros[0][row] <= budget}
    made = dict.fromkeys(range(rows), 0)
    starts = np.full((retries, rows), np.nan)
    now = phase - 10 * period
    while due:
        ready = sorted((when, row) for row, when in due.items() if when <= now)
        for _, row in ready[: tick.limit]:
            del due[row]
            starts[made[row], row] = now / 1e6
            made[row] += 1
            if made[row] < retries:
                when = now + fail + micros[made[row]][row]
                if budget is None or when <= budget:
                    due[row] = when
        now += period
    return starts


@given(
    st.integers(1, 3).flatmap(
        lambda retries: st.integers(1, 8).flatmap(
            lambda rows: st.lists(st.lists(tenths, min_size=rows, max_size=rows), min_size=retries, max_size=retries)
        )
    ),
    st.builds(
        Tick,
        st.sampled_from([0.1, 0.3, 1.0, 7.0]),
        st.one_of(st.none(), st.integers(1, 5)),
        st.sampled_from([0.0, 0.05, 0.2]),
    ),
    st.sampled_from([0.0, 0.1, 0.25]),
    st.sampled_from([None, 4.0, 9.5]),
)
def test_retries_start_when_a_scheduler_played_through_by_hand_starts_them(delays_s, tick, fail_s, budget_s):
    delays = np.array(delays_s)
    due_s, starts_s = release(iter(delays), delays.shape, fail_s, tick, budget_s)
    assert starts_s == pytest.approx(played_through(delays_s, fail_s, tick, budget_s), abs=1e-6, nan_ok=True)
    assert np.array_equal(np.isnan(due_s), np.isnan(starts_s))


def test_a_retry_due_on_a_tick_is_released_by_it():
    due_s = np.arange(1, 1001) / 10
    assert Tick(0.1).number(due_s).tolist() == list(range(1, 1001))


def test_without_a_scheduler_a_retry_starts_when_it_is_due_which_is_when_the_attempt_before_has_failed_and_waited():
    _, starts_s = release(iter(np.array([[1.0, 2.0], [4.0, 8.0]])), (2, 2), fail_s=0.5)
    assert starts_s.tolist() == [[1.0, 2.0], [5.5, 10.5]]


def test_the_longest_due_go_first_and_the_rest_waits_for_the_next_tick():
    _, starts_s = release(iter(np.array([[0.9, 0.1, 0.5, 1.5]])), (1, 4), tick=Tick(1.0, limit=2))
    assert starts_s.tolist() == [[2.0, 1.0, 1.0, 2.0]]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"period_s": 0.0}, "period_s: must be > 0"),
        ({"period_s": 1.0, "limit": 0}, "limit: must be a whole number >= 1"),
        ({"period_s": 1e-9}, "at least a microsecond"),
        ({"period_s": 1.0, "phase_s": -1.0}, "phase_s"),
    ],
)
def test_a_tick_that_cannot_be_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Tick(**wrong)

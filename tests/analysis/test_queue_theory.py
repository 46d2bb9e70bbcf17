"""Queues on paper: against scipy's Poisson, a simulated queue, and the balance equations solved outright."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse.linalg import spsolve
from scipy.stats import poisson

from tem_sim.analysis.theory import (
    MMc,
    RetryQueue,
    drain_s,
    erlang_b,
    erlang_c,
    little_rows,
    little_time_s,
)
from tem_sim.pipeline.backoff import Backoff, Decorrelated, Exponential, Fixed, Full

servers = st.integers(1, 200)


@given(servers, st.floats(0, 500))
def test_erlang_b_is_a_truncated_poisson_count(c, load):
    log_part = poisson.logpmf(c, load) - poisson.logcdf(c, load)
    assert erlang_b(c, load) == pytest.approx(math.exp(log_part), rel=1e-9, abs=1e-300)


@pytest.mark.parametrize(("c", "load", "blocked"), [(1, 1.0, 0.5), (5, 2.0, 0.036697), (10, 5.0, 0.018385)])
def test_erlang_b_from_published_tables(c, load, blocked):
    assert erlang_b(c, load) == pytest.approx(blocked, abs=1e-6)


@given(st.integers(1, 40), st.floats(0.01, 0.999))
def test_whoever_finds_all_servers_busy_waits(c, used):
    queue = MMc(used * c, 1.0, c)
    all_busy = 1 - math.fsum(queue.in_system_probability(n) for n in range(c))
    assert erlang_c(c, used * c) == pytest.approx(all_busy, abs=1e-9)


@given(st.floats(0.01, 0.99), st.floats(0.01, 100))
def test_one_server_is_the_textbook_queue(used, service_s):
    queue = MMc(used / service_s, service_s, 1)
    assert queue.in_system == pytest.approx(used / (1 - used))
    assert queue.wait_probability == pytest.approx(used)
    assert queue.response_s == pytest.approx(service_s / (1 - used))
    assert [queue.in_system_probability(n) for n in (0, 3)] == pytest.approx([1 - used, (1 - used) * used**3])


@pytest.mark.parametrize(("c", "used"), [(1, 0.5), (3, 0.8), (16, 0.9)])
def test_the_distribution_has_the_mean_that_the_formula_says(c, used):
    queue = MMc(used * c, 1.0, c)
    p = np.array([queue.in_system_probability(n) for n in range(600)])
    assert p.sum() == pytest.approx(1)
    assert (p * np.arange(600)).sum() == pytest.approx(queue.in_system)
    assert (p * np.maximum(0, np.arange(600) - c)).sum() == pytest.approx(queue.queued)


def test_waits_agree_with_a_simulated_queue():
    rng = np.random.default_rng(1)
    gaps_s, service_s = rng.exponential(1 / 0.7, 400_000), rng.exponential(1.0, 400_000)
    # Lindley's recursion for one server, unrolled: the wait is how far a walk stands above its lowest point.
    walk = np.concatenate([[0.0], np.cumsum(service_s[:-1] - gaps_s[1:])])
    waits_s = walk - np.minimum.accumulate(walk)
    queue = MMc(0.7, 1.0, 1)
    assert waits_s.mean() == pytest.approx(queue.wait_s, rel=0.03)
    assert (waits_s > 3.0).mean() == pytest.approx(queue.wait_exceeds(3.0), rel=0.05)
    assert queue.wait_exceeds(0.0) == queue.wait_probability


def test_an_overloaded_queue_grows_without_bound():
    queue = MMc(3.0, 1.0, 2)
    assert not queue.stable
    assert (queue.queued, queue.wait_s, queue.busy, queue.wait_probability) == (math.inf, math.inf, 2.0, 1.0)
    assert queue.wait_exceeds(1e6) == 1
    assert queue.in_system_probability(5) == 0


# --- failures that come back


def policy(retries, jitter=None, **limits):
    return Backoff(Exponential(2.0), jitter or Full(), max_retries=retries, **limits)


def test_without_failures_it_is_the_plain_queue():
    queue = RetryQueue(2.0, 1.0, 4, 0.0, policy(3))
    assert queue.attempts == MMc(2.0, 1.0, 4)
    assert (queue.in_backoff, queue.p_extinct, queue.attempts_per_event) == (0.0, 0.0, 1.0)


def test_without_retries_failing_changes_nothing_but_the_end():
    queue = RetryQueue(2.0, 1.0, 4, 0.3, policy(0))
    assert queue.attempts == MMc(2.0, 1.0, 4)
    assert queue.p_extinct == 0.3


def stationary(arrival, c, p, delay, top=26, backoff_top=14):
    """Solve M/M/c with one retry after an exponential delay: rows on their first attempt, on their second, in backoff.

    Attempts are served in random order here, which keeps the state small; counts do not depend on the order.
    """
    place = {}
    for first in range(top):
        for second in range(top - first):
            for waiting in range(backoff_top):
                place[first, second, waiting] = len(place)
    rates = sparse.lil_matrix((len(place), len(place)))

    def move(start, end, rate):
        if rate and end in place:
            rates[place[end], place[start]] += rate
            rates[place[start], place[start]] -= rate

    for a, b, w in place:
        busy = min(c, a + b) / max(1, a + b)
        move((a, b, w), (a + 1, b, w), arrival)
        move((a, b, w), (a - 1, b, w), busy * a * (1 - p))
        move((a, b, w), (a - 1, b, w + 1), busy * a * p)
        move((a, b, w), (a, b - 1, w), busy * b)
        move((a, b, w), (a, b + 1, w - 1), w / delay)
    # One equation is too many; in its place, that all probabilities add up to 1.
    rates[0] = 1.0
    ones = np.zeros(len(place))
    ones[0] = 1.0
    return place, spsolve(rates.tocsc(), ones)


def test_the_product_form_solves_the_balance_equations():
    place, solved = stationary(arrival=0.7, c=2, p=0.5, delay=3.0)
    queue = RetryQueue(0.7, 1.0, 2, 0.5, Backoff(Fixed(3.0), max_retries=1))
    states = np.array(list(place))
    rows = states[:, 0] + states[:, 1]
    assert (solved * rows).sum() == pytest.approx(queue.attempts.in_system, rel=1e-3)
    assert (solved * states[:, 2]).sum() == pytest.approx(queue.in_backoff, rel=1e-3)
    for n, w in [(0, 0), (1, 2), (4, 1)]:
        together = solved[(rows == n) & (states[:, 2] == w)].sum()
        product = queue.attempts.in_system_probability(n) * queue.in_backoff_probability(w)
        assert together == pytest.approx(product, rel=2e-3)


def test_rows_in_backoff_are_a_poisson_count():
    queue = RetryQueue(3.0, 0.1, 4, 0.4, policy(3))
    p = np.array([queue.in_backoff_probability(n) for n in range(80)])
    assert p.sum() == pytest.approx(1)
    assert (p * np.arange(80)).sum() == pytest.approx(queue.in_backoff)


@pytest.mark.parametrize("jitter", [Full(), Decorrelated()])
def test_the_delays_law_counts_by_its_means_alone(jitter):
    queue = RetryQueue(3.0, 0.1, 4, 0.4, policy(2, jitter))
    delays_s = [queue.policy.mean_s(k) for k in (1, 2)]
    assert queue.in_backoff == pytest.approx(3.0 * (0.4 * delays_s[0] + 0.16 * delays_s[1]))
    late = RetryQueue(3.0, 0.1, 4, 0.4, policy(2, jitter), lag_s=0.5)
    assert late.in_backoff - queue.in_backoff == pytest.approx(3.0 * 0.5 * (0.4 + 0.16))


def test_time_to_the_end_is_attempts_and_delays():
    queue = RetryQueue(3.0, 0.1, 4, 0.4, policy(2))
    spent_s = queue.attempts_per_event * queue.attempts.response_s + 0.4 * 1.0 + 0.16 * 2.0
    assert queue.time_to_end_s == pytest.approx(spent_s)
    assert little_rows(3.0, queue.time_to_end_s) == pytest.approx(queue.open_rows)


@pytest.mark.parametrize("limits", [{"budget_s": 60.0}, {}])
def test_a_policy_that_may_stop_at_any_time_or_never_has_no_such_form(limits):
    retries = 3 if limits else None
    with pytest.raises(ValueError, match="needs a number of retries and no budget"):
        RetryQueue(1.0, 0.1, 4, 0.4, policy(retries, **limits))


# --- laws


def test_a_backlog_drains_at_the_capacity_to_spare():
    assert drain_s(100, 50.0, 30.0) == 5.0
    assert drain_s(100, 50.0, 50.0) == math.inf
    assert drain_s(0, 50.0, 60.0) == 0.0


def test_a_drained_queue_took_as_long_as_the_formula_says():
    rng = np.random.default_rng(2)
    times_s = []
    for _ in range(400):
        rows, now_s = 40, 0.0
        while rows:
            steps = rng.random(64) < 0.6 / 1.6
            for gap_s, came in zip(rng.exponential(1 / 1.6, 64), steps, strict=True):
                now_s, rows = now_s + gap_s, rows + (1 if came else -1)
                if not rows:
                    break
        times_s.append(now_s)
    error = np.std(times_s) / math.sqrt(len(times_s))
    assert np.mean(times_s) == pytest.approx(drain_s(40, 1.0, 0.6), abs=4 * error)


def test_littles_law_turns_around():
    assert little_time_s(little_rows(4.0, 2.5), 4.0) == 2.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: erlang_b(0, 1.0), "servers must be a whole number from 1 on"),
        (lambda: erlang_c(2, -1.0), "load must be from 0 erlangs on"),
        (lambda: MMc(0.0, 1.0, 1), "arrival_per_s must be > 0"),
        (lambda: MMc(1.0, math.inf, 1), "service_s must be > 0"),
        (lambda: MMc(1.0, 0.1, 1).wait_exceeds(-1.0), "wait_s must be from 0 on"),
        (lambda: RetryQueue(1.0, 0.1, 1, 1.5, policy(1)), "failure must be a probability"),
        (lambda: RetryQueue(1.0, 0.1, 1, 0.5, policy(1), lag_s=-1), "lag_s must be from 0 on"),
        (lambda: drain_s(-1, 1.0, 0.0), "backlog must be from 0 on"),
        (lambda: drain_s(1, 0.0, 0.0), "capacity_per_s must be > 0"),
        (lambda: little_time_s(1.0, 0.0), "rate_per_s must be > 0"),
    ],
)
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()

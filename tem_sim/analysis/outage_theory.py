"""Which events an outage kills: P(EXTINCT) of an event submitted during it, for any retry policy.

The model: every attempt made during the outage fails, none after it does; attempts take no time, and a retry starts
when it is due. An event submitted U after the outage's beginning, U uniform over its length D, tries for the last time
at U + S, where S is the sum of its delays. It is EXTINCT when that is still within the outage:

    P(EXTINCT) = P(U(0, D) + S < D) = E[(D − S)⁺] / D.

Derived here from the policy's definition. Without jitter S is a number and the form is closed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tem_sim.pipeline.backoff import MAX_DELAY_S, Policy

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

# Cells between 0 and the outage's end over which sums of delays are spread, and points that stand for one delay.
CELLS = 2**14
POINTS = 2**14
# Independent scramblings of a low-discrepancy sequence, and how many events each draws.
SCRAMBLES = 16
EVENTS = 2**14
# More retries than this within an outage are given up on, rather than drawn from ever more dimensions.
MAX_DRAWS = 1000


class Estimates(NamedTuple):
    """Numbers, each with about how far it may be off; 0 where the form is closed."""

    value: NDArray[np.float64]
    error: NDArray[np.float64]


def extinct_in_outage(policy: Policy, outage_s: ArrayLike, *, extra_s: float = 0.0) -> Estimates:
    """Return P(EXTINCT) of an event submitted during an outage, for each length.

    `extra_s` is added to each delay: what an attempt takes, and how late the scheduler's tick comes on average. Closed
    without jitter. Delays that do not depend on one another are summed by numeric convolution; the error is what
    halving the number of cells changes. The rest (decorrelated jitter, budgets of total time) is a mean over
    low-discrepancy draws (Owen 1997, "Scrambled net variance for integrals of smooth functions", Ann. Stat. 25), and
    the error three standard errors of 16 scramblings. Without a limit on retries or time no event is EXTINCT.
    """
    lengths_s = np.atleast_1d(np.asarray(outage_s, dtype=np.float64))
    if lengths_s.ndim != 1 or not bool(np.all((lengths_s > 0) & (lengths_s <= MAX_DELAY_S))):
        raise ValueError(f"outage_s must be lengths above 0 s and up to {MAX_DELAY_S:g} s, got {outage_s!r}")
    if not 0 <= extra_s < math.inf:
        raise ValueError(f"extra_s must be from 0 s on, got {extra_s}")
    nothing = np.zeros(len(lengths_s))
    if policy.max_retries is None and policy.budget_s is None:
        return Estimates(nothing, nothing)
    if policy.budget_s is None and not policy.needs_previous:
        return _by_convolution(policy, lengths_s, extra_s)
    return _by_draws(policy, lengths_s, extra_s)


def equal_points(policy: Policy, retry: int, points: int = POINTS) -> NDArray[np.float64]:
    """Return about so many delays that each stand for an equal part of the distribution before a retry.

    The policy turns uniforms into delays, so it is handed the middles of equal cells in their place: a line of them, or
    a square for a policy that draws twice. For delays that do not depend on the one before.
    """
    if policy.draws == 0:
        return policy.delays(retry, _Given(np.empty((1, 0))), 1)  # type: ignore[arg-type]
    side = max(1, round(points ** (1 / policy.draws)))
    middles = (np.arange(side) + 0.5) / side
    grid = np.stack(np.meshgrid(*[middles] * policy.draws, indexing="ij"), axis=-1).reshape(-1, policy.draws)
    return policy.delays(retry, _Given(grid), len(grid))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class _Given:
    """In the place of a generator: uniforms that are chosen, not drawn."""

    uniforms: NDArray[np.float64]

    def random(self, size: Any = None) -> NDArray[np.float64]:
        return self.uniforms.reshape(size)


# --- delays that do not depend on one another


def _by_convolution(policy: Policy, lengths_s: NDArray[np.float64], extra_s: float) -> Estimates:
    """Sum the delays on a grid up to the longest outage, and again for outages far shorter than that."""
    assert policy.max_retries is not None
    least_s, points_s = 0.0, []
    for retry in range(1, policy.max_retries + 1):
        points_s.append(equal_points(policy, retry) + extra_s)
        least_s += float(points_s[-1].min())
        if least_s >= lengths_s.max():
            return Estimates(np.zeros(len(lengths_s)), np.zeros(len(lengths_s)))
    if all(len(points) == 1 for points in points_s):
        return Estimates(np.maximum(0.0, 1 - least_s / lengths_s), np.zeros(len(lengths_s)))
    value, error = np.empty(len(lengths_s)), np.empty(len(lengths_s))
    for group in _octaves(lengths_s):
        fine = _shortfall(points_s, lengths_s[group], CELLS)
        coarse = _shortfall(points_s, lengths_s[group], CELLS // 2)
        value[group], error[group] = fine, np.abs(fine - coarse)
    return Estimates(value, error)


def _octaves(lengths_s: NDArray[np.float64]) -> Iterator[NDArray[np.bool_]]:
    """Group lengths so that each is at least an eighth of its group's longest."""
    left = np.ones(len(lengths_s), dtype=bool)
    while left.any():
        group = left & (lengths_s > lengths_s[left].max() / 8)
        yield group
        left &= ~group


def _shortfall(points_s: list[NDArray[np.float64]], lengths_s: NDArray[np.float64], cells: int) -> NDArray[np.float64]:
    """Return E[(D − S)⁺]/D for each length D.

    (x − S)⁺ averaged over one more delay is again such a mean, so the function x⁺ is convolved with each delay in turn.
    A point between two grid points counts to both, by nearness: that leaves every mean as it is.
    """
    top_s = float(lengths_s.max())
    grid = np.linspace(0.0, 1.0, cells + 1)
    shortfall = grid
    # Long enough for nothing to wrap round, and a product of small primes: 2·cells + 2 takes ten times as long.
    length = 2 * cells + cells // 4
    for points in points_s:
        weights = _weights(points / top_s * cells, cells)
        spectrum = np.fft.rfft(shortfall, length) * np.fft.rfft(weights, length)
        shortfall = np.maximum(0.0, np.fft.irfft(spectrum, length)[: cells + 1])
    return np.asarray(np.interp(lengths_s / top_s, grid, shortfall) * top_s / lengths_s)


def _weights(places: NDArray[np.float64], cells: int) -> NDArray[np.float64]:
    """Return the part of the points at each grid point; those beyond the last count nowhere."""
    inside = places[places < cells]
    left = np.floor(inside).astype(np.int64)
    nearness = inside - left
    weights = np.bincount(left, 1 - nearness, cells + 1) + np.bincount(left + 1, nearness, cells + 1)
    return np.asarray(weights / len(places))


# --- delays that do, and budgets


def _by_draws(policy: Policy, lengths_s: NDArray[np.float64], extra_s: float) -> Estimates:
    """Average over whole events, each followed until it is given up or has outlived the longest outage."""
    means = np.array([_mean_shortfall(policy, lengths_s, extra_s, seed) for seed in range(SCRAMBLES)])
    error = 3 * means.std(axis=0, ddof=1) / math.sqrt(SCRAMBLES)
    return Estimates(means.mean(axis=0), error)


def _mean_shortfall(policy: Policy, lengths_s: NDArray[np.float64], extra_s: float, seed: int) -> NDArray[np.float64]:
    last_s = _last_attempts_s(policy, float(lengths_s.max()), extra_s, seed)
    return np.array([np.maximum(0.0, 1 - last_s / length_s).mean() for length_s in lengths_s])


def _last_attempts_s(policy: Policy, top_s: float, extra_s: float, seed: int) -> NDArray[np.float64]:
    """Return when each of `EVENTS` events tries for the last time, from its first failure; inf if after `top_s`."""
    uniforms = _low_discrepancy(policy, seed)
    budget_s = math.inf if policy.budget_s is None else policy.budget_s
    waited_s, previous_s = np.zeros(EVENTS), None
    going = np.ones(EVENTS, dtype=bool)
    for retry in range(1, MAX_DRAWS + 1 if policy.max_retries is None else policy.max_retries + 1):
        delay_s = policy.delays(retry, _Given(uniforms(retry)), EVENTS, previous_s)  # type: ignore[arg-type]
        # The pipeline counts the time since the submit, in which each retry before came `extra_s` late.
        going &= waited_s + delay_s <= budget_s
        waited_s = np.where(going, waited_s + delay_s + extra_s, waited_s)
        previous_s = delay_s
        going &= waited_s < top_s
        if not going.any():
            return waited_s
    if policy.max_retries is None:
        raise ValueError(f"{policy.name}: more than {MAX_DRAWS} retries within {top_s:g} s; lower the budget")
    return waited_s


def _low_discrepancy(policy: Policy, seed: int) -> Callable[[int], NDArray[np.float64]]:
    """Return a function from the retry to its uniforms, one row per event.

    The first retries decide, and get a scrambled Sobol' sequence; what comes after its last dimension is random.
    """
    from scipy.stats import qmc

    retries = MAX_DRAWS if policy.max_retries is None else policy.max_retries
    smooth = min(retries, 20) * policy.draws
    net = qmc.Sobol(max(1, smooth), scramble=True, seed=seed).random(EVENTS)
    rest = np.random.default_rng([seed, 1])

    def of(retry: int) -> NDArray[np.float64]:
        columns = net[:, (retry - 1) * policy.draws : retry * policy.draws]
        return columns if retry * policy.draws <= smooth else rest.random((EVENTS, policy.draws))

    return of

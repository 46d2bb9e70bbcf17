"""What a retry policy comes to on paper: attempts per event, EXTINCT, amplification through layers, delays.

Failures are independent from attempt to attempt here, each with probability p. Real ones come together; what an
outage does, in which every attempt fails, is `outage_theory`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from tem_sim.pipeline.backoff import Backoff, Decorrelated, Moments, Policy
from tem_sim.pipeline.growth import Fixed


class Horizon(NamedTuple):
    """The wait from an event's first failure to its last attempt: the least, the mean and the largest."""

    min_s: float
    mean_s: float
    max_s: float


def attempts_per_event(failure: float, max_retries: int | None) -> float:
    """Return the mean attempts per event, (1 − p^(R+1)) / (1 − p); R + 1 at p = 1, and 1/(1 − p) for endless retries.

    Attempt k + 1 is made when the first k failed, so the mean is the sum of p^k over k = 0 … R: a geometric number of
    trials cut off at R + 1 (Feller 1968, "An Introduction to Probability Theory and Its Applications" I, XI.1).
    """
    p, retries = _probability(failure), _retries(max_retries)
    if p == 1:
        return math.inf if retries is None else retries + 1.0
    if retries is None:
        return 1 / (1 - p)
    # Near 1, where 1 − p^(R+1) loses its digits and 1 − p is exact, through logarithms.
    succeeded = 1 - p ** (retries + 1) if p < 0.5 else -math.expm1((retries + 1) * math.log1p(-(1 - p)))
    return succeeded / (1 - p)


def p_extinct(failure: float, max_retries: int | None) -> float:
    """Return the probability that an event ends EXTINCT, p^(R+1): all R + 1 independent attempts fail.

    0 for endless retries, unless every attempt fails: then such an event never ends, and is never EXTINCT either.
    """
    p, retries = _probability(failure), _retries(max_retries)
    return 0.0 if retries is None else float(p ** (retries + 1))


def layered_attempts(max_retries: Sequence[int], failure: float = 1.0) -> float:
    """Return the mean attempts at the bottom per call at the top, when each layer retries the one below by itself.

    With p = 1, the worst case, the layers multiply: Π (R_i + 1), so 3 layers of 3 retries make 64 of one (Beyer et al.
    2016, "Site Reliability Engineering", chapter 22; Brooker, "Timeouts, retries, and backoff with jitter", Amazon
    Builders' Library). In general a layer fails with p^(R+1) of the p below it, and the means multiply, since a call's
    number of tries is a stopping time (Wald 1944): altogether those of one layer with Π (R_i + 1) − 1 retries.
    """
    if not max_retries:
        raise ValueError("max_retries must name at least one layer")
    tries = math.prod(retries + 1 for retries in map(_finite_retries, max_retries))
    return attempts_per_event(failure, tries - 1)


def delay_moments(policy: Policy, retry: int) -> Moments:
    """Return support, mean and variance of the delay before a retry; the mean always, by quadrature if need be.

    Closed forms, with v = min(cap, base·2^(k−1)): none v; full v/2 and v²/12; equal 3v/4 and v²/48 (Brooker 2015,
    "Exponential Backoff And Jitter", AWS Architecture Blog). The policies themselves know them, and this asks them
    (`Policy.moments`, `Policy.mean_s`). The variance is None where there is no closed form.
    """
    known = policy.moments(retry)
    return known if known.mean_s is not None else Moments(known.min_s, policy.mean_s(retry), known.max_s, known.var_s2)


def decorrelated_mean_s(base_s: float, retry: int, factor: float = 3.0, cap_s: float | None = None) -> float:
    """Return the mean delay before a retry under decorrelated jitter.

    Without a cap b·(2·1.5^k − 1) for the factor 3: from s_k ~ U(b, 3·s_{k−1}) follows E s_k = (b + 3·E s_{k−1})/2, and
    s_0 = b (the jitter is Brooker's 2015; the mean is derived here). With a cap, U(b, min(cap, 3·s_{k−1})), by the
    quadrature of `pipeline.decorrelated`.
    """
    return _decorrelated(base_s, factor, cap_s, clamped=False).mean_s(retry)


def decorrelated_mass_at_cap(base_s: float, retry: int, cap_s: float, factor: float = 3.0) -> float:
    """Return the part of delays that are exactly the cap under min(cap, U(b, 3·s_{k−1})), as AWS writes it.

    Two in three of the delays after one of the cap are the cap again, (3c − c)/(3c − b), so that late retries fall back
    into step. Derived here; the number is the quadrature's of `pipeline.decorrelated`.
    """
    return _decorrelated(base_s, factor, cap_s, clamped=True).mass_at_cap(retry)


def _decorrelated(base_s: float, factor: float, cap_s: float | None, *, clamped: bool) -> Backoff:
    return Backoff(Fixed(base_s), Decorrelated(factor), cap_s=cap_s, cap_after_jitter=clamped)


def retry_horizon(policy: Policy) -> Horizon:
    """Return how long the policy goes on trying after an event's first failure: the sum of its delays.

    An outage that lasts longer than the largest kills every event caught at its beginning, attempts taking no time. A
    budget of total time that can cut the sum short bounds the largest; the least is then 0 and the mean unknown (NaN).
    """
    retries, budget_s = policy.max_retries, math.inf if policy.budget_s is None else policy.budget_s
    known = [delay_moments(policy, retry) for retry in range(1, (retries or 0) + 1)]
    largest_s = math.inf if retries is None else math.fsum(one.max_s for one in known)
    if budget_s < largest_s:
        return Horizon(0.0, math.nan, budget_s)
    if retries is None:
        return Horizon(math.inf, math.inf, math.inf)
    mean_s = math.fsum(policy.mean_s(retry) for retry in range(1, retries + 1))
    return Horizon(math.fsum(one.min_s for one in known), mean_s, largest_s)


def _probability(value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f"failure must be a probability from 0 to 1, got {value}")
    return float(value)


def _retries(value: int | None) -> int | None:
    return None if value is None else _finite_retries(value)


def _finite_retries(value: int) -> int:
    if value != int(value) or value < 0:
        raise ValueError(f"max_retries must be a whole number from 0 on, got {value}")
    return int(value)

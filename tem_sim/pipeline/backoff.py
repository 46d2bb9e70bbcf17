"""When to try again, and when to give up: retry policies as frozen values.

A policy is growth × jitter × cap, with a limit on retries and optionally on total time. It holds no state:
the retry number, the stream of chance and, for the one jitter that needs it, the event's previous delay
are arguments. So one policy serves every event and every worker, and a delay is a function of its arguments.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from tem_sim.pipeline.bounds import MAX_DELAY_S, limits, retry_number, seconds
from tem_sim.pipeline.growth import Explicit, Exponential, Fibonacci, Fixed, Growth, Linear, Polynomial
from tem_sim.pipeline.jitter import Additive, Decorrelated, Equal, Full, Jitter, NoJitter, Proportional
from tem_sim.pipeline.spread import Moments, Spread, Uniform

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "MAX_DELAY_S",
    "Additive",
    "Backoff",
    "Chance",
    "Decorrelated",
    "Drawn",
    "Equal",
    "Explicit",
    "Exponential",
    "Fibonacci",
    "Fixed",
    "Full",
    "Growth",
    "Jitter",
    "Linear",
    "Moments",
    "NoJitter",
    "Policy",
    "Polynomial",
    "Proportional",
    "chain",
    "describe",
]


# The delays of the original system: 10, 20, 40 s and so on, the same for every event.
_SEED_GROWTH = Exponential(10.0)
_NO_JITTER = NoJitter()


class Chance(Protocol):
    """A stream of uniforms in [0, 1): random.Random, a numpy Generator, or one of the scenario's streams."""

    def random(self) -> float:
        """Return the next uniform."""


class Policy(Protocol):
    """What the pipeline, the checks and the plots need to know about a retry policy."""

    @property
    def name(self) -> str: ...

    @property
    def max_retries(self) -> int | None:
        """Retries after the first attempt; None never gives up."""

    @property
    def budget_s(self) -> float | None:
        """Seconds from the submission within which a retry must start; None for no limit."""

    @property
    def formula(self) -> str:
        """The delay before retry k in one line, in seconds."""

    @property
    def draws(self) -> int:
        """Uniforms that one delay takes from the stream; the same for every retry."""

    @property
    def needs_previous(self) -> bool:
        """Whether a delay depends on the event's previous delay."""

    def delay(self, retry: int, rng: Chance, previous_s: float | None = None) -> float:
        """Draw the seconds to wait before retry 1, 2, ...; previous_s is the delay before the last retry."""

    def delays(
        self,
        retry: int,
        rng: np.random.Generator,
        size: int,
        previous_s: float | NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Draw `size` delays, equal bit for bit to as many calls of `delay` on the same generator."""

    def moments(self, retry: int) -> Moments:
        """Return support, mean (s) and variance (s²) over all events; None where no closed form exists."""

    def support(self, retry: int, previous_s: float | None = None) -> tuple[float, float]:
        """Return the least and largest delay in seconds, closed at both ends."""

    def mean_s(self, retry: int) -> float:
        """Return the mean, by deterministic quadrature where `moments` has none."""

    def chain(self, rng: Chance, retries: int) -> tuple[float, ...]:
        """Draw the delays of one event before retries 1 to `retries`."""

    def gives_up(self, failures: int, elapsed_s: float, next_delay_s: float) -> bool:
        """Tell whether the failure just seen is the last one."""


class Drawn(ABC):
    """All that follows once a policy says how the delay before retry k is distributed (`spread`)."""

    __slots__ = ()

    max_retries: int | None
    budget_s: float | None

    @property
    def draws(self) -> int:
        """Most policies draw one uniform."""
        return 1

    @property
    def needs_previous(self) -> bool:
        """Most policies look at the retry number only."""
        return False

    @abstractmethod
    def spread(self, retry: int, previous_s: float | None = None) -> Spread:
        """Return the distribution of the delay before this retry."""

    def delay(self, retry: int, rng: Chance, previous_s: float | None = None) -> float:
        """Draw the seconds to wait before retry 1, 2, ...; ValueError for a retry below 1."""
        spread = self.spread(retry, previous_s)
        return spread.at([rng.random() for _ in range(self.draws)])

    def delays(
        self,
        retry: int,
        rng: np.random.Generator,
        size: int,
        previous_s: float | NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Draw `size` delays, shape (size,); previous_s is ignored by policies that do not need it."""
        return self.spread(retry).at_many(rng.random((size, self.draws)))

    def moments(self, retry: int) -> Moments:
        """Return support, mean (s) and variance (s²); exact, or None where no closed form exists."""
        return self.spread(retry).moments()

    def support(self, retry: int, previous_s: float | None = None) -> tuple[float, float]:
        """Return the least and largest delay in seconds; of all events when previous_s is not given."""
        moments = self.moments(retry)
        return moments.min_s, moments.max_s

    def mean_s(self, retry: int) -> float:
        """Return the mean; policies without a closed form override this with a quadrature."""
        mean_s = self.moments(retry).mean_s
        assert mean_s is not None, f"{type(self).__name__} has no closed mean and must override mean_s"
        return mean_s

    def chain(self, rng: Chance, retries: int) -> tuple[float, ...]:
        """Draw the delays of one event before retries 1 to `retries`, each from the one before it."""
        delays_s: list[float] = []
        for retry in range(1, retries + 1):
            delays_s.append(self.delay(retry, rng, delays_s[-1] if delays_s else None))
        return tuple(delays_s)

    def gives_up(self, failures: int, elapsed_s: float, next_delay_s: float) -> bool:
        """Tell whether an event that failed `failures` times, `elapsed_s` after it was submitted, is done.

        It is when it has used up its retries, or when the next one could not start within the budget.
        """
        if self.max_retries is not None and failures > self.max_retries:
            return True
        return self.budget_s is not None and elapsed_s + next_delay_s > self.budget_s


@dataclass(frozen=True, slots=True)
class Backoff(Drawn):
    """Growth × jitter × cap, `max_retries` retries, and optionally a budget of total time.

    The cap bounds the growth, and jitter then spreads the capped value: additive and proportional jitter
    may pass the cap by their width, and stay spread out there. With `cap_after_jitter` the jittered value
    is clipped instead, as tenacity and stamina do: nothing passes the cap, and what would have is piled up
    on it (`mass_at_cap` says how much). Decorrelated jitter never passes its cap; `Decorrelated` tells its
    two variants apart. Without a cap the delay saturates at MAX_DELAY_S.
    """

    growth: Growth = _SEED_GROWTH
    jitter: Jitter = _NO_JITTER
    cap_s: float | None = None
    max_retries: int | None = 5
    budget_s: float | None = None
    name: str = ""
    cap_after_jitter: bool = False
    # The distributions drawn from so far, by retry: working one out costs more than the draw.
    _spreads: dict[int, Uniform] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        retries, budget_s = limits("Backoff", self.max_retries, self.budget_s)
        object.__setattr__(self, "max_retries", retries)
        object.__setattr__(self, "budget_s", budget_s)
        if self.cap_s is not None:
            object.__setattr__(self, "cap_s", _cap_of(self.cap_s, self.growth.value_s(1)))

    @staticmethod
    def from_object(thing: object, **changes: object) -> Policy:
        """Return the policy that an installed library's object stands for, by the formula of that library.

        A Celery task or its options; a tenacity wait, `Retrying` or decorated function; urllib3's `Retry`; stamina's
        context, caller or decorated function; a generator of backoff, or a function decorated with one; a botocore
        `Config` or client; the `Retry` of google-api-core and rq; procrastinate's `RetryStrategy`. `changes`
        (max_retries, budget_s) replace the object's own. Raises ValueError for anything else.
        """
        from tem_sim.pipeline.objects import policy_of_object

        return policy_of_object(thing, **changes)

    @property
    def draws(self) -> int:
        return self.jitter.draws

    @property
    def needs_previous(self) -> bool:
        return isinstance(self.jitter, Decorrelated)

    @property
    def formula(self) -> str:
        if isinstance(self.jitter, Decorrelated):
            return _decorrelated_formula(self.growth.value_s(1), self.jitter.factor, self.cap_s, self._clips)
        bare = _capped(self.growth.formula, None if self._clips else self.cap_s)
        if not self.jitter.formula:
            return _capped(bare, self.cap_s if self._clips else None)
        return f"{_capped(self.jitter.formula, self.cap_s if self._clips else None)}, v = {bare}"

    def spread(self, retry: int, previous_s: float | None = None) -> Uniform:
        """Return the distribution of the delay before this retry, given the event's previous delay."""
        if isinstance(self.jitter, Decorrelated):
            return self._spread_after(self.jitter, retry, previous_s)
        value_s = self.growth.value_s(retry)
        low_s, width_s = self.jitter.interval_s(value_s if self._clips else min(self._cap, value_s))
        return Uniform(low_s, min(width_s, MAX_DELAY_S - low_s), self._clip)

    def delay(self, retry: int, rng: Chance, previous_s: float | None = None) -> float:
        """Draw the seconds to wait before retry 1, 2, ...; ValueError for a retry below 1."""
        spread = self._spreads.get(retry)
        if spread is None:
            spread = self.spread(retry, previous_s)
            if not self.needs_previous:
                self._spreads[retry] = spread
        return spread.at((rng.random(),) if self.jitter.draws else ())

    def delays(
        self,
        retry: int,
        rng: np.random.Generator,
        size: int,
        previous_s: float | NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Draw `size` delays, shape (size,); previous_s may be one delay for all or one per event."""
        if previous_s is None or isinstance(previous_s, (int, float)) or not self.needs_previous:
            previous = float(previous_s) if isinstance(previous_s, (int, float)) else None
            return self.spread(retry, previous).at_many(rng.random((size, self.draws)))
        return self._delays_after(retry, rng.random(size), previous_s)

    def moments(self, retry: int) -> Moments:
        """Return support and exact moments; the latter None once a decorrelated chain meets its cap."""
        if not isinstance(self.jitter, Decorrelated) or retry_number(retry) == 1:
            return self.spread(retry).moments()
        base_s = self.growth.value_s(1)
        top_s = self.jitter.top_s(base_s, retry)
        if min(self._cap, top_s) <= base_s:
            return Moments(base_s, base_s, base_s, 0.0)
        if top_s > self._cap:
            return Moments(base_s, None, self._cap, None)
        mean_s, var_s2 = self.jitter.moments_s(base_s, retry)
        return Moments(base_s, mean_s, top_s, var_s2)

    def support(self, retry: int, previous_s: float | None = None) -> tuple[float, float]:
        """Return the least and largest delay; given the previous delay where one is given and matters."""
        if previous_s is None or not self.needs_previous:
            moments = self.moments(retry)
        else:
            moments = self.spread(retry, previous_s).moments()
        return moments.min_s, moments.max_s

    def mean_s(self, retry: int) -> float:
        """Return the mean; by quadrature over the chain where decorrelated jitter meets its cap."""
        exact = self.moments(retry).mean_s
        return exact if exact is not None else self._marginal(retry)[0]

    def mass_at_cap(self, retry: int) -> float:
        """Return the probability of a delay of exactly the cap; 0 without one.

        Exact, except for decorrelated jitter clipped after the draw, where it comes from the quadrature.
        """
        if self.cap_s is None:
            return 0.0
        if not isinstance(self.jitter, Decorrelated) or retry_number(retry) == 1:
            return self.spread(retry).mass_at(self.cap_s)
        base_s = self.growth.value_s(1)
        if self.cap_s <= base_s or self.jitter.factor == 1:
            return float(self.cap_s <= base_s)
        return self._marginal(retry)[1] if self._clips else 0.0

    @property
    def _clips(self) -> bool:
        """Whether the cap is applied to the jittered value."""
        return self.cap_after_jitter and self.cap_s is not None

    @property
    def _cap(self) -> float:
        return MAX_DELAY_S if self.cap_s is None else self.cap_s

    @property
    def _clip(self) -> float:
        return self._cap if self._clips else MAX_DELAY_S

    def _spread_after(self, jitter: Decorrelated, retry: int, previous_s: float | None) -> Uniform:
        base_s = self.growth.value_s(1)
        high_s = max(base_s, jitter.factor * self._previous(retry, base_s, previous_s))
        return Uniform(base_s, (high_s if self._clips else min(self._cap, high_s)) - base_s, self._cap)

    def _previous(self, retry: int, base_s: float, previous_s: float | None) -> float:
        """Return the delay to grow from: the base before retry 1, and after it the one handed in."""
        if retry_number(retry) == 1:
            return base_s
        if previous_s is None:
            raise ValueError(
                f"previous_s: decorrelated jitter needs it from retry 2 on, got None for retry {retry}; "
                "pass this event's previous delay"
            )
        return seconds("previous_s", previous_s)

    def _delays_after(
        self, retry: int, uniforms: NDArray[np.float64], previous_s: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Draw one decorrelated delay per event; the same arithmetic as `_spread_after`, over arrays."""
        import numpy as np

        previous = np.asarray(previous_s, dtype=np.float64)
        if previous.shape != uniforms.shape:
            raise ValueError(f"previous_s: must have shape {uniforms.shape}, got {previous.shape}")
        if not bool(np.all((previous >= 0) & (previous <= MAX_DELAY_S))):
            raise ValueError(f"previous_s: must be between 0 and {MAX_DELAY_S:g}; got a value outside it")
        base_s, factor = self.growth.value_s(1), self._factor
        if retry_number(retry) == 1:
            previous = np.full_like(uniforms, base_s)
        high_s = np.maximum(base_s, factor * previous)
        width_s = (high_s if self._clips else np.minimum(self._cap, high_s)) - base_s
        top_s = np.minimum(self._cap, base_s + width_s)
        return np.where(width_s == 0, top_s, np.minimum(top_s, base_s + width_s * uniforms))

    @property
    def _factor(self) -> float:
        return self.jitter.factor if isinstance(self.jitter, Decorrelated) else math.nan

    def _marginal(self, retry: int) -> tuple[float, float]:
        from tem_sim.pipeline.decorrelated import marginal

        return marginal(self.growth.value_s(1), self._factor, self._cap, retry, clipped=self._clips)


def chain(policy: Policy, rng: Chance, retries: int | None = None) -> tuple[float, ...]:
    """Draw the delays of one event; as many as the policy grants, or ten when it never gives up."""
    if retries is None:
        retries = 10 if policy.max_retries is None else policy.max_retries
    return policy.chain(rng, retries)


def describe(policy: Policy) -> str:
    """Say in one line what a policy does: its formula in seconds and its limits."""
    retries = "retries for ever" if policy.max_retries is None else f"at most {policy.max_retries} retries"
    budget = "" if policy.budget_s is None else f" within {policy.budget_s:g} s"
    return f"{policy.name or type(policy).__name__}: {policy.formula} s, {retries}{budget}"


def _cap_of(cap_s: float, first_s: float) -> float:
    checked = seconds("Backoff.cap_s", cap_s, above=0)
    if checked < first_s:
        raise ValueError(
            f"Backoff.cap_s: must be >= the first delay of the growth ({first_s:g}), got {cap_s!r}; "
            "raise the cap or lower the base"
        )
    return checked


def _capped(formula: str, cap_s: float | None) -> str:
    return formula if cap_s is None else f"min({cap_s:g}, {formula})"


def _decorrelated_formula(base_s: float, factor: float, cap_s: float | None, clips: bool) -> str:
    reach = f"{factor:g}·previous"
    if clips:
        return _capped(f"U({base_s:g}, {reach})", cap_s)
    return f"U({base_s:g}, {_capped(reach, cap_s)})"

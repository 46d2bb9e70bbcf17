"""A policy in another unit of time: every delay of it, and its budget, times a factor; its quirks are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tem_sim.pipeline.bounds import positive_finite, saturate
from tem_sim.pipeline.spread import Moments

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tem_sim.pipeline.backoff import Chance, Policy


@dataclass(frozen=True, slots=True)
class Scaled:
    """Another policy's delays times a factor, from the same uniforms; whole seconds become whole factors of one."""

    policy: Policy
    factor: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "factor", positive_finite("Scaled.factor", self.factor))

    @property
    def name(self) -> str:
        return self.policy.name

    @property
    def max_retries(self) -> int | None:
        return self.policy.max_retries

    @property
    def budget_s(self) -> float | None:
        return None if self.policy.budget_s is None else self.factor * self.policy.budget_s

    @property
    def formula(self) -> str:
        return f"{self.factor:g}·({self.policy.formula})"

    @property
    def draws(self) -> int:
        return self.policy.draws

    @property
    def needs_previous(self) -> bool:
        return self.policy.needs_previous

    def delay(self, retry: int, rng: Chance, previous_s: float | None = None) -> float:
        """Draw the seconds to wait before retry 1, 2, ...; `previous_s` is a scaled one, too."""
        return saturate(self.factor * self.policy.delay(retry, rng, self._own(previous_s)))

    def delays(
        self,
        retry: int,
        rng: np.random.Generator,
        size: int,
        previous_s: float | NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Draw `size` delays, shape (size,); previous_s may be one delay for all or one per event."""
        import numpy as np

        before = None if previous_s is None else previous_s / self.factor
        made: NDArray[np.float64] = np.vectorize(saturate, otypes=[np.float64])(
            self.factor * self.policy.delays(retry, rng, size, before)
        )
        return made

    def moments(self, retry: int) -> Moments:
        """Return support, mean (s) and variance (s²); None where the policy itself has none."""
        own = self.policy.moments(retry)
        return Moments(
            saturate(self.factor * own.min_s),
            None if own.mean_s is None else self.factor * own.mean_s,
            saturate(self.factor * own.max_s),
            None if own.var_s2 is None else self.factor**2 * own.var_s2,
        )

    def support(self, retry: int, previous_s: float | None = None) -> tuple[float, float]:
        """Return the least and largest delay in seconds."""
        low_s, high_s = self.policy.support(retry, self._own(previous_s))
        return saturate(self.factor * low_s), saturate(self.factor * high_s)

    def mean_s(self, retry: int) -> float:
        """Return the mean in seconds."""
        return self.factor * self.policy.mean_s(retry)

    def chain(self, rng: Chance, retries: int) -> tuple[float, ...]:
        """Draw the delays of one event before retries 1 to `retries`, each from the one before it."""
        delays_s: list[float] = []
        for retry in range(1, retries + 1):
            delays_s.append(self.delay(retry, rng, delays_s[-1] if delays_s else None))
        return tuple(delays_s)

    def gives_up(self, failures: int, elapsed_s: float, next_delay_s: float) -> bool:
        """Tell whether the failure just seen is the last one."""
        return self.policy.gives_up(failures, elapsed_s / self.factor, next_delay_s / self.factor)

    def _own(self, delay_s: float | None) -> float | None:
        return None if delay_s is None else delay_s / self.factor

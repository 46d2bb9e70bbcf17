"""A retry budget: retries in proportion to first tries, so that a storm of them cannot outgrow the load that made it.

A token bucket, as Finagle's RetryBudget and gRPC's retry throttling have it (there per client, in memory; here the
whole fleet shares one): every first try pays in `ratio` tokens, time pays in `floor_per_s`, every retry takes one, and
the bucket holds `burst` at most. What finds no token stays FAILED and due, and comes later.
"""

from dataclasses import dataclass
from typing import NamedTuple

from tem_sim.pipeline.bounds import within

_MOST = 1e9
# Sums of floats: a bucket that should hold 3 tokens may hold 2.9999999999.
_ROUNDING = 1e-6


class Bucket(NamedTuple):
    """The tokens at hand, and up to when time has paid in."""

    tokens: float
    filled_at: float

    @property
    def whole(self) -> int:
        """How many retries they allow."""
        return int(self.tokens + _ROUNDING)

    def less(self, retries: int) -> "Bucket":
        """Return the bucket after so many retries were taken out of it."""
        return Bucket(max(0.0, self.tokens - retries), self.filled_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryBudget:
    """What fills the bucket. The floor is above 0, so that no retry waits for ever once no new events come."""

    ratio: float = 0.1
    floor_per_s: float = 10.0
    burst: float = 100.0

    def __post_init__(self) -> None:
        within("retry_budget.ratio", self.ratio, 0.0, 1.0, 0.1)
        within("retry_budget.floor_per_s", self.floor_per_s, 1e-6, _MOST, 10.0)
        within("retry_budget.burst", self.burst, 1.0, _MOST, 100.0)

    def full(self, now: float) -> Bucket:
        """Return the bucket as it is at first: a pipeline that starts anew owes nobody restraint yet."""
        return Bucket(self.burst, now)

    def filled(self, bucket: Bucket, now: float) -> Bucket:
        """Return the bucket with what time has paid in; a clock that was set back pays nothing."""
        later = max(now, bucket.filled_at)
        return Bucket(min(self.burst, bucket.tokens + self.floor_per_s * (later - bucket.filled_at)), later)

    def earned(self, first_tries: int) -> float:
        """Return the tokens that so many first tries pay in."""
        return self.ratio * first_tries

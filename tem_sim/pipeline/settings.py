"""The settings of the pipeline, each hole of the first version a switch that is closed by default."""

from dataclasses import dataclass, field
from enum import StrEnum

from tem_sim.pipeline.backoff import Backoff, Exponential, Policy
from tem_sim.pipeline.bounds import count, seconds
from tem_sim.pipeline.breaker import CircuitBreaker
from tem_sim.pipeline.retry_budget import RetryBudget
from tem_sim.pipeline.shedding import Shedding


class WriteGuard(StrEnum):
    """What stands between a worker's finishing write and a row that has changed since it was claimed.

    `stale` is the historic bug: the failure is counted in one transaction, then the row is overwritten from the object
    read at the claim, count and all. `refresh` is the historic fix: read again before that second write. `row_lock`
    reads and writes under a row lock. `version` compares the version read at the claim. `fenced` writes only while
    this very claim still holds the row.
    """

    STALE = "stale"
    REFRESH = "refresh"
    ROW_LOCK = "row_lock"
    VERSION = "version"
    FENCED = "fenced"


class Isolation(StrEnum):
    """Whether an event's failure is its own (`event`) or its whole batch's (`batch`, the first version's bug)."""

    EVENT = "event"
    BATCH = "batch"


class ClaimOrder(StrEnum):
    """Which QUEUED rows a claim takes first; those behind may starve as long as others keep coming.

    `oldest_first` starves nobody. `new_first` takes events that have not failed yet before all retries, and in each of
    the two groups the longest waiting. `newest_first` takes what was queued last, be it new or a retry.
    """

    OLDEST_FIRST = "oldest_first"
    NEW_FIRST = "new_first"
    NEWEST_FIRST = "newest_first"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the pipeline behaves. None switches a protection off, so that its absence can be studied.

    The settings from `claim_order` on are mitigations against overload, and off by default.
    """

    policy: Policy = field(default_factory=lambda: Backoff(Exponential(10.0), max_retries=5))
    batch_size: int = 50
    settle_every: int = 50
    lease_s: float | None = 60.0
    sweep_after_s: float | None = 60.0
    requeue_limit: int | None = 500
    relay_limit: int = 500
    crash_budget: int | None = 3
    write_guard: WriteGuard = WriteGuard.FENCED
    outbox: bool = True
    isolation: Isolation = Isolation.EVENT
    claim_order: ClaimOrder = ClaimOrder.OLDEST_FIRST
    deadline_s: float | None = None
    concurrency_limit: int | None = None
    retry_budget: RetryBudget | None = None
    shedding: Shedding | None = None
    breaker: CircuitBreaker | None = None

    def __post_init__(self) -> None:
        for name in _COUNTS:
            value = getattr(self, name)
            if value is not None:
                count(f"settings.{name}", value, least=0 if name == "crash_budget" else 1)
        for name in _INTERVALS:
            value = getattr(self, name)
            if value is not None:
                seconds(f"settings.{name}", value, above=0.0)


_COUNTS = ("batch_size", "settle_every", "requeue_limit", "relay_limit", "crash_budget", "concurrency_limit")
_INTERVALS = ("lease_s", "sweep_after_s", "deadline_s")

"""The mitigations against overload as a scenario writes them, and the combinations of them that do nothing or harm."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

from tem_sim.pipeline import breaker, retry_budget, shedding
from tem_sim.scenario.base import Model
from tem_sim.scenario.quantities import (
    Count,
    Duration,
    Fraction,
    PositiveCount,
    PositiveDuration,
    PositiveRate,
    number_between,
)

if TYPE_CHECKING:
    from tem_sim.scenario.models import Scenario


class RetryBudget(Model):
    """A bucket of tokens, one for each retry; first tries and time fill it."""

    ratio: Fraction = Field(0.1, description="Tokens that each first try pays in.")
    floor_per_s: PositiveRate = Field(
        10.0, alias="floor", description="Tokens that time pays in, so that retries never starve."
    )
    burst: PositiveCount = Field(100, description="Tokens that the bucket holds at most; at the start it is full.")

    def settings(self) -> retry_budget.RetryBudget:
        """Return what the pipeline's own code takes."""
        return retry_budget.RetryBudget(ratio=self.ratio, floor_per_s=self.floor_per_s, burst=self.burst)


class Shedding(Model):
    """When the Event API refuses what clients submit."""

    above: Count = Field(5000, description="Refuse while more events than this are QUEUED, PROCESSING or FAILED.")
    retry_after_s: Duration = Field(
        5.0, alias="retry_after", description="When a client may come again; it takes up to twice as long, by chance."
    )

    def settings(self) -> shedding.Shedding:
        """Return what the pipeline's own code takes."""
        return shedding.Shedding(above=self.above, retry_after_s=self.retry_after_s)


class Breaker(Model):
    """A circuit that the whole fleet shares: while it is open, no event is claimed."""

    failure_rate: Annotated[
        float,
        BeforeValidator(number_between(0.001, 1)),
        WithJsonSchema({"type": "number", "minimum": 0.001, "maximum": 1}),
    ] = Field(0.5, description="The share of calls that must fail for the circuit to open.")
    minimum_calls: PositiveCount = Field(
        20, description="Calls that a window must have seen; workers also report as often as that."
    )
    window_s: PositiveDuration = Field(
        10.0, alias="window", description="How long calls are counted before it starts anew."
    )
    cool_down_s: PositiveDuration = Field(
        5.0, alias="cool_down", description="How long it stays open before a few events are tried."
    )
    probes: PositiveCount = Field(5, description="How many events are then tried; at most a batch.")

    def settings(self) -> breaker.CircuitBreaker:
        """Return what the pipeline's own code takes."""
        return breaker.CircuitBreaker(**dict(self))


def warnings(scenario: Scenario) -> Iterator[str]:
    """Yield what is allowed and yet likely not what was meant, a sentence each."""
    yield from _deadline(scenario)
    yield from _concurrency(scenario)
    yield from _polling(scenario)
    yield from _breaker(scenario)
    yield from _budget(scenario)


def _deadline(scenario: Scenario) -> Iterator[str]:
    deadline_s, policy = scenario.pipeline.deadline_s, scenario.policy()
    if deadline_s is None:
        return
    soonest_s = policy.support(1)[0]
    if soonest_s >= deadline_s and policy.max_retries != 0:
        yield (
            f"The first retry waits for {soonest_s:g} s at least and the deadline is {deadline_s:g} s "
            "(pipeline.deadline): no event is ever tried again."
        )
    if policy.budget_s is not None and policy.budget_s > deadline_s:
        yield (
            f"The policy's budget is {policy.budget_s:g} s and the deadline {deadline_s:g} s (pipeline.deadline): "
            "retries are booked that will not be handed to the handler any more."
        )


def _concurrency(scenario: Scenario) -> Iterator[str]:
    limit, workers = scenario.pipeline.concurrency_limit, scenario.workers
    if limit is None:
        return
    slots = workers.count * workers.concurrency
    if limit >= slots:
        yield f"The concurrency limit (pipeline.concurrency_limit) is {limit} and there are {slots} slots: it is idle."
    if scenario.pipeline.lease_s is None:
        yield (
            "There is a concurrency limit and no lease (pipeline.lease): a worker that dies for good keeps its place."
        )
    if scenario.pipeline.sweep_after_s is None:
        yield (
            "There is a concurrency limit and no sweep (pipeline.sweep_after): what finds no place waits for a wake-up "
            "that gets lost with the worker that owes it."
        )


def _polling(scenario: Scenario) -> Iterator[str]:
    floor_s, period_s = scenario.beat.retry_floor_s, scenario.beat.retry_every_s
    if floor_s is None:
        return
    if floor_s >= period_s:
        yield f"The floor of the polling is {floor_s:g} s (beat.retry_floor), the period {period_s:g} s: it is idle."
    if scenario.pipeline.requeue_limit is None:
        yield "Polling adapts to ticks that fill pipeline.requeue_limit (beat.retry_floor), which is off: it is idle."


def _breaker(scenario: Scenario) -> Iterator[str]:
    guard, pipeline = scenario.pipeline.breaker, scenario.pipeline
    if guard is None:
        return
    if pipeline.sweep_after_s is None:
        yield (
            "There is a breaker and no sweep (pipeline.sweep_after): if the worker that closes the circuit dies before "
            "it has announced what waits, nobody does."
        )
    if pipeline.deadline_s is not None and pipeline.deadline_s <= guard.cool_down_s:
        yield (
            f"The breaker's cool-down is {guard.cool_down_s:g} s and the deadline {pipeline.deadline_s:g} s "
            "(pipeline.deadline): what was queued before the circuit opened expires while it is open."
        )


def _budget(scenario: Scenario) -> Iterator[str]:
    """Warn of budgets so small that the retries of one outage would outlast the run."""
    budget = scenario.pipeline.retry_budget
    if budget is None:
        return
    load = sum(process.expected(scenario.horizon_s) for process in scenario.arrivals) / scenario.horizon_s
    outages_s = [fault.for_s for fault in scenario.faults if fault.kind == "outage"]
    waiting = load * sum(outages_s)
    paid_s = max(0.0, waiting - budget.burst) / (budget.floor_per_s + budget.ratio * load)
    if paid_s > scenario.horizon_s:
        yield (
            f"About {waiting:.0f} events meet an outage, and their budget (pipeline.retry_budget) pays for one retry "
            f"of each in {paid_s:.0f} s: the run ends before, at {scenario.horizon_s:g} s."
        )

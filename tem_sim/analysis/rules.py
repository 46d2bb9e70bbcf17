"""What the run's scenario promised, as the few values that checks and metrics judge by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tem_sim.scenario.distributions import Constant

if TYPE_CHECKING:
    from tem_sim.frames import Run
    from tem_sim.pipeline.settings import Settings
    from tem_sim.scenario.faults.clock import ClockError
    from tem_sim.scenario.faults.kinds import AnyFault
    from tem_sim.scenario.models import Scenario


# The store keeps microseconds: a time or delay may be off by one in its last digit.
ROUNDING_S = 1e-6
# Where the pipeline ran for real: what starting a process takes, and a machine that is busy with others.
LIVE_SLACK_S = 5.0
# There the clock is read before a transaction begins. On SQLite it may then wait for others up to so long, and on any
# store while a fault holds the locks; on PostgreSQL rows that are locked are skipped.
LIVE_STALE_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The pipeline's settings, the scheduler's periods, and how far clocks may be off.

    `skew_s`: the furthest that the declared faults can take two clocks apart. `slots`: handler calls that can run
    at the same time, be it the workers or the downstream's servers that are fewer. `service_s`: the mean time of a call
    that is served, for events of no special kind. `fail_s`: the time of a call that is refused. `slack_s`: what may
    come on top of any wait. `stale_s`: how old the time may be that a transaction writes.
    """

    settings: Settings
    retry_every_s: float
    rescue_every_s: float
    skew_s: float
    slots: int
    service_s: float
    fail_s: float
    slack_s: float
    stale_s: float


def rules(run: Run) -> Rules:
    """Return the rules of the run's scenario."""
    scenario, simulated = run.scenario, run.mode == "sim"
    return Rules(
        settings=scenario.settings(),
        retry_every_s=scenario.beat.retry_every_s,
        rescue_every_s=scenario.beat.rescue_every_s,
        skew_s=worst_skew_s(scenario),
        slots=_slots(scenario),
        service_s=scenario.handler.service_time.mean_s,
        fail_s=scenario.handler.fail_time_s,
        slack_s=0.0 if simulated else LIVE_SLACK_S,
        stale_s=_stale_s(scenario) if simulated else _live_stale_s(run),
    )


def _stale_s(scenario: Scenario) -> float:
    """Return how much longer one simulated transaction may take than another: it writes the time at which it was begun.

    Where a transaction is one instant, and its latency comes before it.
    """
    store = scenario.store
    if store.interleave != "transaction" or isinstance(store.latency_s, Constant):
        return 0.0
    return store.latency_s.quantile(1 - 2.0**-53)


def _live_stale_s(run: Run) -> float:
    waits = run.store == "sqlite" or any(fault.kind == "database_locked" for fault in run.scenario.faults)
    return LIVE_STALE_S if waits else LIVE_SLACK_S


def _slots(scenario: Scenario) -> int:
    workers = scenario.workers.count * scenario.workers.concurrency
    downstream = scenario.handler.capacity
    return workers if downstream is None else min(workers, downstream.servers)


def worst_skew_s(scenario: Scenario) -> float:
    """Return the furthest that faults of the clocks, their drift included, can take two clocks apart.

    Errors of one node that overlap in time add up.
    """
    errors = [error for fault in scenario.faults for error in _clock_errors(fault)]
    ahead_s, behind_s = 0.0, 0.0
    for node in {error.target for error in errors}:
        for now_s in {error.from_s for error in errors}:
            on = [error for error in errors if _covers(error.target, node) and _is_on(error, now_s)]
            ahead_s = max(ahead_s, sum(error.most_s for error in on))
            behind_s = min(behind_s, sum(error.least_s for error in on))
    return ahead_s - behind_s


def _clock_errors(fault: AnyFault) -> list[ClockError]:
    """Return what a fault declares to do to clocks, if anything."""
    declares = getattr(fault, "clock_error", None)
    return [] if declares is None else [declares()]


def _is_on(error: ClockError, now_s: float) -> bool:
    return error.from_s <= now_s and (error.until_s is None or now_s < error.until_s)


def _covers(target: str, node: str) -> bool:
    return target in (node, "*") or (target == "workers" and node.startswith("worker-"))

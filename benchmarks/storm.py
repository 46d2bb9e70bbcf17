"""The thing measured: the shipped retry storm through the whole pipeline, on SQLite in memory."""

from __future__ import annotations

from pathlib import Path

from benchmarks.measure import Measurement, peak_mb, timed
from tem_sim.scenario.loader import load
from tem_sim.scenario.models import Scenario

EVENTS = 10_000
SEED = 1
FILE = Path(__file__).parent.parent / "scenarios" / "retry_storm.yaml"


def storm(events: int = EVENTS) -> Scenario:
    """Return the shipped storm with that many events.

    The pipeline grows with them (worker nodes, rows requeued per tick): through the same 64 slots ten times the events
    would mostly queue during the outage instead of retrying, and the amplification could not be compared.
    """
    shipped = load(FILE)
    if events == EVENTS:
        return shipped
    return load(FILE, overrides(shipped, events))


def overrides(shipped: Scenario, events: int) -> list[str]:
    """Return what `--set` must say to scale the storm to that many events."""
    factor = events / EVENTS
    requeued = shipped.settings().requeue_limit or EVENTS
    return [
        f"arrivals.events={events}",
        f"workers.count={max(1, round(shipped.workers.count * factor))}",
        f"pipeline.requeue_limit={max(1, round(requeued * factor))}",
    ]


def slots(scenario: Scenario) -> int:
    """Return how many attempts can run at once."""
    return scenario.workers.count * scenario.workers.concurrency


def crowded(events: int) -> Scenario:
    """Return the shipped storm with that many events and nothing else changed."""
    return load(FILE, [f"arrivals.events={events}"])


def measure(scenario: Scenario) -> tuple[Measurement, Measurement]:
    """Run a storm; return what the run took, and what reading its frames out of the store took on top."""
    from tem_sim.sim.world import World

    with timed() as running:
        world = World(scenario, SEED, "sqlite://")
        world.run()
    peak_after_run_mb = peak_mb()
    with timed() as reading:
        run = world.read_out()
    events, attempts = len(run.events), len(run.attempts)
    world.close()
    facts = {
        "events": float(events),
        "amplification": attempts / events,
        "transactions": float(world.database.store.transactions),
        "statements": float(world.database.statements),
        "simulated_s": run.end_s,
    }
    return (
        Measurement("storm", attempts, running.cpu_s, running.wall_s, peak_after_run_mb, facts),
        Measurement("frames", attempts, reading.cpu_s, reading.wall_s, peak_mb()),
    )

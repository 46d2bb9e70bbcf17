"""Two simulators without a store: as many customers through an M/M/c queue as the storm had attempts."""

from __future__ import annotations

from benchmarks.measure import Measurement, peak_mb, timed

# The storm's slots, its mean time in the handler (most attempts meet the outage: 40 ms), and a busy but stable queue.
SERVERS = 64
MEAN_SERVICE_S = 0.037
UTILISATION = 0.8
ARRIVAL_RATE_PER_S = UTILISATION * SERVERS / MEAN_SERVICE_S


def measure_ciw(customers: int) -> tuple[Measurement, Measurement]:
    """Serve that many customers with Ciw; return the simulation, and reading out its records on top."""
    import ciw

    with timed() as running:
        network = ciw.create_network(
            arrival_distributions=[ciw.dists.Exponential(rate=ARRIVAL_RATE_PER_S)],
            service_distributions=[ciw.dists.Exponential(rate=1 / MEAN_SERVICE_S)],
            number_of_servers=[SERVERS],
        )
        ciw.seed(1)
        simulation = ciw.Simulation(network)
        simulation.simulate_until_max_customers(customers, method="Finish")
    with timed() as reading:
        records = simulation.get_all_records()
    served = len(records)
    return (
        Measurement("ciw", served, running.cpu_s, running.wall_s, peak_mb()),
        Measurement("ciw records", served, reading.cpu_s, reading.wall_s, peak_mb()),
    )


def measure_simpy(customers: int) -> Measurement:
    """Serve that many customers with SimPy: a Resource and one process per customer."""
    import random

    import simpy

    def customer(env: simpy.Environment, servers: simpy.Resource, chance: random.Random):  # type: ignore[no-untyped-def]
        with servers.request() as turn:
            yield turn
            yield env.timeout(chance.expovariate(1 / MEAN_SERVICE_S))

    def arrivals(env: simpy.Environment, servers: simpy.Resource, chance: random.Random):  # type: ignore[no-untyped-def]
        for _ in range(customers):
            yield env.timeout(chance.expovariate(ARRIVAL_RATE_PER_S))
            env.process(customer(env, servers, chance))

    with timed() as watch:
        env = simpy.Environment()
        env.process(arrivals(env, simpy.Resource(env, SERVERS), random.Random(1)))
        env.run()
    return Measurement("simpy", customers, watch.cpu_s, watch.wall_s, peak_mb())

"""One small scenario for all tests of the sweep, and a few of its cases."""

from tem_sim.faultsweep.cases import Case, cases_of
from tem_sim.faultsweep.reduced import reduced
from tem_sim.scenario.loader import loads
from tem_sim.scenario.models import Scenario

TEXT = """\
scenario: small
horizon: 80s
arrivals: {kind: poisson, rate: 20/s, from: 0s, until: 10s}
pipeline:
  backoff: {growth: exponential, base: 500ms, jitter: full, max_retries: 5}
  lease: 2s
  sweep_after: 2s
workers: {count: 4, concurrency: 2, startup: 100ms, restart_after: 500ms}
beat: {retry_every: 500ms, rescue_every: 1s, relay_every: 1s}
handler: {service_time: 200ms, failure_rate: 0.5}
faults:
  - {kind: outage, at: 1s, for: 3s}
"""


def small(*settings: str) -> Scenario:
    """Return the scenario with settings on top."""
    return loads(TEXT, settings)


def case(scenario: Scenario, place: str, fault: str, variant: str = "recovers") -> Case:
    """Return the first case with this fault at this place."""
    found = cases_of(variant, reduced(scenario, variant))
    return next(one for one in found if place in one.boundary.place and one.fault == fault)

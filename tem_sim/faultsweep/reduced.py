"""A scenario reduced to what a fault can be aimed at: one event, two workers, one scheduler, statement by statement.

All settings of the pipeline are the file's own. What is left out is load, luck, and faults.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tem_sim.scenario.models import Scenario

if TYPE_CHECKING:
    from pydantic import JsonValue

    Plain = dict[str, JsonValue]

# An attempt more than these shows nothing new, and takes longer.
MOST_RETRIES = 2
EVENT_AT_S = 0.5
# What each variant's handler does, so that between them all statements of the lifecycle are executed.
HANDLERS: dict[str, Plain] = {
    "recovers": {"fail_first": 1},
    "exhausts": {"fail_first": 1_000},
    "crashes": {"kinds": {"normal": {"effect": "kill"}}},
}


def variants(scenario: Scenario) -> dict[str, Scenario]:
    """Return the reduced scenario with each handler: one failure, then success; failures to EXTINCT; deaths to EXTINCT.

    Without a lease nothing is rescued after a death, and without a crash budget it never ends: then there is no third.
    """
    pipe = scenario.pipeline
    mortal = pipe.lease_s is not None and pipe.crash_budget is not None
    return {name: reduced(scenario, name) for name in HANDLERS if name != "crashes" or mortal}


def reduced(scenario: Scenario, variant: str) -> Scenario:
    """Return the scenario with one event, two workers of one slot, a handler without luck, and no fault."""
    plain = scenario.resolved()
    for name in ("matrix", "seeds", "thresholds", "about"):
        plain.pop(name, None)
    changed: Plain = {
        "scenario": f"{scenario.name}-{variant}",
        "stop": "drained",
        "arrivals": [{"kind": "burst", "at": EVENT_AT_S, "events": 1}],
        "faults": [],
        "events": {"kinds": {"normal": 1.0}, "payload_bytes": scenario.events.payload_bytes},
        "workers": {**_section(plain, "workers"), "count": 2, "concurrency": 1},
        "store": {**_section(plain, "store"), "interleave": "statement", "watch": True},
        "users": {**_section(plain, "users"), "count": 1, "connected": 1.0, "session": "off"},
        "handler": {**_handler(plain), **HANDLERS[variant]},
        "pipeline": _pipeline(plain),
    }
    made = Scenario.model_validate({**plain, **changed})
    return made.model_copy(update={"horizon_s": EVENT_AT_S + bound_s(made)})


def _section(plain: Plain, name: str) -> Plain:
    section = plain[name]
    assert isinstance(section, dict)
    return section


def _handler(plain: Plain) -> Plain:
    return {**_section(plain, "handler"), "failure_rate": 0.0, "fail_first": 0, "kinds": {}}


def _pipeline(plain: Plain) -> Plain:
    pipe = dict(_section(plain, "pipeline"))
    backoff = pipe["backoff"]
    if isinstance(backoff, dict) and isinstance(backoff.get("max_retries"), int):
        pipe["backoff"] = {**backoff, "max_retries": min(int(str(backoff["max_retries"])), MOST_RETRIES)}
    if isinstance(pipe.get("crash_budget"), int):
        pipe["crash_budget"] = min(int(str(pipe["crash_budget"])), 1)
    return pipe


def bound_s(scenario: Scenario) -> float:
    """Return by when an event that arrives now has surely come to its end, with any one fault that is over by then.

    The file's horizon where the settings promise no such time: without a lease, a sweep, or an end of retries.
    """
    pipe, beat, policy = scenario.pipeline, scenario.beat, scenario.policy()
    if pipe.lease_s is None or pipe.sweep_after_s is None or policy.max_retries is None:
        return scenario.horizon_s
    retries, previous_s, waits_s = policy.max_retries, 0.0, 0.0
    for retry in range(1, retries + 1):
        previous_s = policy.support(retry, previous_s if policy.needs_previous else None)[1]
        waits_s += previous_s
    call_s = scenario.handler.service_time.quantile(0.999)
    attempts = retries + 2 + (pipe.crash_budget or 0)
    # Each attempt may be lost with its lease, or its wake-up with the queue.
    each_s = pipe.lease_s + pipe.sweep_after_s + 2 * beat.rescue_every_s + beat.retry_every_s + call_s
    return float(waits_s + attempts * each_s + (scenario.workers.restart_after_s or 5.0) + scenario.workers.startup_s)

"""Variants of a scenario: the same load and luck under other settings, so that their difference is the settings'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tem_sim.scenario.faults.downstream import Outage
from tem_sim.scenario.loader import overridden
from tem_sim.scenario.models import Scenario

Overrides = str | Sequence[str]


def scenario_with(scenario: Scenario, *overrides: str) -> Scenario:
    """Return the scenario with each `path=value` set on top, as `--set` does; ScenarioError for what does not fit."""
    return overridden(scenario, overrides) if overrides else scenario


def variants(scenario: Scenario, named: Mapping[str, Overrides]) -> dict[str, Scenario]:
    """Return a scenario per name, each with its own `path=value` set on top; an empty list is the scenario as it is.

    `variants(storm, {"walls": "pipeline.backoff.jitter=none", "as shipped": []})`.
    """
    return {name: scenario_with(scenario, *_listed(overrides)) for name, overrides in named.items()}


def variants_of(scenario: Scenario, path: str, values: Sequence[object]) -> dict[str, Scenario]:
    """Return a scenario per value of one setting, named by the value.

    `variants_of(storm, "beat.retry_every", ["1s", "5s"])`.
    """
    return variants(scenario, {str(value): f"{path}={value}" for value in values})


def _listed(overrides: Overrides) -> Sequence[str]:
    return [overrides] if isinstance(overrides, str) else overrides


def the_outage(scenario: Scenario) -> Outage:
    """Return the scenario's outage; ValueError unless it has exactly one."""
    found = [fault for fault in scenario.faults if isinstance(fault, Outage)]
    if len(found) != 1:
        raise ValueError(f"{scenario.name}: must have one outage among its faults, got {len(found)}")
    return found[0]


def with_outage(scenario: Scenario, for_s: float | None, **changes: object) -> Scenario:
    """Return the scenario with its outage lasting that long, or without it for None; other faults stay.

    The outage is put last of all faults: a fault's luck goes by its number, and so the others have the same luck with
    and without it.

    `changes` are sections in place of the scenario's own, by their YAML keys.
    """
    outage = the_outage(scenario)
    faults = [fault.resolved() for fault in scenario.faults if fault is not outage]
    if for_s is not None:
        faults.append({**outage.resolved(), "for": for_s})
    return Scenario.model_validate({**scenario.resolved(), "faults": faults, **changes})

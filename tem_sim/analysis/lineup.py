"""Which policies are compared, by name, and under which seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from tem_sim.pipeline.backoff import (
    Additive,
    Backoff,
    Decorrelated,
    Equal,
    Exponential,
    Full,
    Jitter,
    NoJitter,
    Proportional,
)
from tem_sim.pipeline.presets import preset_policy

if TYPE_CHECKING:
    from tem_sim.pipeline.backoff import Policy

    Policies: TypeAlias = Mapping[str, Policy | str] | Sequence[str | Policy] | Policy | str


def lineup(policies: Policies) -> dict[str, Policy]:
    """Return the policies by name: those of a mapping by its keys, presets by their names, other values by their own.

    ValueError where there is none, where a value has no name of its own, or where two have the same.
    """
    if isinstance(policies, Mapping):
        found = {name: preset_policy(value) if isinstance(value, str) else value for name, value in policies.items()}
    else:
        several = policies if isinstance(policies, Sequence) and not isinstance(policies, str) else [policies]
        found = {}
        for policy in several:
            name, value = _named(policy)
            if name in found:
                raise ValueError(f"policies: two are named {name!r}; hand in a mapping from names to policies")
            found[name] = value
    if not found:
        raise ValueError("policies: must be at least one")
    return found


def retrying(policies: Policies) -> dict[str, Policy]:
    """Return the policies by name; ValueError also where one makes no retries, of which there is nothing to see."""
    found = lineup(policies)
    for name, policy in found.items():
        if policy.max_retries == 0:
            raise ValueError(f"policies: {name} makes no retries; leave it out")
    return found


def jitters(
    base_s: float = 10.0, factor: float = 2.0, cap_s: float | None = None, max_retries: int | None = 5
) -> dict[str, Policy]:
    """Return one policy per kind of jitter, all on the same growth: none, additive, proportional, equal, full, …

    Additive jitter is half the base wide, proportional jitter ±10 %; decorrelated jitter grows by 3 as ever.
    """
    kinds: dict[str, Jitter] = {
        "none": NoJitter(),
        "additive": Additive(base_s / 2),
        "proportional": Proportional(0.1),
        "equal": Equal(),
        "full": Full(),
        "decorrelated": Decorrelated(),
    }
    growth = Exponential(base_s, factor)
    return {kind: Backoff(growth, jitter, cap_s, max_retries, name=kind) for kind, jitter in kinds.items()}


def _named(policy: str | Policy) -> tuple[str, Policy]:
    if isinstance(policy, str):
        return policy, preset_policy(policy)
    if not policy.name:
        raise ValueError(f"policies: {policy!r} has no name; hand in a mapping from names to policies")
    return policy.name, policy

"""What the mitigations remember in the store, read as gauges; nothing where they are off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tem_sim.pipeline import shared_state
from tem_sim.pipeline.breaker import CircuitState

if TYPE_CHECKING:
    from tem_sim.pipeline.settings import Settings
    from tem_sim.pipeline.store import Store

# How open a circuit is.
_OPENNESS = {CircuitState.CLOSED: 0.0, CircuitState.HALF_OPEN: 0.5, CircuitState.OPEN: 1.0}


def mitigation_gauges(store: Store, settings: Settings, now: float) -> dict[str, float]:
    """Return `circuit_open` (0 closed, 0.5 half-open, 1 open) and `retry_tokens`, each where there is such a thing."""
    gauges = {}
    if settings.breaker is not None:
        gauges["circuit_open"] = _OPENNESS[shared_state.read_circuit(store, now).state]
    if settings.retry_budget is not None:
        gauges["retry_tokens"] = shared_state.read_bucket(store, settings.retry_budget, now).tokens
    return gauges

"""What a fault of each kind has besides its time: drawn from short lists of what matters, the simplest first.

A kind without an entry has its time, and everything else as by default.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from hypothesis import strategies as st

from tem_sim.scenario.faults.base import STATEMENT_EDGES

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn
    from pydantic import JsonValue

    from tem_sim.hunt.space import Times
    from tem_sim.scenario.models import Scenario

Plain: TypeAlias = "dict[str, JsonValue]"
Draw: TypeAlias = "Callable[[DrawFn, Scenario, Times], Plain]"

# Who passes which edge; all others are the workers'.
_PASSES: dict[str, tuple[str, ...]] = {
    "after_commit_before_wake": ("api", "beat"),
    "before_publish": ("beat", "workers"),
    "after_publish": ("beat", "workers"),
    **dict.fromkeys(STATEMENT_EDGES, ("workers", "beat", "api")),
}


def workers(scenario: Scenario) -> tuple[str, ...]:
    """Return some workers' names: they are alike, so a first, a second and others are all that matters."""
    return tuple(f"worker-{n}" for n in range(1, min(scenario.workers.count, 3) + 1))


def nodes(scenario: Scenario) -> tuple[str, ...]:
    """Return whom a fault of any node may strike."""
    return (*workers(scenario), "workers", "beat", "api", "gateway", "*")


def passers(edge: str, scenario: Scenario) -> tuple[str, ...]:
    """Return whom a fault may strike that lies in wait at an edge."""
    return _PASSES.get(edge, ("workers", *workers(scenario)))


# --- the parts of draws


def _and(*draws: Draw) -> Draw:
    def all_of(draw: DrawFn, scenario: Scenario, times: Times) -> Plain:
        return {key: value for each in draws for key, value in each(draw, scenario, times).items()}

    return all_of


def _one(key: str, *values: JsonValue) -> Draw:
    return lambda draw, scenario, times: {key: draw(st.sampled_from(values))}


def _length(key: str) -> Draw:
    return lambda draw, scenario, times: {key: draw(st.sampled_from(times.lengths_s))}


def _short(draw: DrawFn, times: Times) -> float:
    """Draw one of several times that must together be over when one alone would be."""
    third_s = times.before_s / 3
    return draw(st.sampled_from([time_s for time_s in times.lengths_s if time_s <= third_s] or [third_s]))


def _shorter(*keys: str) -> Draw:
    return lambda draw, scenario, times: {key: _short(draw, times) for key in keys}


def _signed(key: str) -> Draw:
    def signed(draw: DrawFn, scenario: Scenario, times: Times) -> Plain:
        sign = draw(st.sampled_from((1.0, -1.0)))
        return {key: sign * draw(st.sampled_from(times.lengths_s))}

    return signed


def _restart(draw: DrawFn, scenario: Scenario, times: Times) -> Plain:
    return {"restart_after": draw(st.sampled_from((0.0, *times.lengths_s)))}


def _phase(draw: DrawFn, scenario: Scenario, times: Times) -> Plain:
    return {"phase": draw(st.sampled_from((0.0, 0.002, 0.1, scenario.beat.relay_every_s / 2)))}


def _node(draw: DrawFn, scenario: Scenario, times: Times) -> Plain:
    return {"target": draw(st.sampled_from(nodes(scenario)))}


def _worker(draw: DrawFn, scenario: Scenario, times: Times) -> Plain:
    return {"target": draw(st.sampled_from(("workers", *workers(scenario))))}


_PROBABILITY = _one("probability", 1.0, 0.5)
_SHARE = _one("fraction", 1.0, 0.5)
_MESSAGES = _one("messages", "lost", "kept")

OF_KIND: dict[str, Draw] = {
    "worker_death": _restart,
    "worker_pause": _length("for"),
    "broker_restart": _MESSAGES,
    "beat_doubled": _phase,
    "wakeups_lost": _PROBABILITY,
    "gateway_disconnect": _SHARE,
    "clock_skew": _and(_node, _signed("skew")),
    # --- broker
    "queue_full": _and(_one("room", 1, 3), _one("policy", "reject_newest", "drop_oldest")),
    "wakeups_duplicated": _PROBABILITY,
    "wakeups_reordered": _length("within"),
    "wakeups_delayed": _length("countdown"),
    "publish_unanswered": _PROBABILITY,
    "child_death": _one("poison", False, True),
    "consumer_deaf": _length("for"),
    "pop_then_die": _and(_one("probability", 1.0, 0.5), _restart),
    # --- workers
    "worker_stop": _shorter("grace", "restart_after"),
    "out_of_memory": _and(
        _shorter("for", "restart_after"), _one("probability", 1.0, 0.3, 0.05), _one("kills", "node", "child")
    ),
    "worker_slow": _and(_node, _one("factor", 2.0, 10.0, 100.0)),
    "forked_seed": _worker,
    # --- scheduler
    "beat_late": _and(_shorter("by"), _one("overlap", False, True)),
    # --- clocks
    "clock_step": _and(_signed("step"), _length("corrected_after")),
    "clock_frozen": _node,
    "clock_resolution": _and(_node, _one("resolution", 0.001, 0.016, 1.0)),
    "leap_second": _and(_node, _one("leap", 1.0, -1.0)),
    # --- composites
    "swizzle": _and(_node, _one("fraction", 0.5, 1.0)),
    "rolling_restart": _shorter("for", "grace", "restart_after"),
    "bisect": _and(_one("target", "workers", "*"), _signed("skew")),
    "flap": _and(_node, _shorter("every"), _one("down", 0.5, 0.9), _one("by", "pause", "death")),
    "correlated": _and(_shorter("for", "restart_after"), _one("within", 0.1, 0.0), _MESSAGES),
    "metastable_kick": _and(_one("factor", 10.0, 100.0), _one("events", 1, 5)),
    # --- database
    "database_down": _one("connections", "dropped", "kept"),
    "commit_unanswered": _and(_PROBABILITY, _one("committed", 0.5, 1.0, 0.0)),
    "database_errors": _and(
        _one("error", "connection_lost", "serialization_failure", "deadlock", "lock_timeout", "statement_timeout"),
        _one("probability", 1.0, 0.3),
    ),
    "database_slow": _one("factor", 10.0, 100.0),
    # --- delivery and workload
    "notifications_doubled": _PROBABILITY,
    "notifications_reordered": _length("within"),
    "sockets_half_open": _SHARE,
    "slow_consumers": _SHARE,
    "users_offline": _SHARE,
    "acks_lost": _PROBABILITY,
    "read_lag": _shorter("lag"),
    "flaky": _PROBABILITY,
    "downstream_slow": _one("factor", 2.0, 10.0),
    "partial_effect": _PROBABILITY,
    "answers_lost": _PROBABILITY,
}

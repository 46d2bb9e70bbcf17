"""Fault schedules: any kinds, targets, times and triggers that fit a scenario with so many workers and that horizon."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from pydantic import JsonValue, TypeAdapter

from tem_sim.pipeline.ports import EDGES
from tem_sim.pipeline.settings import WriteGuard
from tem_sim.scenario.faults.base import STATEMENT_EDGES
from tem_sim.scenario.faults.kinds import AnyFault, Fault
from tem_sim.testing.pieces import Section, or_off, section, shares, times_s

_adapter: TypeAdapter[AnyFault] = TypeAdapter(Fault)
# What makes a fault for so many workers and that horizon.
_Make: TypeAlias = Callable[[int, float], SearchStrategy[Section]]


def fault_schedules(
    *, kinds: Sequence[str] | None = None, workers: int = 2, horizon_s: float = 60.0, max_faults: int = 4
) -> SearchStrategy[tuple[AnyFault, ...]]:
    """Generate tuples of valid faults, of these kinds, or of all that fit any scenario; simplest is the empty one."""
    one = fault_sections(kinds=kinds, workers=workers, horizon_s=horizon_s).map(fault_of)
    return st.lists(one, max_size=max_faults).map(tuple)


def fault_of(data: Section) -> AnyFault:
    """Return the fault that an item of a section `faults` stands for."""
    return _adapter.validate_python(data, by_alias=True, by_name=False)


def fault_sections(
    *, kinds: Sequence[str] | None = None, workers: int = 2, horizon_s: float = 60.0
) -> SearchStrategy[Section]:
    """Generate an item of the section `faults` of a file."""
    chosen = FAULT_KINDS if kinds is None else tuple(kinds)
    if unknown := set(chosen) - {*FAULT_KINDS, *STATEMENT_KINDS} or (not chosen and {"no kind"}):
        raise ValueError(f"kinds: must be of {', '.join(FAULT_KINDS)}, got {', '.join(sorted(unknown))}")
    return st.one_of([st.tuples(_of(kind), _KINDS[kind](workers, horizon_s)).map(_joined) for kind in chosen])


def _of(kind: str) -> SearchStrategy[Section]:
    return section({"kind": st.just(kind)})


# --- faults that last from a time on


def _window(
    horizon_s: float,
    always: dict[str, SearchStrategy[JsonValue]] | None = None,
    sometimes: dict[str, SearchStrategy[JsonValue]] | None = None,
) -> SearchStrategy[Section]:
    at_and_for = {"at": _starts_s(horizon_s), "for": times_s(0.5, max(0.5, horizon_s / 2))}
    return section({**at_and_for, **(always or {})}, sometimes)


def _starts_s(horizon_s: float) -> SearchStrategy[float]:
    """Return times before the horizon."""
    return times_s(0, horizon_s - 0.5) if horizon_s >= 1 else st.just(0.0)


def _outage(workers: int, horizon_s: float) -> SearchStrategy[Section]:
    return _window(horizon_s)


def _broker_restart(workers: int, horizon_s: float) -> SearchStrategy[Section]:
    kept = section({}, {"messages": st.just("kept"), "undone": times_s(0, 5), "resubscribe_after": times_s(0, 5)})
    what = st.one_of(kept, section({"messages": st.just("lost")}))
    return st.tuples(_window(horizon_s), what).map(_joined)


def _beat_doubled(workers: int, horizon_s: float) -> SearchStrategy[Section]:
    return _window(horizon_s, {}, {"phase": times_s(0, 1, 0.1), "more": st.integers(1, 3)})


def _wakeups_lost(workers: int, horizon_s: float) -> SearchStrategy[Section]:
    return _window(horizon_s, {}, {"probability": shares()})


def _gateway_disconnect(workers: int, horizon_s: float) -> SearchStrategy[Section]:
    return _window(horizon_s, {}, {"fraction": shares(), "reconnect_within": times_s(0, 10)})


def _clock_skew(workers: int, horizon_s: float) -> SearchStrategy[Section]:
    drift = st.integers(-200, 200).map(lambda ppm: f"{ppm}ppm")
    return _window(horizon_s, {"target": _targets(workers)}, {"skew": times_s(-5, 5), "drift": drift})


def _clock_frozen(workers: int, horizon_s: float) -> SearchStrategy[Section]:
    return _window(horizon_s, {"target": _targets(workers)})


def _clock_resolution(workers: int, horizon_s: float) -> SearchStrategy[Section]:
    return _window(horizon_s, {"target": _targets(workers)}, {"resolution": times_s(0.001, 2, 0.001)})


def _leap_second(workers: int, horizon_s: float) -> SearchStrategy[Section]:
    return _window(horizon_s, {}, {"target": _targets(workers), "leap": st.sampled_from([1, -1])})


def _more(always: dict[str, SearchStrategy[JsonValue]] | None = None, **sometimes: SearchStrategy[JsonValue]) -> _Make:
    """Return what makes a fault with a window and these keys, of which the first are always given."""
    return lambda workers, horizon_s: _window(horizon_s, always, sometimes)


def _on_workers(
    always: dict[str, SearchStrategy[JsonValue]] | None = None, **sometimes: SearchStrategy[JsonValue]
) -> _Make:
    """Return the same for a fault that strikes one worker or all of them."""
    return lambda workers, horizon_s: _window(horizon_s, {"target": _of_workers(workers), **(always or {})}, sometimes)


def _on_nodes(
    always: dict[str, SearchStrategy[JsonValue]] | None = None, **sometimes: SearchStrategy[JsonValue]
) -> _Make:
    """Return the same for a fault that strikes any node, or several."""
    return lambda workers, horizon_s: _window(horizon_s, {"target": _targets(workers), **(always or {})}, sometimes)


# --- faults with a trigger


def _strikes_workers(**sometimes: SearchStrategy[JsonValue]) -> _Make:
    """Return what makes a fault with a trigger and these keys, that strikes one worker or all of them."""
    return lambda workers, horizon_s: st.tuples(
        _triggers(horizon_s), section({"target": _of_workers(workers)}, sometimes)
    ).map(_joined)


def _clock_step(workers: int, horizon_s: float) -> SearchStrategy[Section]:
    step = st.one_of(times_s(-90, -0.5), times_s(0.5, 90))
    return _triggered(workers, horizon_s, section({"step": step}, {"corrected_after": or_off(times_s(0.5, 90))}))


def _worker_death(workers: int, horizon_s: float) -> SearchStrategy[Section]:
    return _triggered(workers, horizon_s, section({}, {"restart_after": or_off(times_s(0, 10))}))


def _worker_pause(workers: int, horizon_s: float) -> SearchStrategy[Section]:
    return _triggered(workers, horizon_s, section({"for": times_s(0.5, 90)}))


def _triggered(workers: int, horizon_s: float, what: SearchStrategy[Section]) -> SearchStrategy[Section]:
    return st.tuples(section({"target": _targets(workers)}), _triggers(horizon_s), what).map(_joined)


def _triggers(horizon_s: float) -> SearchStrategy[Section]:
    return st.one_of(section({"at": _starts_s(horizon_s)}), _at_edge(), _at_random(horizon_s))


def _joined(parts: tuple[Section, ...]) -> Section:
    return {key: value for part in parts for key, value in part.items()}


def _at_edge() -> SearchStrategy[Section]:
    return section({"edge": st.sampled_from(EDGES)}, {"nth": st.integers(1, 10)})


def _at_random(horizon_s: float) -> SearchStrategy[Section]:
    """Return rates of some hits in all, with windows that open before the horizon and before they shut."""
    rate = st.integers(1, 5).map(lambda hits: round(hits / horizon_s, 6))
    windows = st.tuples(_starts_s(horizon_s), times_s(0.5, horizon_s)).map(
        lambda window: {"from": window[0], "until": window[0] + window[1]}
    )
    return st.builds(lambda rate, window: {"rate": rate, **window}, rate, st.one_of(st.just({}), windows))


def _targets(workers: int) -> SearchStrategy[JsonValue]:
    named = [f"worker-{number}" for number in range(1, workers + 1)]
    return st.sampled_from([*named, "workers", "beat", "api", "gateway", "*"])


def _of_workers(workers: int) -> SearchStrategy[JsonValue]:
    return st.sampled_from([*(f"worker-{number}" for number in range(1, workers + 1)), "workers"])


_KINDS: dict[str, _Make] = {
    "outage": _outage,
    "broker_restart": _broker_restart,
    "worker_death": _worker_death,
    "worker_pause": _worker_pause,
    "beat_stopped": _more(missed=st.sampled_from(["skipped", "fired"])),
    "beat_doubled": _beat_doubled,
    "wakeups_lost": _wakeups_lost,
    "gateway_disconnect": _gateway_disconnect,
    "clock_skew": _clock_skew,
    "clock_step": _clock_step,
    "clock_frozen": _clock_frozen,
    "clock_resolution": _clock_resolution,
    "leap_second": _leap_second,
    "worker_stop": _strikes_workers(grace=times_s(0, 20), restart_after=or_off(times_s(0, 10))),
    "out_of_memory": _on_workers(
        probability=shares(), kills=st.sampled_from(["node", "child"]), restart_after=or_off(times_s(0, 10))
    ),
    "worker_slow": _on_nodes(factor=st.integers(1, 50)),
    "old_version": _on_workers({"write_guard": st.sampled_from(list(WriteGuard))}, lease=times_s(1, 60)),
    "forked_seed": _on_workers(),
    "beat_late": _more({"by": times_s(0, 5, 0.1)}, overlap=st.booleans()),
    "beat_misrouted": _more(),
    "swizzle": _on_nodes(fraction=shares()),
    "rolling_restart": _on_workers(grace=times_s(0, 20), restart_after=times_s(0, 10)),
    "bisect": _on_nodes(fraction=shares(), skew=times_s(-60, 60)),
    "flap": _on_nodes({"every": times_s(1, 30)}, down=shares(0.05), by=st.sampled_from(["pause", "death"])),
    "metastable_kick": _more(factor=st.integers(2, 100), events=st.integers(0, 50)),
    "correlated": _on_workers(within=times_s(0, 1, 0.1), messages=st.sampled_from(["kept", "lost"])),
    "broker_frozen": _more(socket_timeout=or_off(times_s(0.5, 10))),
    "queue_full": _more(room=st.integers(0, 20), policy=st.sampled_from(["reject_newest", "drop_oldest"])),
    "wakeups_duplicated": _more(probability=shares(), gaps=st.lists(times_s(0, 90), min_size=1, max_size=4)),
    "wakeups_reordered": _more(within=times_s(0.5, 30)),
    "wakeups_delayed": _more({"countdown": times_s(0.5, 90)}),
    "publish_unanswered": _more(probability=shares(), tries=st.integers(1, 5)),
    "child_death": _strikes_workers(poison=st.booleans()),
    "consumer_deaf": _strikes_workers(**{"for": times_s(0.5, 60)}),
    "pop_then_die": _strikes_workers(probability=shares(), restart_after=or_off(times_s(0, 10))),
    "subscriber_gap": _more(counted=st.booleans()),
    "notifications_doubled": _more(
        probability=shares(), how=st.sampled_from(["twice", "unanswered"]), after=times_s(0, 5)
    ),
    "notifications_reordered": _more(within=times_s(0.5, 10)),
    "sockets_half_open": _more(fraction=shares()),
    "slow_consumers": _more(
        fraction=shares(),
        buffer=st.integers(0, 20),
        policy=st.sampled_from(["drop", "close"]),
        read_every=or_off(times_s(0.5, 10)),
    ),
    "users_offline": _more(fraction=shares(), reconnect_within=times_s(0, 10)),
    "acks_lost": _more(probability=shares()),
    "routing_stale": _more(fraction=shares()),
    "read_lag": _more(lag=times_s(0.5, 60)),
    "flaky": _more(probability=shares()),
    "downstream_slow": _more(factor=st.integers(1, 50), extra=times_s(0, 10), probability=shares()),
    "partial_effect": _more(probability=shares()),
    "answers_lost": _more(probability=shares()),
    "hot_key": _more(share=shares()),
    "huge_events": _more(share=shares(), payload_bytes=st.integers(0, 10_000), slowdown=st.integers(1, 50)),
}
FAULT_KINDS = (*_KINDS, "database_slow")


# --- faults of the database, of which most need a scenario with `store.interleave: statement`


def _database(
    always: dict[str, SearchStrategy[JsonValue]] | None = None, **sometimes: SearchStrategy[JsonValue]
) -> _Make:
    """Return what makes a fault with a window for the connections of some."""
    return lambda workers, horizon_s: _window(horizon_s, always, {"target": _whose(workers), **sometimes})


def _whose(workers: int) -> SearchStrategy[JsonValue]:
    return st.one_of(st.just("database"), _targets(workers))


def _connections_dropped(workers: int, horizon_s: float) -> SearchStrategy[Section]:
    at_statements = section({"edge": st.sampled_from(STATEMENT_EDGES)}, {"nth": st.integers(1, 100)})
    triggers = st.one_of(_triggers(horizon_s), at_statements)
    return st.tuples(section({}, {"target": _whose(workers)}), triggers).map(_joined)


_ERRORS = ("serialization_failure", "lock_timeout", "statement_timeout", "disk_full", "read_only", "connection_lost")
_DATABASE_KINDS: dict[str, _Make] = {
    "database_slow": _database({"factor": st.integers(2, 50)}, spread=st.integers(1, 5), serves=st.integers(1, 5)),
    "database_down": _database(connections=st.sampled_from(["dropped", "kept"])),
    "connections_dropped": _connections_dropped,
    "commit_unanswered": _database(probability=shares(), committed=shares()),
    "database_errors": _database({"error": st.sampled_from(_ERRORS)}, probability=shares()),
    "pool_exhausted": _database(places=or_off(st.integers(1, 15))),
    "database_locked": _more(),
    "failover": _more(),
}
STATEMENT_KINDS = tuple(kind for kind in _DATABASE_KINDS if kind not in FAULT_KINDS)
_KINDS.update(_DATABASE_KINDS)

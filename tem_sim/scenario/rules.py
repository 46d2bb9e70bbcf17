"""The rules that tie one part of a scenario to another, over whatever parts are themselves in order.

A file with a mistake in one section is still told about faults that aim at workers which do not exist. What a rule
needs and does not have, because that part is wrong already, it does not judge.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tem_sim.scenario import mitigations
from tem_sim.scenario.arrivals import Burst
from tem_sim.scenario.base import Broken
from tem_sim.scenario.errors import did_you_mean
from tem_sim.scenario.faults.base import ALL_EDGES, CLOCKED, STATEMENT_EDGES
from tem_sim.scenario.replay import Replay
from tem_sim.scenario.schedules import ReplaySchedule
from tem_sim.scenario.seeds import seeds_text
from tem_sim.scenario.store import Store

if TYPE_CHECKING:
    from tem_sim.scenario.arrivals import Arrival
    from tem_sim.scenario.faults.kinds import AnyFault
    from tem_sim.scenario.models import Scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts that the rules look at; None for one that is wrong. Faults and arrivals come with their index.

    `starts_s` has also the faults that are wrong elsewhere: index, key and time of their beginning.
    """

    horizon_s: float | None
    heal_at_s: float | None
    workers: int | None
    events_limit: int | None
    kinds: tuple[str, ...] | None
    special_kinds: tuple[str, ...]
    store: Store | None
    arrivals: tuple[tuple[int, Arrival], ...]
    faults: tuple[tuple[int, AnyFault], ...]
    starts_s: tuple[tuple[int, str, float], ...]

    @property
    def one_instant(self) -> bool:
        """Whether a transaction is known to be one instant."""
        return self.store is not None and self.store.interleave == "transaction"

    @classmethod
    def of(cls, scenario: Scenario) -> Parts:
        """Return the parts of a scenario whose fields are all in order."""
        return cls(
            horizon_s=scenario.horizon_s,
            heal_at_s=scenario.heal_at_s,
            workers=scenario.workers.count,
            events_limit=scenario.events.limit,
            kinds=tuple(scenario.events.kinds),
            special_kinds=tuple(scenario.handler.kinds),
            store=scenario.store,
            arrivals=tuple(enumerate(scenario.arrivals)),
            faults=tuple(enumerate(scenario.faults)),
            starts_s=tuple((index, _start_key(fault), fault.start_s) for index, fault in enumerate(scenario.faults)),
        )


def broken(parts: Parts) -> list[Broken]:
    """Return every rule that these parts break."""
    of_faults = _event_kinds, _faults_in_time, _healing, _targets, _edges, _between_statements
    rules = _arrivals, _kinds, *of_faults, _nodes_of_the_store, _threads_of_the_schedule
    return [problem for rule in rules for problem in rule(parts)]


def nodes(workers: int, faults: Iterable[AnyFault]) -> tuple[str, ...]:
    """Return the names that a fault may target: every node, and the groups."""
    return (*database_clients(workers, faults), "redis", "handler", "database", "workers", "*")


def database_clients(workers: int, faults: Iterable[AnyFault]) -> tuple[str, ...]:
    """Return the names of the nodes that have connections to the database."""
    return (*_workers(workers), "beat", *more_beats(faults), "api", "gateway")


def struck_nodes(target: str, workers: int, faults: Iterable[AnyFault]) -> list[str]:
    """Return the names of the nodes that a fault's target means."""
    everybody = [*_workers(workers), "beat", "api", "gateway"]
    groups = {"workers": _workers(workers), "*": everybody, "database": [*everybody, *more_beats(faults)]}
    return groups.get(target, [target])


def _workers(count: int) -> list[str]:
    return [f"worker-{number}" for number in range(1, count + 1)]


def more_beats(faults: Iterable[AnyFault]) -> tuple[str, ...]:
    """Return the names of the schedulers that faults start beside the first."""
    return max((fault.names for fault in faults if fault.kind == "beat_doubled"), key=len, default=())


def _arrivals(parts: Parts) -> Iterator[Broken]:
    if parts.horizon_s is None:
        return
    expected = 0.0
    for index, process in parts.arrivals:
        key = "at" if isinstance(process, Burst) else "from"
        if process.start_s >= parts.horizon_s:
            rule = f"must be before the horizon ({parts.horizon_s:g} s); raise the horizon or bring it forward"
            yield Broken(("arrivals", index, key), rule, process.start_s)
        else:
            expected += process.expected(parts.horizon_s)
    if parts.events_limit is not None and expected > parts.events_limit:
        rule = (
            f"must be at most {parts.events_limit} events in all (events.limit), about {expected:.0f} are expected; "
            "lower the rate or the time, or raise the limit"
        )
        yield Broken(("arrivals",), rule, None)


def _kinds(parts: Parts) -> Iterator[Broken]:
    for kind in parts.special_kinds:
        if parts.kinds is not None and kind not in parts.kinds:
            rule = f"must be a kind of events.kinds ({', '.join(parts.kinds)})"
            yield Broken(("handler", "kinds", kind), rule, kind, did_you_mean(kind, parts.kinds))


def _event_kinds(parts: Parts) -> Iterator[Broken]:
    for index, fault in parts.faults:
        kind = getattr(fault, "event_kind", None)
        if kind is not None and parts.kinds is not None and kind not in parts.kinds:
            rule = f"must be a kind of events.kinds ({', '.join(parts.kinds)})"
            yield Broken(("faults", index, "event_kind"), rule, kind, did_you_mean(kind, parts.kinds))


def _faults_in_time(parts: Parts) -> Iterator[Broken]:
    for index, key, start_s in parts.starts_s:
        if parts.horizon_s is not None and start_s >= parts.horizon_s:
            rule = f"must be before the horizon ({parts.horizon_s:g} s); raise the horizon or bring it forward"
            yield Broken(("faults", index, key), rule, start_s)


def _healing(parts: Parts) -> Iterator[Broken]:
    """Yield the faults that would begin when all faults are over, and an end of them that the run does not reach."""
    heal_s, horizon_s = parts.heal_at_s, parts.horizon_s
    if heal_s is None:
        return
    if horizon_s is not None and heal_s >= horizon_s:
        rule = f"must be before the horizon ({horizon_s:g} s), since it is what comes after it that is judged"
        yield Broken(("heal_at",), rule, heal_s)
    for index, key, start_s in parts.starts_s:
        if start_s >= heal_s:
            rule = f"must be before heal_at ({heal_s:g} s), by when all faults are over"
            yield Broken(("faults", index, key), rule, start_s)


def _start_key(fault: AnyFault) -> str:
    return "from" if getattr(fault, "from_s", None) else "at"


def _targets(parts: Parts) -> Iterator[Broken]:
    if parts.workers is None:
        return
    known = nodes(parts.workers, [fault for _, fault in parts.faults])
    for index, fault in parts.faults:
        hit = [name for name in known if _can_strike(fault, name)]
        if fault.target not in known:
            rule = f"must be a node of this scenario: {_listed(hit)}"
            yield Broken(("faults", index, "target"), rule, fault.target, did_you_mean(fault.target, hit))
        elif fault.target not in hit:
            rule = f"{fault.kind} cannot strike this node, only {_listed(hit)}"
            yield Broken(("faults", index, "target"), rule, fault.target)


def _edges(parts: Parts) -> Iterator[Broken]:
    for index, fault in parts.faults:
        edge = getattr(fault, "edge", None)
        if edge is not None and edge not in ALL_EDGES:
            rule = f"must be one of {', '.join(ALL_EDGES)}"
            yield Broken(("faults", index, "edge"), rule, edge, did_you_mean(edge, ALL_EDGES))
        elif edge in STATEMENT_EDGES and parts.one_instant:
            rule = "lies inside a transaction, which is one instant here; set store.interleave: statement"
            yield Broken(("faults", index, "edge"), rule, edge)


def _between_statements(parts: Parts) -> Iterator[Broken]:
    for index, fault in parts.faults:
        if parts.one_instant and getattr(fault, "needs_statements", False):
            rule = "strikes inside a transaction, which is one instant here; set store.interleave: statement"
            yield Broken(("faults", index, "kind"), rule, fault.kind)


def _nodes_of_the_store(parts: Parts) -> Iterator[Broken]:
    for name in parts.store.nodes if parts.store is not None else ():
        yield from _unknown_client(parts, name, ("store", "nodes", name))


def _threads_of_the_schedule(parts: Parts) -> Iterator[Broken]:
    schedule = parts.store.schedule if parts.store is not None else None
    if isinstance(schedule, ReplaySchedule):
        for step, thread in schedule.deviations.items():
            node = thread.partition("/")[0]
            yield from _unknown_client(parts, node, ("store", "schedule", "deviations", str(step)))


def _unknown_client(parts: Parts, name: str, loc: tuple[str, ...]) -> Iterator[Broken]:
    if parts.workers is None:
        return
    known = database_clients(parts.workers, [fault for _, fault in parts.faults])
    if name not in known:
        yield Broken(loc, f"{name} is no node of this scenario: {_listed([*known])}", None, did_you_mean(name, known))


def _can_strike(fault: AnyFault, node: str) -> bool:
    if node == "workers":
        return "worker" in fault.strikes
    if node == "*":
        return set(CLOCKED) <= set(fault.strikes)
    role = node.partition("-")[0]
    # A second scheduler exists only while another fault runs it, so none but clock and death faults may aim at it.
    return role in fault.strikes and (not node.startswith("beat-") or "worker" in fault.strikes)


def _listed(names: list[str]) -> str:
    """Name the nodes, many workers by the first and the last."""
    workers = [name for name in names if name.startswith("worker-")]
    if len(workers) <= 3:
        return ", ".join(names)
    return ", ".join([workers[0], "...", workers[-1], *(name for name in names if name not in workers)])


def warnings(scenario: Scenario) -> tuple[str, ...]:
    """Return what is allowed and yet likely not what was meant, a sentence each."""
    judged = (_one_of_many, _erased_jitter, _short_lease, _tight_crash_budget, _cut_arrivals, _idle_store_settings)
    told = (judge(scenario) for judge in judged)
    return (*(sentence for sentence in told if sentence), *mitigations.warnings(scenario))


def _one_of_many(scenario: Scenario) -> str:
    """Tell that a run is one of those that the file asks for."""
    asked = [
        *(["a matrix"] if scenario.matrix is not None else []),
        *([seeds_text(scenario.seeds)] if scenario.seeds is not None else []),
    ]
    if not asked:
        return ""
    return f"The file has {' and '.join(asked)} for `tem-sim sweep`; this is one run, of the scenario as it stands."


def _erased_jitter(scenario: Scenario) -> str:
    low_s, high_s = scenario.policy().support(1)
    tick_s = scenario.beat.retry_every_s
    if not 0 < high_s - low_s < tick_s:
        return ""
    return (
        f"The jitter of the first retry is {high_s - low_s:g} s wide and the scheduler looks every {tick_s:g} s "
        "(beat.retry_every): the tick gathers what the jitter spreads."
    )


def _short_lease(scenario: Scenario) -> str:
    """Warn of calls that outlive their lease, which is renewed between two calls and not during one."""
    lease_s, handler = scenario.pipeline.lease_s, scenario.handler
    specials = [kind.service_time for kind in handler.kinds.values() if kind.service_time is not None]
    longest_s = max(service.quantile(0.99) for service in (handler.service_time, *specials))
    if lease_s is None or longest_s < lease_s:
        return ""
    return (
        f"1 call in 100 takes {longest_s:g} s or longer and the lease is {lease_s:g} s (pipeline.lease): such events "
        "are rescued while their worker is at work on them, and handled twice."
    )


def _tight_crash_budget(scenario: Scenario) -> str:
    """Warn of budgets that a neighbour's killer can spend; a death takes every slot of its node."""
    budget, kills = scenario.pipeline.crash_budget, (k.effect == "kill" for k in scenario.handler.kinds.values())
    if budget is None or budget > 1 or scenario.workers.concurrency == 1 or not any(kills):
        return ""
    return (
        f"The crash budget is {budget} (pipeline.crash_budget) and a worker has {scenario.workers.concurrency} slots: "
        "an event that is in one slot when an event in another kills the worker may end EXTINCT for it."
    )


def _cut_arrivals(scenario: Scenario) -> str:
    """Warn of arrivals that a replayed file lists beyond the horizon."""
    replays = [arrival for arrival in scenario.arrivals if isinstance(arrival, Replay)]
    listed = sum(len(replay.times_s or ()) for replay in replays)
    cut = listed - int(sum(replay.expected(scenario.horizon_s) for replay in replays))
    if not cut:
        return ""
    return f"{cut} of {listed} replayed arrivals come after the horizon ({scenario.horizon_s:g} s) and are left out."


def _idle_store_settings(scenario: Scenario) -> str:
    """Warn of settings of the database that are about statements, where a transaction is one instant."""
    store = scenario.store
    idle = [] if store.interleave == "statement" else store.set_in_vain()
    if not idle:
        return ""
    named = ", ".join(f"store.{key}" for key in idle)
    return f"Without effect while a transaction is one instant: {named}; set store.interleave: statement."

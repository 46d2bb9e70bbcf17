"""How the database fails those who use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tem_sim.pipeline.store import StoreError
from tem_sim.scenario.distributions import Lognormal
from tem_sim.scenario.faults.base import STATEMENT_EDGES
from tem_sim.sim.breakage import ERRORS
from tem_sim.sim.connections import Session
from tem_sim.sim.copies import Replica
from tem_sim.sim.sessions import StatementStore
from tem_sim.sim.watch import doing

if TYPE_CHECKING:
    from tem_sim.scenario.faults.database import (
        CommitUnanswered,
        ConnectionsDropped,
        DatabaseDown,
        DatabaseErrors,
        DatabaseLocked,
        DatabaseSlow,
        Failover,
        PoolExhausted,
    )
    from tem_sim.sim.connections import Point
    from tem_sim.sim.faults.infliction import Infliction
    from tem_sim.sim.kernel import Node, SimThread

# How often somebody who wants a lock from outside asks for it while others hold it.
_ASKS_EVERY_S = 0.001


def _store(at: Infliction) -> StatementStore:
    store = at.world.database.store
    # The rules of a scenario see to it.
    assert isinstance(store, StatementStore)
    return store


class _Refusal:
    """The server takes no new connections from these nodes."""

    def __init__(self, at: Infliction) -> None:
        self.count = 0
        self._names = frozenset(at.world.targets(at.fault.target))
        self._store = _store(at)

    def begin(self) -> None:
        self._store.at_point.append(self._refuse)

    def end(self) -> None:
        self._store.at_point.remove(self._refuse)

    def drop(self) -> int:
        """Drop the connections that are there; return how many."""
        return self._store.cut_all(self._names)

    def _refuse(self, thread: SimThread, _session: Session | None, point: Point, _sql: str) -> None:
        if point == "connect" and thread.node.name in self._names:
            self.count += 1
            raise self._store.breakage.refused()


def database_down(at: Infliction, fault: DatabaseDown) -> None:
    refusal = _Refusal(at)
    dropped = 0

    def begin() -> str:
        nonlocal dropped
        refusal.begin()
        dropped = refusal.drop() if fault.connections == "dropped" else 0
        return f"{dropped} connections dropped, new ones refused"

    def end() -> int:
        refusal.end()
        return dropped + refusal.count

    at.window(begin, end)


def connections_dropped(at: Infliction, fault: ConnectionsDropped) -> None:
    store = _store(at)

    def drop(node: Node) -> None:
        thread = at.world.kernel.current
        session = None if thread is None else store.sessions.get(thread)
        activation = at.log(node.name)
        activation.end_s = activation.start_s
        if fault.edge in STATEMENT_EDGES and session is not None:
            # The next point at which it looks raises what the driver says.
            store.cut(session)
            activation.landed = 1
        else:
            activation.landed = store.cut_all({node.name})
        activation.detail = f"{activation.landed} connections dropped"

    at.strike(drop)


def commit_unanswered(at: Infliction, fault: CommitUnanswered) -> None:
    store, names = _store(at), frozenset(at.world.targets(fault.target))
    lost = done = 0

    def lose(session: Session) -> bool | None:
        nonlocal lost, done
        if session.node.name not in names or not _is_of(fault.label) or at.luck.random() >= fault.probability:
            return None
        arrives = at.luck.random() < fault.committed
        lost, done = lost + 1, done + arrives
        return arrives

    def begin() -> str:
        store.unheard.append(lose)
        return ""

    def end() -> int:
        store.unheard.remove(lose)
        return lost

    at.window(begin, end)


def database_errors(at: Infliction, fault: DatabaseErrors) -> None:
    store, names = _store(at), frozenset(at.world.targets(fault.target))
    if fault.error != "connection_lost" and not store.breakage.knows(fault.error):
        rule = f"faults[{at.number}]: {store.dialect} knows no {fault.error.replace('_', ' ')}"
        raise StoreError(f"{rule}; run it on PostgreSQL, with --store postgresql+psycopg://…")
    writes = fault.error != "connection_lost" and ERRORS[fault.error].writes
    failed = 0

    def strike(thread: SimThread, session: Session | None, point: Point, sql: str) -> None:
        nonlocal failed
        if point != fault.point or session is None or thread.node.name not in names or not _is_of(fault.label):
            return
        if (writes and not store.locking.may_lock(sql)) or at.luck.random() >= fault.probability:
            return
        failed += 1
        if fault.error == "connection_lost":
            store.cut(session)
        else:
            store.breakage.fail(session.driver, fault.error)

    def begin() -> str:
        store.at_point.append(strike)
        return f"{fault.error}, each with probability {fault.probability:g}"

    def end() -> int:
        store.at_point.remove(strike)
        return failed

    at.window(begin, end)


def _is_of(label: str | None) -> bool:
    return label is None or doing() == label


def database_slow(at: Infliction, fault: DatabaseSlow) -> None:
    latencies, names = at.world.database.latencies, frozenset(at.world.targets(fault.target))
    unequal = None if fault.spread is None else Lognormal(mean_s=1.0, cv=fault.spread)
    slowed = 0

    def stretch(node: str, latency_s: float) -> float:
        nonlocal slowed
        if node not in names:
            return latency_s
        slowed += 1
        if fault.serves is not None:
            latency_s *= max(1.0, latencies.at_work / fault.serves)
        if unequal is not None:
            latency_s *= unequal.quantile(at.luck.random())
        return latency_s * fault.factor

    def begin() -> str:
        latencies.stretched_by.append(stretch)
        return ""

    def end() -> int:
        latencies.stretched_by.remove(stretch)
        return slowed

    at.window(begin, end)


def pool_exhausted(at: Infliction, fault: PoolExhausted) -> None:
    store, names = _store(at), at.world.targets(fault.target)
    places = at.world.scenario.store.pool.size if fault.places is None else fault.places
    waited = 0

    def begin() -> str:
        nonlocal waited
        waited = store.pool_waits
        for name in names:
            store.take_away(name, places)
        return f"{places} places taken"

    def end() -> int:
        for name in names:
            store.take_away(name, -places)
        return store.pool_waits - waited

    at.window(begin, end)


def database_locked(at: Infliction, fault: DatabaseLocked) -> None:
    store, kernel = _store(at), at.world.kernel
    outsider = store.outsider()
    waits = 0
    ended = False

    def ask() -> None:
        if not ended and not outsider.lock():
            kernel.call_later(_ASKS_EVERY_S, ask)

    def begin() -> str:
        nonlocal waits
        waits = store.locking.parkings
        ask()
        return "" if outsider.holds else "waits until nobody writes"

    def end() -> int:
        nonlocal ended
        ended = True
        outsider.unlock()
        return store.locking.parkings - waits

    at.window(begin, end)


def failover(at: Infliction, fault: Failover) -> None:
    store, kernel = _store(at), at.world.kernel
    refusal = _Refusal(at)
    copies: list[tuple[Replica, int]] = []

    def copy() -> None:
        copies.append((Replica(store.reader), len(store.watch.changes)))

    def begin() -> str:
        dropped = refusal.drop()
        store.unlock_outsiders()
        refusal.begin()
        if not copies:
            return f"{dropped} connections dropped"
        replica, kept = copies.pop()
        replica.take_over()
        return f"{dropped} connections dropped, {store.watch.take_back(kept)} changes gone"

    def end() -> int:
        refusal.end()
        return 1

    if fault.lost_s:
        kernel.call_later(fault.at_s - fault.lost_s, copy)
    at.window(begin, end)

"""What of a fault that is inflicted for real cannot be, on the ground that a live system stands on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tem_sim.live.config import Limits
from tem_sim.live.process import SOCKET_TIMEOUT_S
from tem_sim.scenario.base import Broken
from tem_sim.scenario.faults.base import STATEMENT_EDGES

if TYPE_CHECKING:
    from tem_sim.live.config import Pool
    from tem_sim.scenario.faults.broker import BrokerFrozen, BrokerRestart
    from tem_sim.scenario.faults.composite import MetastableKick
    from tem_sim.scenario.faults.consumers import ChildDeath
    from tem_sim.scenario.faults.delivery import SlowConsumers, SubscriberGap
    from tem_sim.scenario.faults.process import WorkerDeath
    from tem_sim.scenario.faults.scheduler import BeatStopped


@dataclass(frozen=True, slots=True)
class Ground:
    """What a system stands on: whether its Redis is its own, its store, and what its workers' pools are made of."""

    own_redis: bool
    dialect: Literal["sqlite", "postgresql"]
    pool: Pool = "prefork"


def no_statement_edges(fault: Any, _ground: Ground) -> Iterator[Broken]:
    """Between two statements nothing lies in wait."""
    if fault.edge in STATEMENT_EDGES:
        rule = "lies between the statements of a transaction, where nothing can be inflicted live; use another edge"
        yield Broken(("edge",), rule, fault.edge)


def needs_own_redis(_fault: Any, ground: Ground) -> Iterator[Broken]:
    """Nobody else's Redis is touched."""
    if not ground.own_redis:
        yield Broken((), "needs a Redis of the system's own; leave out --redis, or name it own", None)


def nothing_undone(fault: BrokerRestart, _ground: Ground) -> Iterator[Broken]:
    """SIGKILL loses nothing that Redis has written, and the gateway subscribes as soon as it can."""
    if fault.undone_s:
        rule = "cannot be inflicted live: what a killed Redis has written is the kernel's, and kept; leave it out"
        yield Broken(("undone",), rule, fault.undone_s)
    if fault.resubscribe_after_s:
        rule = "cannot be inflicted live: the gateway subscribes as soon as it can; use subscriber_gap"
        yield Broken(("resubscribe_after",), rule, fault.resubscribe_after_s)


def clients_timeout(fault: BrokerFrozen, _ground: Ground) -> Iterator[Broken]:
    """How long clients wait is the system's own setting."""
    if fault.socket_timeout_s not in (None, SOCKET_TIMEOUT_S):
        rule = f"is {SOCKET_TIMEOUT_S:g} s in a live system; leave it out"
        yield Broken(("socket_timeout",), rule, fault.socket_timeout_s)


def connections_close_at_once(fault: WorkerDeath, _ground: Ground) -> Iterator[Broken]:
    """The kernel closes a dead process's connections."""
    if fault.connection_closes_after_s:
        rule = "cannot be inflicted live: the kernel closes the connections of what is killed at once; leave it out"
        yield Broken(("connection_closes_after",), rule, fault.connection_closes_after_s)


def ticks_skipped(fault: BeatStopped, _ground: Ground) -> Iterator[Broken]:
    """A beat that was away remembers nothing."""
    if fault.missed != "skipped":
        rule = "cannot be inflicted live: a beat that is started again has no memory of what it missed; use skipped"
        yield Broken(("missed",), rule, fault.missed)


def needs_children(_fault: ChildDeath, ground: Ground) -> Iterator[Broken]:
    """A pool of threads has no process that could die alone."""
    if ground.pool != "prefork":
        yield Broken((), f"needs workers with processes (--pool prefork), this system's pool is {ground.pool}", None)


def no_poison(fault: ChildDeath, _ground: Ground) -> Iterator[Broken]:
    """Nobody knows in which process a message comes back."""
    if fault.poison:
        rule = "cannot be inflicted live: a message is not followed; use handler.kinds with effect: kill"
        yield Broken(("poison",), rule, fault.poison)


def needs_postgresql(_fault: Any, ground: Ground) -> Iterator[Broken]:
    """SQLite has no connections that somebody else could end."""
    if ground.dialect != "postgresql":
        rule = "needs a PostgreSQL store, --store postgresql+psycopg://…; a file has no connections to be cut"
        yield Broken((), rule, None)


def database_not_slowed(fault: MetastableKick, _ground: Ground) -> Iterator[Broken]:
    """The server is not the system's own."""
    if fault.factor != 1:
        yield Broken(("factor",), "the database cannot be slowed live; use 1, the crowd alone", fault.factor)


def nobody_counted(fault: SubscriberGap, _ground: Ground) -> Iterator[Broken]:
    """A subscription that Redis counts is one that hears."""
    if fault.counted:
        rule = "cannot be inflicted live: whoever Redis counts as a receiver gets it; use false"
        yield Broken(("counted",), rule, fault.counted)


def nothing_closed(fault: SlowConsumers, _ground: Ground) -> Iterator[Broken]:
    """The gateway has its own rule for when to close a socket."""
    if fault.policy != "drop":
        rule = f"the live gateway closes a socket that reads nothing for {Limits().slow_after_s:g} s; use drop"
        yield Broken(("policy",), rule, fault.policy)

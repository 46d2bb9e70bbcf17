"""Every kind of fault. To add one: write its class in the file of its family, and list it here."""

from __future__ import annotations

from typing import Annotated, get_args

from pydantic import Field

from tem_sim.scenario.faults.broker import BrokerFrozen, BrokerRestart, QueueFull
from tem_sim.scenario.faults.clock import ClockFrozen, ClockResolution, ClockSkew, ClockStep, LeapSecond
from tem_sim.scenario.faults.code import ForkedSeed, OldVersion
from tem_sim.scenario.faults.composite import Bisect, Correlated, Flap, MetastableKick, RollingRestart, Swizzle
from tem_sim.scenario.faults.consumers import ChildDeath, ConsumerDeaf, PopThenDie
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
from tem_sim.scenario.faults.delivery import (
    AcksLost,
    GatewayDisconnect,
    NotificationsDoubled,
    NotificationsReordered,
    ReadLag,
    RoutingStale,
    SlowConsumers,
    SocketsHalfOpen,
    SubscriberGap,
    UsersOffline,
)
from tem_sim.scenario.faults.downstream import Outage
from tem_sim.scenario.faults.process import OutOfMemory, WorkerDeath, WorkerPause, WorkerSlow, WorkerStop
from tem_sim.scenario.faults.scheduler import BeatDoubled, BeatLate, BeatMisrouted, BeatStopped
from tem_sim.scenario.faults.wakeups import (
    PublishUnanswered,
    WakeupsDelayed,
    WakeupsDuplicated,
    WakeupsLost,
    WakeupsReordered,
)
from tem_sim.scenario.faults.workload import AnswersLost, DownstreamSlow, Flaky, HotKey, HugeEvents, PartialEffect

AnyFault = (
    Outage
    | BrokerRestart
    | WorkerDeath
    | WorkerPause
    | BeatStopped
    | BeatDoubled
    | WakeupsLost
    | GatewayDisconnect
    | ClockSkew
    | ClockStep
    | ClockFrozen
    | ClockResolution
    | LeapSecond
    | BrokerFrozen
    | QueueFull
    | WakeupsDuplicated
    | WakeupsReordered
    | WakeupsDelayed
    | PublishUnanswered
    | ChildDeath
    | ConsumerDeaf
    | PopThenDie
    | WorkerStop
    | OutOfMemory
    | WorkerSlow
    | OldVersion
    | ForkedSeed
    | BeatLate
    | BeatMisrouted
    | Swizzle
    | RollingRestart
    | Bisect
    | Flap
    | Correlated
    | MetastableKick
    | DatabaseDown
    | ConnectionsDropped
    | CommitUnanswered
    | DatabaseErrors
    | DatabaseSlow
    | PoolExhausted
    | DatabaseLocked
    | Failover
    | SubscriberGap
    | NotificationsDoubled
    | NotificationsReordered
    | SocketsHalfOpen
    | SlowConsumers
    | UsersOffline
    | AcksLost
    | RoutingStale
    | ReadLag
    | Flaky
    | DownstreamSlow
    | PartialEffect
    | AnswersLost
    | HotKey
    | HugeEvents
)
Fault = Annotated[AnyFault, Field(discriminator="kind")]

# Each kind of fault with its class.
KINDS: dict[str, type[AnyFault]] = {model.model_fields["kind"].default: model for model in get_args(AnyFault)}

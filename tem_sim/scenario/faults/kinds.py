"""Every kind of fault. To add one: write its class in the file of its family, and list it here."""

from __future__ import annotations

from typing import Annotated, get_args

from pydantic import Field

from tem_sim.scenario.faults.broker import BrokerRestart, WakeupsLost
from tem_sim.scenario.faults.clock import ClockFrozen, ClockResolution, ClockSkew, ClockStep, LeapSecond
from tem_sim.scenario.faults.downstream import Outage
from tem_sim.scenario.faults.gateway import GatewayDisconnect
from tem_sim.scenario.faults.process import WorkerDeath, WorkerPause
from tem_sim.scenario.faults.scheduler import BeatDoubled, BeatStopped

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
)
Fault = Annotated[AnyFault, Field(discriminator="kind")]

# Each kind of fault with its class.
KINDS: dict[str, type[AnyFault]] = {model.model_fields["kind"].default: model for model in get_args(AnyFault)}

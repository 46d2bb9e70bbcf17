"""The task queue of a scenario: an ideal one, or one that behaves as Celery on Redis was measured to."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import Field

from tem_sim.scenario.base import Model
from tem_sim.scenario.quantities import Duration, Fraction, Off, PositiveCount, PositiveDuration, Switch

OnConnectionLoss = Literal["reconnect", "exit", "deaf"]
Unacked = Literal["returned", "kept"]


class Behaviour(NamedTuple):
    """What a kind of broker does where the scenario does not say."""

    publish_gives_up_after_s: float
    on_connection_loss: OnConnectionLoss
    unacked_after_restart: Unacked
    pop_loss: float
    reconnect_step_s: float


# The ideal queue has no client that retries and no gap between two commands. The others are as measured on Celery 5.7.0
# and 5.5.3 with Redis 7.0; of 5.5 only what a restart does to busy workers was, and the rest is taken from 5.7.
BEHAVIOURS: dict[str, Behaviour] = {
    "ideal": Behaviour(0.0, "reconnect", "returned", 0.0, 0.0),
    "celery-5.7": Behaviour(0.77, "exit", "kept", 0.5, 2.0),
    "celery-5.5": Behaviour(0.77, "reconnect", "kept", 0.5, 2.0),
}


class Broker(Model):
    """The task queue on Redis."""

    behaves_like: Literal["ideal", "celery-5.7", "celery-5.5"] = Field(
        "ideal",
        description="What publish_gives_up_after, on_connection_loss, unacked_after_restart, pop_loss and "
        "reconnect_step are when left out: those of an ideal queue, or as measured on this version of Celery.",
    )
    durable: Switch = Field(True, description="Whether messages survive a restart.")
    ack: Literal["early", "late"] = Field("early", description="Acknowledge a wake-up before its task, or after it.")
    visibility_timeout_s: PositiveDuration = Field(
        3600.0, alias="visibility_timeout", description="The age at which an unacknowledged wake-up is delivered again."
    )
    sweep_every_s: PositiveDuration = Field(
        100.0, alias="sweep_every", description="How often the broker looks for those."
    )
    latency_s: Duration = Field(0.001, alias="latency", description="The time of a send.")
    latency_each_s: Duration = Field(
        0.0,
        alias="latency_each",
        description="What each further wake-up of the same send takes; Celery sends them one by one. 0s for together.",
    )
    loss: Fraction = Field(0.0, description="The share of wake-ups that get lost.")
    reject_on_worker_lost: Switch = Field(
        False,
        description="With ack: late, whether the wake-up of a killed pool child goes back to the queue; without, it is "
        "acknowledged and lost.",
    )
    child_lost_after_s: Duration = Field(
        3.7, alias="child_lost_after", description="How long a worker takes to notice that a pool child was killed."
    )
    eta_limit: Off[PositiveCount] = Field(
        None,
        description="Wake-ups with a countdown that a worker holds at most (worker_eta_task_limit); `off` for any "
        "number.",
    )
    publish_gives_up_after_s: Duration | None = Field(
        None,
        alias="publish_gives_up_after",
        description="How long a client goes on trying to send while the broker refuses.",
    )
    on_connection_loss: OnConnectionLoss | None = Field(
        None,
        description="What becomes of a worker that loses its connection with a task in hand that it has not "
        "acknowledged: it reconnects, it exits once the task is done and its supervisor starts it again, or it "
        "reconnects and is never served again.",
    )
    unacked_after_restart: Unacked | None = Field(
        None,
        description="Whether unacknowledged wake-ups are at the head of the queue after a restart that keeps messages, "
        "or stay unacknowledged until their visibility timeout.",
    )
    pop_loss: Fraction | None = Field(
        None, description="The probability that a worker's death loses the wake-up that it is just taking."
    )
    reconnect_step_s: Duration | None = Field(
        None,
        alias="reconnect_step",
        description="How long a worker that has lost its connection waits before it dials again; each wait is longer "
        "than the one before by as much, 30 s at most. `0s`: it is back as soon as the broker is.",
    )

    @property
    def behaviour(self) -> Behaviour:
        """What it does, all told."""
        usual = BEHAVIOURS[self.behaves_like]
        own = {name: getattr(self, name) for name in Behaviour._fields}
        return usual._replace(**{name: value for name, value in own.items() if value is not None})

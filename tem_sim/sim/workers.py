"""Celery workers: a node with a consumer and a pool of slots, each of which runs one task at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from simpy.events import Event

from tem_sim.pipeline.ports import Random
from tem_sim.pipeline.tasks import Pipeline, process_events_batch
from tem_sim.scenario.broker import OnConnectionLoss
from tem_sim.sim.broker import SimBroker
from tem_sim.sim.consumer import Consumer
from tem_sim.sim.dependency import Dependency
from tem_sim.sim.kernel import Node, SimThread
from tem_sim.sim.messages import Message
from tem_sim.sim.task_run import run_task


@dataclass(frozen=True)
class WorkerHabits:
    """How workers deal with what happens to the broker and to their pool; see the scenario's section `broker`."""

    ack_early: bool = True
    on_connection_loss: OnConnectionLoss = "reconnect"
    reject_on_worker_lost: bool = False
    child_lost_after_s: float = 0.0
    pop_loss: float = 0.0


@dataclass
class Worker:
    """One worker process group. `busy` counts the slots that are inside a task; `crash` ends it from within."""

    node: Node
    broker: SimBroker
    pipe: Pipeline
    dependency: Dependency
    concurrency: int
    prefetch: int
    startup_s: float
    habits: WorkerHabits
    luck: Random
    crash: Callable[[], None]
    busy: int = 0
    # Set while the worker ends: what is done when its last task is.
    on_exit: Callable[[], None] | None = None
    _consumer: Consumer | None = field(default=None, repr=False)
    _slots: dict[int, SimThread] = field(default_factory=dict, repr=False)
    _in_hand: dict[int, Message] = field(default_factory=dict, repr=False)
    _leaving: bool = False

    def start(self, *, is_up: bool = False) -> None:
        """Boot: the slots listen once the start-up time is over, or at once if it is up already."""
        self.node.revive()
        self.node.on_death[:] = [self._die]
        self.node.spawn("boot", lambda: self._boot(0.0 if is_up else self.startup_s))

    @property
    def consumer(self) -> Consumer | None:
        """The worker's subscription; None until it has booted."""
        return self._consumer

    def _boot(self, startup_s: float) -> None:
        self.node.kernel.sleep(startup_s)
        self._consumer = self.broker.connect(self.node.name, self.concurrency * self.prefetch)
        self._consumer.on_connection_loss = self._lose_connection
        for slot in range(self.concurrency):
            self._start_slot(slot)

    def _start_slot(self, slot: int) -> None:
        self._slots[slot] = self.node.spawn(str(slot), partial(self._serve, slot))

    def _die(self) -> None:
        self.busy = 0
        self._leaving = False
        self.on_exit = None
        self._in_hand.clear()
        for slot in range(self.concurrency):
            self.dependency.abandon(f"{self.node.name}/{slot}")
        if self._consumer is not None:
            if self.habits.pop_loss and self.luck.random() < self.habits.pop_loss:
                self.broker.lose_popped(self._consumer)
            self.broker.abandon(self._consumer)
            self._consumer = None

    def _serve(self, slot: int) -> None:
        """Take wake-ups one after the other, for ever; the name is what stands as the lease's owner."""
        name = f"{self.node.name}/{slot}"
        consumer = self._consumer
        assert consumer is not None
        while True:
            if self._leaving:
                self._leave()
            message = consumer.take()
            if self.habits.ack_early:
                consumer.ack(message)
            self.busy += 1
            self._in_hand[slot] = message
            if message.poison and self.broker.poison_kills:
                self.kill_child(slot)
                self.node.kernel.sleep(0)
            task = partial(process_events_batch, self.pipe, worker=name)
            run_task(self.node.kernel, task if message.task is None else partial(message.task, self.pipe, name))
            self.dependency.settled(name)
            del self._in_hand[slot]
            self.busy -= 1
            self.broker.log.finished(message, self.node.kernel.now)
            if not self.habits.ack_early:
                consumer.ack(message)

    # --- the death of a pool child

    @property
    def busy_slots(self) -> list[int]:
        """The slots that are inside a task."""
        return sorted(self._in_hand)

    def kill_child(self, slot: int, *, poison: bool = False) -> None:
        """Kill the process of a slot that is inside a task; the worker itself lives on, and notices after a while.

        What it had in hand is then acknowledged or goes back, if it was not acknowledged before. As `poison` the
        message kills whoever takes it again.
        """
        message = self._in_hand.pop(slot)
        message.poison = message.poison or poison
        self.busy -= 1
        self.dependency.abandon(f"{self.node.name}/{slot}")
        self._slots[slot].kill()
        consumer = self._consumer
        kernel = self.node.kernel

        def notice() -> None:
            if consumer is None or consumer is not self._consumer:
                return
            if not self.habits.ack_early:
                consumer.drop(message, requeue=self.habits.reject_on_worker_lost)
            self._start_slot(slot)

        kernel.call_later(self.habits.child_lost_after_s, lambda: self.node.when_awake(notice))

    # --- the loss of the connection

    def _lose_connection(self) -> None:
        """Carry on, unless a task is in hand that is not acknowledged: then as `on_connection_loss` says."""
        if self.habits.ack_early or not self.busy or self._consumer is None:
            return
        if self.habits.on_connection_loss != "reconnect":
            self._consumer.deaf = True
        self._leaving = self.habits.on_connection_loss == "exit"

    def hear_again(self) -> None:
        """Be served again, unless the worker is about to exit."""
        if self._consumer is not None and not self._leaving:
            self._consumer.deaf = False
            self.broker.dispatch()

    def _leave(self) -> None:
        """Exit when the last task is done; its supervisor starts the worker again."""
        if not self.busy:
            self._exit()
        self.node.kernel.wait(Event(self.node.kernel.env))

    def _exit(self) -> None:
        if self.on_exit is None:
            self.crash()
            return
        if self._consumer is not None:
            self.broker.abandon(self._consumer)
            self._consumer = None
        self.on_exit()

    def stop(self, on_exit: Callable[[], None]) -> None:
        """End as on SIGTERM: begin on nothing new, give back what is not begun, and say when the last task is done."""
        self.on_exit = on_exit
        self._leaving = True
        if self._consumer is not None:
            self._consumer.hand_back(self._in_hand.values())
        if not self.busy:
            self._exit()

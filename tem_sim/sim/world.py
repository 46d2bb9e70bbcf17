"""One simulated world: every part wired from a scenario, run to its end, and read out as frames."""

from __future__ import annotations

import gc
import math
import signal
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

from sqlalchemy import select

from tem_sim.collect import Delivery, Observed, collect
from tem_sim.frames import Run, digest
from tem_sim.pipeline import claims
from tem_sim.pipeline.gauges import mitigation_gauges
from tem_sim.pipeline.settings import Settings
from tem_sim.pipeline.states import TERMINAL
from tem_sim.pipeline.tables import event_table, notification, processing_state
from tem_sim.pipeline.tasks import Pipeline
from tem_sim.scenario.arrivals import arrival_times
from tem_sim.scenario.faults.log import FaultLog
from tem_sim.scenario.models import Scenario
from tem_sim.scenario.rules import more_beats, struck_nodes
from tem_sim.scenario.streams import Streams
from tem_sim.sim.api import Api
from tem_sim.sim.bar import Progress, watched
from tem_sim.sim.beat import Beat
from tem_sim.sim.broker import SimBroker
from tem_sim.sim.database import Database
from tem_sim.sim.dependency import Dependency
from tem_sim.sim.faults.inflict import INFLICT
from tem_sim.sim.faults.infliction import Infliction
from tem_sim.sim.fence import fenced
from tem_sim.sim.gateway import Gateway
from tem_sim.sim.kernel import Kernel
from tem_sim.sim.own_code import own_code, simulated
from tem_sim.sim.ports import NodeBroker, SimFailpoints
from tem_sim.sim.publishing import Client
from tem_sim.sim.pubsub import PubSub
from tem_sim.sim.sessions import StatementStore
from tem_sim.sim.workers import Worker, WorkerHabits
from tem_sim.versions import versions

SAMPLE_EVERY_S = 1.0


def simulate(
    scenario: Scenario,
    seed: int | None = None,
    *,
    store: str = "sqlite://",
    progress: Progress | None = None,
) -> Run:
    """Run a scenario under simulated time and return what happened.

    `seed` overrides the scenario's. `store` is a SQLAlchemy URL: SQLite in memory by default, a new SQLite file, or
    a PostgreSQL server, on which the run makes a schema of its own and drops it. `progress` is told how far it is; in a
    notebook a bar shows by itself when a run takes long. A run is a function of scenario and seed: the digest is the
    same on every store. Ctrl-C ends it early, with `status` "interrupted". Raises `SimulationError` when code under
    simulation lets an exception escape, `StoreError` for an unusable store.
    """
    with watched(scenario.name, scenario.horizon_s, progress) as tell:
        world = World(scenario, scenario.seed if seed is None else seed, store, tell)
        # To the very end: what unwinds when the world is closed may be the user's own code.
        with simulated(world.own_code), _fence(world):
            try:
                with _rarely_collecting():
                    with _interruptible(world.kernel):
                        world.run()
                    return world.read_out()
            finally:
                world.close()


def _fence(world: World) -> AbstractContextManager[None]:
    """Keep watched code off the real machine; the user's own is redirected."""
    own = frozenset[str]() if world.own_code is None else world.own_code.roots
    return fenced(None if world.kernel.watch is None else world.kernel, own)


class World:
    """The parts of one run."""

    def __init__(self, scenario: Scenario, seed: int, store_url: str, progress: Progress | None = None) -> None:
        self.scenario = scenario
        self.seed = seed
        self.streams = Streams(seed)
        self.kernel = Kernel()
        self.faults = FaultLog()
        self.failpoints = SimFailpoints(self.kernel)
        self._progress = progress
        self._samples: list[tuple[float, str, float]] = []
        self._status: Literal["complete", "interrupted"] = "complete"
        self._end_s = scenario.horizon_s
        self._held: Counter[str] = Counter()
        self._more_beats: Counter[str] = Counter()
        # What faults have made of a worker's code, by the hand that did.
        self._code: defaultdict[str, dict[object, Callable[[Pipeline], Pipeline]]] = defaultdict(dict)
        # Before anything is opened that would have to be closed when this fails.
        arrivals = arrival_times(scenario, self.streams)
        self.database = Database(self.kernel, store_url, scenario.store, self.streams)
        self.kernel.watch = self.database.watch
        if isinstance(self.database.store, StatementStore):
            self.database.store.at_point.append(lambda thread, session, point, sql: self.failpoints.reach(point))
        self.broker = SimBroker(
            self.kernel,
            visibility_timeout_s=scenario.broker.visibility_timeout_s,
            sweep_every_s=scenario.broker.sweep_every_s,
            loss=scenario.broker.loss,
            luck=self.streams.stream("wakeup-loss"),
            eta_limit=scenario.broker.eta_limit,
            reconnect_step_s=scenario.broker.behaviour.reconnect_step_s,
        )
        # Does the work of the scheduler's ticks where they go through the broker; gets no wake-ups.
        self.maintenance = self.broker.connect("maintenance", prefetch=0)
        self.sender = Client(self.broker, scenario.broker.behaviour.publish_gives_up_after_s)
        self.own_code = own_code(scenario, self.kernel, self.streams)
        own = self.own_code.handle if self.own_code is not None and self.own_code.handles else None
        self.dependency = Dependency(self.kernel, scenario.handler, self.streams, self._crash, own)
        self.pubsub = PubSub(self.kernel, scenario.users.pubsub_latency_s, self.sender)
        self.gateway = self._gateway()
        self.settings: Settings = scenario.settings()
        claims.prepare(self.database.store, self.settings)
        self.api = Api(self.kernel.node("api"), self._pipeline("api"), scenario, self.streams, arrivals)
        self.workers = {f"worker-{n}": self._worker(f"worker-{n}") for n in range(1, scenario.workers.count + 1)}
        self.beats = {"beat": self._beat("beat", scenario.beat.phase_s)}
        # Not there until a fault starts them, and so nothing that a fault could strike.
        for name in more_beats(scenario.faults) or ("beat-2",):
            self.kernel.node(name).kill()

    # --- wiring

    def _pipeline(self, node_name: str) -> Pipeline:
        return Pipeline(
            store=self.database.store,
            settings=self.settings,
            clock=self.kernel.node(node_name).clock,
            chance=self.streams,
            broker=NodeBroker(
                self.kernel, self.sender, self.scenario.broker.latency_s, self.scenario.broker.latency_each_s
            ),
            publisher=self.pubsub,
            handler=self.dependency,
            failpoints=self.failpoints,
        )

    def _gateway(self) -> Gateway:
        return Gateway(
            kernel=self.kernel,
            node=self.kernel.node("gateway"),
            store=self.database.store,
            pubsub=self.pubsub,
            model=self.scenario.users,
            streams=self.streams,
        )

    def _worker(self, name: str) -> Worker:
        model = self.scenario.workers
        return Worker(
            node=self.kernel.node(name),
            broker=self.broker,
            pipe=self._pipeline(name),
            dependency=self.dependency,
            concurrency=model.concurrency,
            prefetch=model.prefetch,
            startup_s=model.startup_s,
            habits=self._habits(),
            luck=self.streams.stream("pop-loss", name),
            crash=self._crash,
        )

    def _habits(self) -> WorkerHabits:
        model = self.scenario.broker
        return WorkerHabits(
            ack_early=model.ack == "early",
            on_connection_loss=model.behaviour.on_connection_loss,
            reject_on_worker_lost=model.reject_on_worker_lost,
            child_lost_after_s=model.child_lost_after_s,
            pop_loss=model.behaviour.pop_loss,
        )

    def _beat(self, name: str, phase_s: float) -> Beat:
        model = self.scenario.beat
        return Beat(
            node=self.kernel.node(name),
            pipe=self._pipeline(name),
            retry_every_s=model.retry_every_s,
            rescue_every_s=model.rescue_every_s,
            relay_every_s=model.relay_every_s,
            phase_s=phase_s,
            retry_floor_s=model.retry_floor_s,
            is_sent=lambda: model.through == "itself" or self.broker.up,
            gets_through=lambda: model.through == "itself" or self.broker.reaches(self.maintenance),
        )

    # --- what the faults do to nodes

    def targets(self, target: str) -> list[str]:
        """Return the names of the nodes that a fault's target means."""
        return struck_nodes(target, self.scenario.workers.count, self.scenario.faults)

    def kill(self, name: str) -> None:
        """Kill a node as SIGKILL does; once all faults are over, nobody does."""
        if self.is_healed:
            return
        if name == "gateway":
            self.gateway.close()
        else:
            self.kernel.node(name).kill()

    def _crash(self) -> None:
        """Kill the worker that calls, as a poison event does; its supervisor starts it again after a while."""
        thread, after_s = self.kernel.current, self.scenario.workers.restart_after_s
        assert thread is not None
        name = thread.node.name
        if after_s is not None:
            self.kernel.call_later(after_s, lambda: self.start_node(name))
        self.kernel.die()

    def hold_down(self, name: str) -> None:
        """Kill a node and keep it from being started again."""
        self._held[name] += 1
        self.kill(name)

    def let_up(self, name: str) -> None:
        """Start a node again that was held down, unless something else still holds it."""
        self._held[name] -= 1
        self.start_node(name)

    def start_node(self, name: str) -> None:
        """Start a killed node again, as its supervisor would; one that runs, or is held down, stays as it is."""
        if self._held[name] or self.kernel.node(name).alive:
            return
        if name == "gateway":
            self.gateway.reopen()
        elif name == "api":
            self.api.start()
        else:
            part = self.workers.get(name) or self.beats.get(name)
            if part is not None:
                part.start()

    def start_beat(self, name: str, phase_s: float) -> None:
        """Start another scheduler beside the first, unless it runs already."""
        self._more_beats[name] += 1
        if self._more_beats[name] == 1:
            self.beats[name] = self._beat(name, phase_s)
            self.beats[name].start()

    def stop_beat(self, name: str) -> None:
        """Stop another scheduler when nobody needs it any more."""
        self._more_beats[name] -= 1
        if self._more_beats[name] == 0:
            self.kill(self.beats.pop(name).node.name)

    def change_code(self, name: str, by: object, change: Callable[[Pipeline], Pipeline] | None) -> None:
        """Let a worker run with a changed pipeline from its next task on; None takes back what `by` did."""
        changes = self._code[name]
        changes.pop(by, None)
        if change is not None:
            changes[by] = change
        pipe = self._pipeline(name)
        for each in changes.values():
            pipe = each(pipe)
        self.workers[name].pipe = pipe

    @property
    def is_healed(self) -> bool:
        """Whether all faults are over for good."""
        return not math.isinf(self.faults.healed_s)

    def heal(self) -> None:
        """End all faults, whatever is left of them, and start every node again that is down or on its way there."""
        leaving = [name for name, worker in self.workers.items() if worker.on_exit is not None]
        self.faults.heal(self.kernel.now)
        self._held.clear()
        for node in list(self.kernel.nodes.values()):
            node.clock.set_right()
            node.wake()
            if node.name in leaving:
                node.kill()
        for name in (*self.workers, *self.beats, "api", "gateway"):
            self.start_node(name)

    # --- the run

    def run(self) -> None:
        """Start everything, inflict the faults, and let time pass until the scenario's end."""
        self.gateway.start()
        for beat in self.beats.values():
            beat.start()
        for worker in self.workers.values():
            worker.start(is_up=self.scenario.workers.up_at_start)
        self.api.start()
        self.api.begin_load()
        for number, fault in enumerate(self.scenario.faults):
            INFLICT[fault.kind](Infliction(self, number, fault), fault)
        if self.scenario.heal_at_s is not None:
            self.kernel.call_later(self.scenario.heal_at_s, self.heal)
        self._look()
        reason = self.kernel.run(self.scenario.horizon_s)
        if reason != "horizon":
            self._end_s = self.kernel.now
        if reason == "interrupted":
            self._status = "interrupted"

    def _look(self) -> None:
        """Read the gauges, report progress, and stop when there is nothing left to happen."""
        now = self.kernel.now
        gauges = {
            "broker_ready": len(self.broker.ready),
            "broker_unacked": self.broker.unacked,
            "workers_busy": sum(worker.busy for worker in self.workers.values()),
            "dependency_in_flight": self.dependency.in_flight,
            "users_connected": sum(user.connected for user in self.gateway.users.values()),
            **mitigation_gauges(self.database.store, self.settings, now),
        }
        self._samples += [(now, name, float(value)) for name, value in gauges.items()]
        if self._progress is not None:
            self._progress(now, self.scenario.horizon_s)
        if self.scenario.stop == "drained" and self._drained():
            self.kernel.stop("drained")
        else:
            self.kernel.call_later(SAMPLE_EVERY_S, self._look)

    def _drained(self) -> bool:
        """Whether every event is terminal, every reachable user told, every worker idle and every fault over."""
        if not self.api.idle or self.gateway.on_the_way or self.kernel.now < self.scenario.quiet_after_s:
            return False
        if any(worker.busy for worker in self.workers.values()) or any(n.paused for n in self.kernel.nodes.values()):
            return False
        with self.database.store.begin() as connection:
            waiting = select(processing_state.c.event_id).where(
                processing_state.c.status.not_in([str(state) for state in TERMINAL])
            )
            if connection.execute(waiting.limit(1)).first() is not None:
                return False
            untold = select(notification.c.user_id).where(notification.c.acked_at.is_(None)).distinct()
            users = [row.user_id for row in connection.execute(untold)]
        return not any(self.gateway.users[user].reachable for user in users)

    def read_out(self) -> Run:
        """Turn what the store holds and what was seen outside it into a run."""
        end_s = self._end_s
        self.faults.close(self.scenario.faults, end_s)
        self.kernel.close()
        watch = self.database.watch
        observed = Observed(
            effects=self.dependency.effects,
            abandoned=self.dependency.abandoned,
            deliveries=[
                Delivery(event_id, seen.user_id, seen.key or "", seen.first_s, seen.shown, seen.received)
                for event_id, seen in self.gateway.sockets.seen.items()
            ],
            samples=[*self._samples, *self._counts(end_s)],
            wakeups=self.broker.wakeups,
            messages=self.broker.log.columns(),
            faults=self.faults.activations,
            steps=watch.steps if watch is not None else (),
            changes=watch.changes if watch is not None else (),
        )
        frames = collect(self.database.store, observed, start_s=0.0, end_s=end_s)
        return Run(
            scenario_dict=self.scenario.resolved() | {"seed": self.seed},
            seed=self.seed,
            mode="sim",
            status=self._status,
            store=self.database.store.dialect,
            end_s=end_s,
            digest=digest(frames["transitions"]),
            versions=versions(),
            schedule=self.database.schedule,
            **frames,
        )

    def _counts(self, end_s: float) -> list[tuple[float, str, float]]:
        """Return what was counted: over each second, dated by its beginning, and over the whole run, by its end."""
        with self.database.store.begin() as connection:
            stored = set(connection.execute(select(event_table.c.id)).scalars())
        counts = {
            **self.api.submissions(stored),
            "database_statements": self.database.statements,
            "database_transactions": self.database.store.transactions,
            **({"tasks_failed": self.kernel.failed_tasks} if self.kernel.failed_tasks else {}),
        }
        sent = [(float(at), "submissions_sent_per_s", float(n)) for at, n in sorted(self.api.sent_per_s.items())]
        return [*sent, *((end_s, name, float(count)) for name, count in counts.items())]

    def close(self) -> None:
        """Free what the run holds: greenlets, connections, the schema."""
        self.kernel.close()
        self.database.close()


@contextmanager
def _rarely_collecting() -> Iterator[None]:
    """Let the cycle collector look less often: a run makes millions of short-lived objects and hardly any cycles.

    So does reading it out, which takes twice as long when every row is looked at.
    """
    before = gc.get_threshold()
    gc.set_threshold(50_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


@contextmanager
def _interruptible(kernel: Kernel) -> Iterator[None]:
    """Let Ctrl-C stop the run between two steps. An exception thrown into whatever greenlet runs would corrupt it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *_: kernel.stop("interrupted"))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)

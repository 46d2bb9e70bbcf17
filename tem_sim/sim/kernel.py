"""Sim threads: ordinary synchronous code run under simulated time, on one OS thread.

A sim thread is a greenlet. When its code must wait, it hands the SimPy event it waits for to the hub (the greenlet in
which SimPy's loop runs) and is switched to again when that event fires. So a run is a deterministic function of what
was scheduled, and the code that runs in it needs to know nothing of SimPy.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import simpy
from greenlet import GreenletExit, getcurrent, greenlet
from simpy.events import Event, Timeout

from tem_sim.sim.clock import NodeClock

if TYPE_CHECKING:
    from tem_sim.sim.watch import Watch

# Dead code that swallows GreenletExit is refused, and thrown at, this often before it is left where it stands.
MAX_THROWS = 10


class SimulationError(RuntimeError):
    """The simulation itself broke: an exception escaped from a sim thread. The original is its cause."""


class Node:
    """One machine or process: its clock, its threads, and whether it runs, is frozen or dead."""

    def __init__(self, kernel: Kernel, name: str) -> None:
        self.kernel = kernel
        self.name = name
        self.clock = NodeClock(kernel.env)
        self.alive = True
        self.threads: list[SimThread] = []
        self.on_death: list[Callable[[], None]] = []
        # Frozen: nothing on the node runs, and it does not notice.
        self.paused = False
        # How long after its death the database notices that its connections are dead, and undoes what is open on them.
        self.connections_close_after_s = 0.0
        # How many times as long the node's own work takes, by the hand that slows it.
        self.slowed_by: dict[object, float] = {}
        self._paused_until = 0.0
        self._deferred: list[Callable[[], object]] = []

    def spawn(self, name: str, body: Callable[[], object]) -> SimThread:
        """Start a sim thread `node/name` that runs `body` from the current instant on."""
        if not self.alive:
            raise SimulationError(f"{self.name} is dead; revive it before you start {name} on it")
        self.threads = [thread for thread in self.threads if not thread.finished]
        thread = SimThread(self, f"{self.name}/{name}", body)
        self.threads.append(thread)
        return thread

    def kill(self) -> None:
        """Kill the node as SIGKILL does: no `except`, no `finally` of its code has any effect from here on."""
        if not self.alive:
            return
        if self.kernel.watch is not None:
            for thread in self.threads:
                if not thread.finished:
                    self.kernel.watch.note("killed", thread=thread)
        self.alive = False
        self.paused = False
        self._deferred.clear()
        threads, self.threads = self.threads, []
        for thread in threads:
            thread.kill()
        for hook in self.on_death:
            hook()
        for tell in self.kernel.on_kill:
            tell(self)

    def revive(self) -> None:
        """Let new threads be started on a killed node; the old ones stay dead."""
        self.alive = True

    def pause(self, duration_s: float) -> None:
        """Freeze the node; of overlapping pauses the latest end counts. It wakes believing what it believed before."""
        if not self.alive:
            return
        until = self.kernel.now + duration_s
        if self.paused and until <= self._paused_until:
            return
        self.paused, self._paused_until = True, until
        self.kernel.call_later(duration_s, lambda: self._wake(until))

    def _wake(self, until: float) -> None:
        if not self.paused or self._paused_until != until:
            return
        self.paused = False
        deferred, self._deferred = self._deferred, []
        for action in deferred:
            self.when_awake(action)

    def wake(self) -> None:
        """End the pause that the node is in, if it is in one."""
        self._wake(self._paused_until)

    def when_awake(self, action: Callable[[], object]) -> None:
        """Do something to the node, at once or when it is no longer frozen, in the order of asking."""
        if self.paused:
            self._deferred.append(action)
        else:
            action()


class SimThread:
    """One strand of synchronous code on a node."""

    __slots__ = ("_greenlet", "dead", "finished", "kernel", "name", "node", "refused")

    def __init__(self, node: Node, name: str, body: Callable[[], object]) -> None:
        self.node = node
        self.kernel = node.kernel
        self.name = name
        self.dead = False
        self.finished = False
        self.refused = 0
        self._greenlet = greenlet(self._supervised(body), parent=self.kernel.hub)
        start = Timeout(self.kernel.env, 0)
        start.callbacks.append(self.resume)

    def _supervised(self, body: Callable[[], object]) -> Callable[[object], None]:
        # None may escape into SimPy: it rebuilds them as `type(e)(*e.args)`, at which SQLAlchemy's errors fail.
        def run(_: object) -> None:
            try:
                body()
            except GreenletExit:
                if not self.dead:
                    raise
            except BaseException as error:
                if not self.dead:
                    self.kernel.fail(self, error)
            finally:
                self.finished = True

        return run

    def resume(self, event: Event) -> None:
        """Go on with the code now that `event` has fired; SimPy calls this in the hub."""
        kernel = self.kernel
        while not self.dead:
            if self.node.paused:
                event.defused = True
                self.node.when_awake(partial(self.resume, event))
                return
            kernel.current = self
            waits_for = self._greenlet.switch(event)
            kernel.current = None
            if kernel.graves:
                kernel.bury()
            if self.finished or self.dead:
                return
            if waits_for.callbacks is not None:
                waits_for.callbacks.append(self.resume)
                return
            event = waits_for
        # A failed event that only the dead waited for is nobody's failure; SimPy would raise it.
        event.defused = True

    def kill(self) -> None:
        """Never resume this thread. Its stack is unwound by the hub, where it can do nothing any more."""
        self.dead = True
        for tell in self.kernel.on_thread_kill:
            tell(self)
        if not self.finished:
            self.kernel.graves.append(self)
            if self.kernel.current is None:
                self.kernel.bury()

    def unwind(self) -> None:
        """Free the stack of a killed thread; whatever its `except` and `finally` blocks try is refused by the ports."""
        self.kernel.current = self
        for _ in range(MAX_THROWS):
            if self._greenlet.dead:
                break
            self._greenlet.throw(GreenletExit)
        else:
            self.kernel.undead.append(self)
        self.kernel.current = None


class Kernel:
    """The SimPy environment, the hub and the nodes."""

    def __init__(self) -> None:
        self.env = simpy.Environment()
        self.hub = getcurrent()
        self.current: SimThread | None = None
        self.graves: list[SimThread] = []
        # Killed threads whose code swallows every GreenletExit; kept, since freeing them would run that code again.
        self.undead: list[SimThread] = []
        self.nodes: dict[str, Node] = {}
        self.on_kill: list[Callable[[Node], None]] = []
        # A thread may die alone, as a process of a worker's pool does.
        self.on_thread_kill: list[Callable[[SimThread], None]] = []
        # Where what the threads do is noted down, if it is.
        self.watch: Watch | None = None
        self.failed_tasks = 0
        self.stop_reason: str | None = None
        self._failure: tuple[SimThread, BaseException] | None = None

    @property
    def now(self) -> float:
        """The simulator's own time, which no fault ever moves."""
        return self.env.now

    def node(self, name: str) -> Node:
        """Return the node of that name, made on first use."""
        if name not in self.nodes:
            self.nodes[name] = Node(self, name)
        return self.nodes[name]

    def sleep(self, delay_s: float) -> None:
        """Let simulated time pass for the calling sim thread."""
        self._alive_caller()
        self.hub.switch(Timeout(self.env, delay_s))

    def stretched(self, duration_s: float) -> float:
        """Return how long work of so much time takes the calling sim thread: longer on a slow node."""
        thread = self.current
        for factor in thread.node.slowed_by.values() if thread is not None else ():
            duration_s *= factor
        return duration_s

    def work(self, duration_s: float) -> None:
        """Let the calling sim thread be at work for so long, or longer on a slow node."""
        self.sleep(self.stretched(duration_s))

    def wait(self, event: Event) -> Any:
        """Let the calling sim thread wait for a SimPy event and return its value, or raise what it failed with."""
        self._alive_caller()
        fired = self.hub.switch(event)
        if fired.ok:
            return fired.value
        fired.defused = True
        raise fired.value

    def _alive_caller(self) -> SimThread:
        thread = self.current
        if thread is None:
            raise SimulationError("only a sim thread can wait or die; this code runs in the hub")
        if thread.dead:
            self._refuse(thread)
        return thread

    def _refuse(self, thread: SimThread) -> NoReturn:
        """Throw a dead thread out; one that comes back time and again is not let go on at all."""
        thread.refused += 1
        while thread.refused > MAX_THROWS:
            self.hub.switch(None)
        raise GreenletExit

    def checkpoint(self) -> None:
        """Refuse to go on in a thread that is dead; ports that take no time call this."""
        if self.current is not None and self.current.dead:
            self._refuse(self.current)

    def die(self) -> None:
        """Kill the calling thread's own node; does not return."""
        self._alive_caller().node.kill()
        self.hub.switch(None)

    def call_later(self, delay_s: float, action: Callable[[], object]) -> None:
        """Run a short action in the hub after a delay. It must not wait."""

        def act(_: Event) -> None:
            action()

        Timeout(self.env, delay_s).callbacks.append(act)

    def bury(self) -> None:
        """Unwind the threads that were killed since the last switch; in the hub only."""
        while self.graves:
            self.graves.pop().unwind()

    def fail(self, thread: SimThread, error: BaseException) -> None:
        """Remember the first exception that escaped from a sim thread; the run stops with it."""
        if self._failure is None:
            self._failure = thread, error
        self.stop("broken")

    def stop(self, reason: str) -> None:
        """Stop the run after the current step."""
        if self.stop_reason is None:
            self.stop_reason = reason

    def run(self, until_s: float) -> str:
        """Run until the horizon or until somebody stops it; return why it ended. Raises `SimulationError`."""
        env = self.env
        step, peek = env.step, env.peek
        while self.stop_reason is None and peek() <= until_s:
            step()
        if self._failure is not None:
            thread, error = self._failure
            raise SimulationError(
                f"{thread.name} broke at {self.now:.6f} s: {type(error).__name__}: {error}"
            ) from error
        return self.stop_reason or "horizon"

    def close(self) -> None:
        """Kill every node, so that no greenlet outlives the run. These deaths are nothing that happened in it."""
        self.watch = None
        for node in list(self.nodes.values()):
            node.kill()

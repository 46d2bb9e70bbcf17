"""How nodes die, are stopped, freeze, and slow down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tem_sim.sim.kernel import Node

if TYPE_CHECKING:
    from tem_sim.pipeline.ports import ClaimedEvent
    from tem_sim.scenario.faults.log import Activation
    from tem_sim.scenario.faults.process import OutOfMemory, WorkerDeath, WorkerPause, WorkerSlow, WorkerStop
    from tem_sim.sim.faults.infliction import Infliction


def worker_death(at: Infliction, fault: WorkerDeath) -> None:
    def kill(node: Node) -> None:
        if not node.alive:
            return
        activation = at.log(node.name)
        activation.landed = 1
        node.connections_close_after_s = fault.connection_closes_after_s
        at.world.kill(node.name)
        node.connections_close_after_s = 0.0
        restart_later(at, activation, fault.restart_after_s)

    at.strike(kill)


def restart_later(at: Infliction, activation: Activation, after_s: float | None) -> None:
    """Start a node again that has just died; the activation says which, and ends then."""
    kernel = at.world.kernel
    if after_s is None:
        activation.detail = ", ".join(filter(None, [activation.detail, "not restarted"]))
        return

    def restart() -> None:
        at.world.start_node(activation.target)
        activation.end_s = kernel.now

    kernel.call_later(after_s, restart)


def worker_stop(at: Infliction, fault: WorkerStop) -> None:
    kernel = at.world.kernel

    def stop(node: Node) -> None:
        worker = at.world.workers[node.name]
        if not node.alive or worker.on_exit is not None:
            return
        activation = at.log(node.name)
        activation.landed = 1

        def end(how: str) -> None:
            activation.detail = how
            at.world.kill(node.name)
            restart_later(at, activation, fault.restart_after_s)

        def by_itself() -> None:
            end(f"ended by itself after {kernel.now - activation.start_s:.3g} s")

        def too_late() -> None:
            # Unless it has ended, or somebody else has killed it meanwhile.
            if worker.on_exit is by_itself:
                end(f"killed with {len(worker.busy_slots)} tasks in hand")

        kernel.call_later(fault.grace_s, too_late)
        worker.stop(by_itself)

    at.strike(stop)


def out_of_memory(at: Infliction, fault: OutOfMemory) -> None:
    world, kernel = at.world, at.world.kernel
    names = {node.name for node in at.nodes()}

    def kill_for(event: ClaimedEvent, service_s: float) -> None:
        """Kill the caller, half-way through its call, if the event is too large; then this does not return."""
        thread = kernel.current
        assert thread is not None
        if world.is_healed or not fault.at_s <= kernel.now < fault.at_s + fault.for_s:
            return
        if thread.node.name not in names or not is_too_large(event):
            return
        kernel.sleep(service_s / 2)
        activation = at.log(thread.node.name)
        activation.landed, activation.detail = 1, f"event {event.event_id} is too large"
        if fault.kills == "child":
            world.workers[thread.node.name].kill_child(int(thread.name.rpartition("/")[2]))
            activation.end_s = kernel.now
        else:
            world.kill(thread.node.name)
            restart_later(at, activation, fault.restart_after_s)
        kernel.sleep(0)

    def is_too_large(event: ClaimedEvent) -> bool:
        if fault.event_kind not in (None, event.kind):
            return False
        return world.streams.uniform("too-large", *at.key, event.event_id) < fault.probability

    world.dependency.before_call.append(kill_for)


def worker_pause(at: Infliction, fault: WorkerPause) -> None:
    kernel = at.world.kernel

    def pause(node: Node) -> None:
        if not node.alive:
            return
        activation = at.log(node.name)
        activation.landed = 1
        node.pause(fault.for_s)

        def resumed() -> None:
            activation.end_s = kernel.now

        kernel.call_later(fault.for_s, resumed)

    at.strike(pause)


def worker_slow(at: Infliction, fault: WorkerSlow) -> None:
    def begin() -> str:
        for node in at.nodes():
            node.slowed_by[at.key] = fault.factor
        return f"{fault.factor:g} times as slow"

    def end() -> int:
        for node in at.nodes():
            node.slowed_by.pop(at.key, None)
        return len(at.nodes())

    at.window(begin, end)

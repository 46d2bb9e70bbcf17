"""How nodes die and freeze."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tem_sim.sim.kernel import Node

if TYPE_CHECKING:
    from tem_sim.scenario.faults.process import WorkerDeath, WorkerPause
    from tem_sim.sim.faults.infliction import Infliction
    from tem_sim.sim.faults.log import Activation


def worker_death(at: Infliction, fault: WorkerDeath) -> None:
    world = at.world

    def kill(node: Node) -> None:
        if not node.alive:
            return
        activation = at.log(node.name)
        activation.landed = 1
        world.kill(node.name)
        if fault.restart_after_s is None:
            activation.detail = "not restarted"
            return
        world.kernel.call_later(fault.restart_after_s, lambda: restart(node.name, activation))

    def restart(name: str, activation: Activation) -> None:
        world.start_node(name)
        activation.end_s = world.kernel.now

    at.strike(kill)


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

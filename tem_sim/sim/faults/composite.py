"""How faults that are made of others strike: each part as it would alone, under the number of the whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tem_sim.sim.faults.infliction import Infliction

if TYPE_CHECKING:
    from tem_sim.scenario.faults.composite import Composite, Correlated, MetastableKick, Part


def in_parts(at: Infliction, fault: Composite) -> None:
    """Inflict all parts of a fault, whose times its own luck decides here and now."""
    for number, part in enumerate(fault.parts([node.name for node in at.nodes()], at.luck)):
        _inflict(at, number, part)


def correlated(at: Infliction, fault: Correlated) -> None:
    """Restart the broker, and kill whichever of the targets is at work when its time comes; any, if none is."""
    world = at.world
    _inflict(at, 0, fault.restart())
    dies_s = fault.at_s + at.luck.random() * fault.within_s

    def die() -> None:
        names = [node.name for node in at.nodes() if node.alive]
        victims = [name for name in names if world.workers[name].busy] or names
        draw = at.luck.random()
        if victims and not world.is_healed:
            # From now on time is counted from here.
            _inflict(at, 1, fault.death(victims[int(draw * len(victims))], 0.0))

    world.kernel.call_later(dies_s, die)


def metastable_kick(at: Infliction, fault: MetastableKick) -> None:
    """Slow the database, and let the crowd arrive."""
    world = at.world
    if fault.factor > 1:
        _inflict(at, 0, fault.slow())

    def arrive() -> None:
        if not fault.events or world.is_healed:
            return
        activation = at.log("api")
        activation.landed, activation.detail = fault.events, f"{fault.events} more events at once"
        activation.end_s = world.kernel.now
        world.api.add(fault.events)

    world.kernel.call_later(fault.at_s, arrive)


def _inflict(at: Infliction, number: int, part: Part) -> None:
    # The list of all kinds has those of this file, too.
    from tem_sim.sim.faults.inflict import INFLICT

    INFLICT[part.kind](Infliction(at.world, at.number, part, number), part)

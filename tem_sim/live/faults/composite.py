"""How faults that are made of others strike: each part as it would alone, under the number of the whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tem_sim.live.faults.infliction import Infliction
from tem_sim.live.faults.process import busy_pids

if TYPE_CHECKING:
    from tem_sim.scenario.faults.composite import Composite, Correlated, MetastableKick, Part


def in_parts(at: Infliction, fault: Composite) -> None:
    """Inflict all parts of a fault, whose times its own luck decides here and now, as in the simulator."""
    for number, part in enumerate(fault.parts(at.nodes(), at.luck)):
        _inflict(at, number, part)


def correlated(at: Infliction, fault: Correlated) -> None:
    """Restart the broker, and kill whichever of the targets is at work when its time comes; any, if none is."""
    stage = at.stage
    _inflict(at, 0, fault.restart())
    dies_s = fault.at_s + at.luck.random() * fault.within_s

    def die() -> None:
        names = [name for name in at.nodes() if stage.alive(name)]
        victims = [name for name in names if busy_pids(stage, name)] or names
        draw = at.luck.random()
        if victims and not stage.is_healed:
            _inflict(at, 1, fault.death(victims[int(draw * len(victims))], stage.now))

    stage.timeline.call_at(dies_s, die)


def metastable_kick(at: Infliction, fault: MetastableKick) -> None:
    """Let the crowd arrive; that the database is slow meanwhile is refused before the run."""
    stage = at.stage

    def arrive() -> None:
        if not fault.events or stage.is_healed:
            return
        activation = at.log("api")
        activation.landed, activation.detail = fault.events, f"{fault.events} more events at once"
        activation.end_s = activation.start_s
        stage.load.add(fault.events)

    stage.timeline.call_at(fault.at_s, arrive)


def _inflict(at: Infliction, number: int, part: Part) -> None:
    # The list of all kinds has those of this file, too.
    from tem_sim.live.faults.registry import LIVE, Inflicted

    how = LIVE[part.kind]
    assert isinstance(how, Inflicted)
    how.inflict(Infliction(at.stage, at.number, part, number), part)

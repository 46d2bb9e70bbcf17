"""How workers come to run other code than they should."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from tem_sim.pipeline.tasks import Pipeline

if TYPE_CHECKING:
    from tem_sim.pipeline.ports import Random
    from tem_sim.scenario.faults.code import ForkedSeed, OldVersion
    from tem_sim.scenario.streams import Stream, Streams
    from tem_sim.sim.faults.infliction import Infliction
    from tem_sim.sim.kernel import Kernel, SimThread


def old_version(at: Infliction, fault: OldVersion) -> None:
    _change(at, lambda pipe: replace(pipe, settings=fault.settings(pipe.settings)), "an old version runs")


def forked_seed(at: Infliction, fault: ForkedSeed) -> None:
    chance = ForkedChance(at.world.kernel, at.world.streams, ("forked", *at.key))
    _change(at, lambda pipe: replace(pipe, chance=chance), "all pool processes draw the same jitter")


def _change(at: Infliction, change: Callable[[Pipeline], Pipeline], told: str) -> None:
    """Let the target workers run with a changed pipeline, from their next task on; what several do adds up."""
    world = at.world

    def begin() -> str:
        for node in at.nodes():
            world.change_code(node.name, at.key, change)
        return told

    def end() -> int:
        for node in at.nodes():
            world.change_code(node.name, at.key, None)
        return len(at.nodes())

    at.window(begin, end)


class ForkedChance:
    """The chance of a worker whose processes were forked with one generator: the nth draw is the same in each.

    A process (a slot of the worker) draws one after the other from its copy, whatever it draws for.
    """

    def __init__(self, kernel: Kernel, streams: Streams, name: tuple[str | int, ...]) -> None:
        self._kernel = kernel
        self._streams = streams
        self._name = name
        self._of: dict[SimThread | None, Stream] = {}

    def stream(self, *name: str | int) -> Random:
        """Return the calling process's copy, as far as it has come; see `pipeline.ports.Chance`."""
        thread = self._kernel.current
        if thread not in self._of:
            self._of[thread] = self._streams.stream(*self._name)
        return self._of[thread]

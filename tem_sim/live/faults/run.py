"""The faults of one live run: inflicted at their times on the system's own parts, and logged as they happened."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tem_sim.live.faults.edges import Edges
from tem_sim.live.faults.infliction import Infliction
from tem_sim.live.faults.registry import LIVE, Inflicted
from tem_sim.live.faults.stage import Clients, Load, Stage
from tem_sim.live.faults.timeline import Timeline
from tem_sim.scenario.streams import Streams

if TYPE_CHECKING:
    from tem_sim.live.system import System
    from tem_sim.scenario.faults.log import Activation
    from tem_sim.scenario.models import Scenario


class Faults:
    """All faults of a system's scenario, which `plan.check_faults` has let pass.

    `seed` is the root of their luck: the same strikes at the same times as in the simulator. Times of `begin` and
    `close` are seconds since the epoch. `scenario` is another one than the system was started with: its faults cannot
    lie in wait at edges, of which the processes know nothing.
    """

    def __init__(
        self, system: System, seed: int, *, clients: Clients, load: Load, scenario: Scenario | None = None
    ) -> None:
        self._system = system
        self._timeline = Timeline(self._failed)
        self._started_at = 0.0
        self._stage = Stage(
            system=system,
            scenario=system.config.scenario if scenario is None else scenario,
            streams=Streams(seed),
            clients=clients,
            load=load,
            timeline=self._timeline,
            edges=Edges(system.config, self._timeline),
        )

    def begin(self, started_at: float) -> None:
        """Let the faults have their times from that moment on; the run's clock begins there."""
        stage = self._stage
        for number, fault in enumerate(stage.scenario.faults):
            how = LIVE[fault.kind]
            assert isinstance(how, Inflicted)
            how.inflict(Infliction(stage, number, fault), fault)
        if stage.scenario.heal_at_s is not None:
            self._timeline.call_at(stage.scenario.heal_at_s, stage.heal)
        self._started_at = started_at
        self._timeline.begin(started_at)
        stage.edges.open()

    @property
    def quiet(self) -> bool:
        """Whether every fault is over that has a known end."""
        stage = self._stage
        is_over = stage.now >= stage.scenario.quiet_after_s and not self._timeline.is_behind
        is_ending = bool(stage.ending) and not stage.is_healed
        return is_over and not is_ending and not stage.is_paused and not stage.leaving

    @property
    def healed(self) -> bool:
        """Whether all faults were ended, once and for all."""
        return self._stage.is_healed

    def close(self, now: float) -> list[Activation]:
        """End what is still at work, and return all that struck; a fault that never did has a row, too.

        Their times are seconds since the epoch. Twice does no harm.
        """
        stage = self._stage
        stage.edges.close()
        self._timeline.close()
        stage.log.close(stage.scenario.faults, now - self._started_at)
        stage.close()
        began = self._started_at
        return [replace(a, start_s=a.start_s + began, end_s=a.end_s + began) for a in stage.log.activations]

    def _failed(self, error: Exception) -> None:
        self._system.log.note("fault_failed", error=f"{type(error).__name__}: {error}")

"""The campaign: the same trials in the same order for every mutant, the cheapest first.

A trial runs the pipeline in some world under some seed, and says which checks raise an alarm. None of them knows which
mutant is at work, and code as it is raises none (`control`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from . import calm, laws
from .random_worlds import random_world
from .worlds import CALM, FAULTS, SETTINGS, SEVERAL, World, world

if TYPE_CHECKING:
    from tem_sim.frames import Run
    from tem_sim.scenario.models import Scenario

# check → what it says
Alarms = dict[str, str]
# A check of the campaign's own: what it has against a run.
Look = Callable[["Run"], str | None]
# Where rows wait for workers, they do so in one queue.
_IN_TURN: dict[str, Sequence[Look]] = {"busy": (calm.in_turn,)}

TIERS = ("policies", "calm", "settings", "races", "model", "faults", "sweep", "random")
RANDOM_SEEDS = 100
# How many cases of the sweep over single faults are run, of each of its scenarios.
SWEPT = 60
# How many seeds apart the blocks of a campaign are that is run several times.
BLOCK = 1000


@dataclass(frozen=True, slots=True)
class Trial:
    """One look at the pipeline: `look` returns the alarms."""

    tier: str
    name: str
    seed: int
    look: Callable[[], Alarms]


def trials(block: int = 0) -> Iterator[Trial]:
    """Yield the campaign's trials, with the seeds of a block."""
    first = block * BLOCK + 1
    from tem_sim.faultsweep.cases import spread

    yield Trial("policies", "laws", first, partial(_laws, first))
    for name, made in CALM.items():
        yield Trial("calm", name, first, partial(_simulated, made, first, (calm.calm, calm.in_turn)))
    for name, made in SETTINGS.items():
        yield Trial("settings", name, first, partial(_simulated, made, first, _IN_TURN.get(name, ())))
    for name in _races():
        yield Trial("races", name, first, partial(_race, name))
    yield Trial("model", "any order of steps", first, partial(_model, first))
    for name, made in spread(list(FAULTS.items())):
        yield Trial("faults", name, first, partial(_simulated, made, first))
    yield from _sweep(first)
    for seed in range(first, first + RANDOM_SEEDS):
        yield Trial("random", "random world", seed, partial(_random, seed))


def _sweep(seed: int) -> Iterator[Trial]:
    """Yield the sweep over single faults: `tem_sim.faultsweep` over one event, and over a few.

    Where faults can come in is found in a run without any, of the code that is tested.
    """
    from itertools import islice

    from tem_sim.faultsweep.cases import cases, cases_of, spread
    from tem_sim.scenario.models import Scenario

    one = Scenario.model_validate(world(seed=seed, scenario="one"))
    several = Scenario.model_validate({**SEVERAL, "seed": seed})
    for name, found in (("one", lambda: cases(one)), ("several", lambda: spread(list(cases_of("several", several))))):
        try:
            chosen = list(islice(found(), SWEPT))
        except Exception as error:
            yield Trial("sweep", name, seed, partial(_broken, error))
            continue
        for case in chosen:
            trial = f"{case.variant}: {case.boundary.place}, {case.fault}"
            yield Trial("sweep", trial, seed, partial(_run, case.scenario, seed))


def _races() -> list[str]:
    from tem_sim.races.pairs import RACES

    return [name for name, race in RACES.items() if not race.specimen]


def _race(name: str) -> Alarms:
    """Play a race of two threads under all schedules with up to two deviations, as far as the budget goes."""
    from tem_sim.pipeline.settings import Settings
    from tem_sim.pipeline.store import IsolationLevel
    from tem_sim.races.arena import Arena
    from tem_sim.races.explore import bounded
    from tem_sim.races.game import RaceGame
    from tem_sim.races.judge import INVARIANTS
    from tem_sim.races.pairs import RACES

    arena = Arena("sqlite://", IsolationLevel.READ_COMMITTED)
    broken: set[str] = set()
    try:
        game = RaceGame(arena.stage(RACES[name], Settings()))
        bounded(
            game, lambda one: broken.update(one.judged.broken), deviations=2, budget=120, until=lambda: bool(broken)
        )
        game.close()
    finally:
        arena.close()
    return {invariant: INVARIANTS[invariant] for invariant in sorted(broken)}


def _laws(seed: int) -> Alarms:
    found = {"policy_law": laws.policy_law(), "jitter_spread": laws.jitter_spread(seed)}
    return {name: detail for name, detail in found.items() if detail is not None}


def _random(seed: int) -> Alarms:
    return _simulated(random_world(seed), seed)


def _simulated(made: World, seed: int, more: Sequence[Look] = ()) -> Alarms:
    """Run a world and ask all checks of it."""
    from tem_sim.scenario.models import Scenario

    return _run(Scenario.model_validate(made), seed, more)


def _run(scenario: Scenario, seed: int, more: Sequence[Look] = ()) -> Alarms:
    from tem_sim.sim.world import simulate

    try:
        run = simulate(scenario, seed, progress=lambda *_: None)
    except Exception as error:
        return _broken(error)
    return judged(run, more)


def _broken(error: Exception) -> Alarms:
    """Return the alarm that an exception is which ends a run."""
    return {"broken": f"{type(error).__name__}: {error}".strip().splitlines()[0][:200]}


def judged(run: Run, more: Sequence[Look] = ()) -> Alarms:
    """Return what the project's checks, those of the campaign, and some more have against a run."""
    from tem_sim.checks.registry import run_checks

    found: Alarms = {}
    for verdict in run_checks(run):
        if verdict.verdict == "false":
            found[verdict.name] = verdict.detail
        elif "the check crashed" in verdict.detail:
            found[f"{verdict.name} crashed"] = verdict.detail
    for look in (calm.outcomes, calm.published, *more):
        name = look.__name__
        try:
            detail = look(run)
        except Exception as error:
            name, detail = f"{name} crashed", repr(error)
        if detail is not None:
            found[name] = detail
    return found


def _model(seed: int) -> Alarms:
    from .model import lives, walk

    detail = lives() or walk(seed)
    return {} if detail is None else {"reference": detail}

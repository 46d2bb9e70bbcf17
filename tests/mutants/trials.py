"""The campaign: the same trials in the same order for every mutant, the cheapest first.

A trial runs the pipeline in some world under some seed, and says which checks raise an alarm. None of them knows which
mutant is at work, and code as it is raises none (`control`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from . import calm, laws
from .random_worlds import random_world
from .worlds import CALM, FAULTS, SETTINGS, World

if TYPE_CHECKING:
    from tem_sim.frames import Run

# check → what it says
Alarms = dict[str, str]

TIERS = ("policies", "calm", "settings", "faults", "model", "random")
RANDOM_SEEDS = 100
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
    yield Trial("policies", "laws", first, partial(_laws, first))
    for name, world in CALM.items():
        yield Trial("calm", name, first, partial(_simulated, world, first, is_calm=True))
    for name, world in SETTINGS.items():
        yield Trial("settings", name, first, partial(_simulated, world, first))
    for name, world in FAULTS.items():
        yield Trial("faults", name, first, partial(_simulated, world, first))
    yield Trial("model", "any order of steps", first, partial(_model, first))
    for seed in range(first, first + RANDOM_SEEDS):
        yield Trial("random", "random world", seed, partial(_random, seed))


def _laws(seed: int) -> Alarms:
    found = {"policy_law": laws.policy_law(), "jitter_spread": laws.jitter_spread(seed)}
    return {name: detail for name, detail in found.items() if detail is not None}


def _random(seed: int) -> Alarms:
    return _simulated(random_world(seed), seed)


def _simulated(world: World, seed: int, *, is_calm: bool = False) -> Alarms:
    """Run a world and ask all checks of it."""
    from tem_sim.scenario.models import Scenario
    from tem_sim.sim.kernel import SimulationError
    from tem_sim.sim.world import simulate

    scenario = Scenario.model_validate(world)
    try:
        run = simulate(scenario, seed)
    except SimulationError as error:
        return _broken(error)
    return judged(run, is_calm=is_calm)


def _broken(error: BaseException) -> Alarms:
    """Tell the store's refusals of what its rules forbid from other exceptions that end a run."""
    from sqlalchemy.exc import IntegrityError

    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, IntegrityError):
        cause = cause.__cause__
    name = "broken" if cause is None else "store_refuses"
    text = str(error if cause is None else getattr(cause, "orig", cause))
    return {name: text.strip().splitlines()[0][:200]}


def judged(run: Run, *, is_calm: bool) -> Alarms:
    """Return what the project's checks, and those of the campaign, have against a run."""
    from tem_sim.checks.registry import run_checks

    found: dict[str, Any] = {}
    for verdict in run_checks(run):
        if verdict.verdict == "false":
            found[verdict.name] = verdict.detail
        elif "the check crashed" in verdict.detail:
            found[f"{verdict.name} crashed"] = verdict.detail
    found["outcomes"] = calm.outcomes(run)
    if is_calm:
        found["calm"] = calm.calm(run)
    return {name: detail for name, detail in found.items() if detail is not None}


def _model(seed: int) -> Alarms:
    from .model import walk

    detail = walk(seed)
    return {} if detail is None else {"reference": detail}

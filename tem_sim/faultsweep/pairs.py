"""A second fault in what the first one has led to: there the code recovers, and few tests ever see it do so."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tem_sim.faultsweep.boundaries import boundaries_of
from tem_sim.faultsweep.cases import Case, cases_of, combined

if TYPE_CHECKING:
    from tem_sim.frames import Run
    from tem_sim.scenario.models import Scenario

# So many second faults are drawn for one first fault, whose run has to be made to know what follows it.
DRAWS = 4


@dataclass(frozen=True, slots=True)
class Start:
    """A first fault in its reduced scenario, and how many second ones are drawn."""

    first: Case
    base: Scenario
    draws: int
    seed: int


def starts(firsts: Sequence[tuple[Case, Scenario]], pairs: int, seed: int) -> list[Start]:
    """Return the first faults of so many pairs, drawn by the seed."""
    if not firsts or not pairs:
        return []
    number = min(len(firsts), math.ceil(pairs / DRAWS))
    drawn = random.Random(f"pairs {seed}").sample(list(firsts), number)
    each, more = divmod(pairs, number)
    return [Start(case, base, each + (place < more), seed) for place, (case, base) in enumerate(drawn)]


def seconds(start: Start, run: Run) -> tuple[list[tuple[Case, Scenario]], int]:
    """Return the second faults drawn for a first one, whose run this is, and how many there were to draw from."""
    struck = run.faults[run.faults["landed"] > 0]
    after = [at for at in boundaries_of(run) if at.t_s >= float(struck["start_s"].min())]
    found = list(cases_of(start.first.variant, start.base, after))
    drawn = random.Random(f"{start.seed} {start.first.key}").sample(found, min(start.draws, len(found)))
    return [(case, combined(start.base, start.first, case)) for case in drawn], len(found)

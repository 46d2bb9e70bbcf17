"""Which seeds a cell needs, given what is known of it: a function of its rows alone, so that it can be asked again.

Where seeds are run until a mean is known well enough, the interval is looked at after the first `min` and after each
`batch`, in the order of the seeds. In which order runs ended, and in how many goes, makes no difference.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from tem_sim.analysis.statistics import mean_interval
from tem_sim.scenario.seeds import SeedsUntil, first_seeds

if TYPE_CHECKING:
    from tem_sim.sweeps.rows import RunRow


def wanted(seeds: int | tuple[int, ...] | SeedsUntil, values: Mapping[int, float]) -> tuple[int, ...]:
    """Return the seeds that must be run; `values` has the metric of those that have been, NaN where it has none."""
    if not isinstance(seeds, SeedsUntil):
        return first_seeds(seeds)
    number = seeds.min
    while number < seeds.max and all(seed in values for seed in range(1, number + 1)):
        if known_well([values[seed] for seed in range(1, number + 1)], seeds.goal.share):
            break
        number = min(number + seeds.batch, seeds.max)
    return tuple(range(1, number + 1))


def metric_by_seed(seeds: int | tuple[int, ...] | SeedsUntil, rows: Iterable[RunRow]) -> dict[int, float]:
    """Return what the rule looks at, by seed; nothing where there is no rule."""
    if not isinstance(seeds, SeedsUntil):
        return {}
    return {row.seed: row.metrics.get(seeds.goal.metric, math.nan) for row in rows}


def known_well(values: list[float], share: float) -> bool:
    """Tell whether half the interval of the mean is below this share of the mean; never from fewer than two values."""
    mean, low, _, n = mean_interval(values)
    half = mean - low
    if n < 2 or math.isnan(half):
        return False
    return half == 0 or half < share * abs(mean)

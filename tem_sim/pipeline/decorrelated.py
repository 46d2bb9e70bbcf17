"""Where a capped decorrelated chain is at retry k, by quadrature: no closed form is left once the cap bites.

The previous delay's distribution is kept as the mass of each of some 20 000 cells, even in the logarithm
between base and cap, and of one atom at the cap. One step spreads each mass over its own interval. The mean
comes out to about 1e-6 of itself; tests compare it with draws, and with the exact mean where that exists.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_CELLS = 20_000
# Long before this many steps the chain has forgotten its start, and a later retry is the stationary state.
_STEPS = 200


def marginal(base_s: float, factor: float, cap_s: float, retry: int, *, clipped: bool) -> tuple[float, float]:
    """Return the mean delay before this retry and the probability that it is exactly the cap.

    `clipped` chooses min(cap, U(base, factor·previous)) over U(base, min(cap, factor·previous)).
    Needs factor > 1, cap > base and retry >= 2.
    """
    import numpy as np

    highs_s = _highs_s(base_s, factor, cap_s, clipped)
    inside = np.minimum(1.0, (cap_s - base_s) / (highs_s - base_s))
    # Given its place the next delay's mean is exact; only the places are approximate.
    means_s = inside * (base_s + np.minimum(cap_s, highs_s)) / 2 + (1 - inside) * cap_s
    mass = _mass_before(base_s, factor, cap_s, min(retry, _STEPS), clipped)
    return float(means_s @ mass), float((1 - inside) @ mass)


def cumulative(
    base_s: float, factor: float, cap_s: float, retry: int, *, clipped: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return delays from base to cap and the probability of one before this retry that is less than each.

    What the last falls short of 1 by is the mass at the cap. Needs what `marginal` needs.
    """
    import numpy as np

    mass = _mass_before(base_s, factor, cap_s, min(retry + 1, _STEPS), clipped)
    return _edges_s(base_s, factor, cap_s), np.concatenate(([0.0], np.cumsum(mass[:-1])))


@lru_cache(maxsize=_STEPS)
def _mass_before(base_s: float, factor: float, cap_s: float, retry: int, clipped: bool) -> NDArray[np.float64]:
    """Return the distribution of the delay before retry - 1: mass per cell, then at the cap."""
    import numpy as np

    edges_s = _edges_s(base_s, factor, cap_s)
    if retry == 2:
        high_s = factor * base_s if clipped else min(cap_s, factor * base_s)
        reached = np.minimum(1.0, (edges_s - base_s) / (high_s - base_s))
    else:
        highs_s = _highs_s(base_s, factor, cap_s, clipped)
        reached = _reached(edges_s, highs_s, _mass_before(base_s, factor, cap_s, retry - 1, clipped))
    return np.append(np.diff(reached), 1.0 - reached[-1])


def _reached(
    edges_s: NDArray[np.float64], highs_s: NDArray[np.float64], mass: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the probability of a delay up to each edge.

    A mass whose interval ends below the edge counts whole, and any other by the part of its interval that
    lies below. The interval ends grow with the place, so running sums do for all edges at once.
    """
    import numpy as np

    base_s = edges_s[0]
    whole = np.concatenate(([0.0], np.cumsum(mass)))
    density = mass / (highs_s - base_s)
    beyond = np.concatenate((np.cumsum(density[::-1])[::-1], [0.0]))
    ended = np.searchsorted(highs_s, edges_s, side="right")
    reached: NDArray[np.float64] = np.minimum(1.0, whole[ended] + (edges_s - base_s) * beyond[ended])
    return reached


def _edges_s(base_s: float, factor: float, cap_s: float) -> NDArray[np.float64]:
    """Return the cells' edges, one at each base·factor^j where it can be had: the density jumps there."""
    import numpy as np

    powers = math.log(cap_s / base_s) / math.log(factor)
    per_power = int(_CELLS / powers)
    if per_power < 1:
        return np.geomspace(base_s, cap_s, _CELLS + 1)
    exponents = np.arange(int(powers * per_power) + 1) / per_power
    edges_s: NDArray[np.float64] = base_s * np.power(factor, exponents)
    return np.append(edges_s[edges_s < cap_s * (1 - 1e-9)], cap_s)


def _highs_s(base_s: float, factor: float, cap_s: float, clipped: bool) -> NDArray[np.float64]:
    """Return where the interval after each place ends; a place is the middle of a cell, or the cap."""
    import numpy as np

    edges_s = _edges_s(base_s, factor, cap_s)
    reach_s = factor * np.append((edges_s[:-1] + edges_s[1:]) / 2, cap_s)
    return reach_s if clipped else np.minimum(cap_s, reach_s)

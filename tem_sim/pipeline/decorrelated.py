"""Where a capped decorrelated chain is at retry k, by quadrature: no closed form is left once the cap bites.

The previous delay's distribution is kept as the mass of each of 1 000 cells, evenly spaced in the logarithm
between base and cap, and of one atom at the cap. One step spreads each mass over its own interval. The mean
comes out to about 1e-5 of itself; tests compare it with draws, and with the exact mean where that exists.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_CELLS = 1000
# Long before this many steps the chain has forgotten its start, and a later retry is the stationary state.
_STEPS = 200


def marginal(base_s: float, factor: float, cap_s: float, retry: int, *, clipped: bool) -> tuple[float, float]:
    """Return the mean delay before this retry and the probability that it is exactly the cap.

    `clipped` chooses min(cap, U(base, factor·previous)) over U(base, min(cap, factor·previous)).
    Needs factor > 1, cap > base and retry >= 2.
    """
    import numpy as np

    places_s = _places_s(base_s, cap_s)
    highs_s = factor * places_s if clipped else np.minimum(cap_s, factor * places_s)
    inside = np.minimum(1.0, (cap_s - base_s) / (highs_s - base_s))
    # Given its place the next delay's mean is exact; only the places are approximate.
    means_s = inside * (base_s + np.minimum(cap_s, highs_s)) / 2 + (1 - inside) * cap_s
    mass = _mass_before(base_s, factor, cap_s, min(retry, _STEPS), clipped)
    return float(means_s @ mass), float((1 - inside) @ mass)


@lru_cache(maxsize=2 * _STEPS)
def _mass_before(
    base_s: float, factor: float, cap_s: float, retry: int, clipped: bool
) -> NDArray[np.float64]:
    """Return the distribution of the delay before retry - 1: mass per cell, then at the cap."""
    import numpy as np

    if retry == 2:
        edges_s = np.geomspace(base_s, cap_s, _CELLS + 1)
        high_s = factor * base_s if clipped else min(cap_s, factor * base_s)
        reached = np.minimum(1.0, (edges_s - base_s) / (high_s - base_s))
    else:
        mass = _mass_before(base_s, factor, cap_s, retry - 1, clipped)
        reached = _step(base_s, factor, cap_s, clipped) @ mass
    return np.append(np.diff(reached), 1.0 - reached[-1])


@lru_cache(maxsize=2)
def _step(base_s: float, factor: float, cap_s: float, clipped: bool) -> NDArray[np.float64]:
    """Return, per cell edge and place, the probability of a delay up to the edge after one at the place."""
    import numpy as np

    places_s = _places_s(base_s, cap_s)
    highs_s = factor * places_s if clipped else np.minimum(cap_s, factor * places_s)
    edges_s = np.geomspace(base_s, cap_s, _CELLS + 1)
    reached: NDArray[np.float64] = np.minimum(1.0, (edges_s[:, None] - base_s) / (highs_s - base_s)[None, :])
    return reached


def _places_s(base_s: float, cap_s: float) -> NDArray[np.float64]:
    """Return where each mass is taken to be: the middle of its cell, and the cap."""
    import numpy as np

    edges_s = np.geomspace(base_s, cap_s, _CELLS + 1)
    return np.append((edges_s[:-1] + edges_s[1:]) / 2, cap_s)

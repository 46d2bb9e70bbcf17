"""The retry policy of this project, as its workers use it."""

import random

BASE_S = 2.0
CAP_S = 60.0


def policy(retry: int, rng: random.Random) -> float:
    """Full jitter, and a floor, so that no retry comes at once: 1 s + U(0, min(60, 2·2^(k−1)))."""
    return 1.0 + rng.uniform(0, min(CAP_S, BASE_S * 2 ** (retry - 1)))

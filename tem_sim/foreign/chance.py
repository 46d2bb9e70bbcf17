"""Chance for code that expects Python's own: all that `random` offers, made of one uniform.

Whatever such a function draws, and from wherever it draws it, its result is then a function of that uniform.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

_MASK = 2**64 - 1
_GAMMA = 0x9E3779B97F4A7C15


class Dice(random.Random):
    """A `random.Random` whose first draw is the given uniform, and whose further ones follow from it (splitmix64)."""

    def __new__(cls, uniform: float) -> Dice:
        # Without an argument it would be seeded from the operating system first, which takes longer than all the rest.
        return super().__new__(cls, 0)  # type: ignore[call-arg]  # The stubs do not know its argument.

    def __init__(self, uniform: float) -> None:
        self.gauss_next = None
        self._first: float | None = uniform
        self._state = int(uniform * 2**53)

    def seed(self, *_: object, **__: object) -> None:
        """Stay as it is: where its chance comes from is not the caller's to choose."""

    def random(self) -> float:
        """Return the next uniform in [0, 1)."""
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return (self._word() >> 11) * 2.0**-53

    def getrandbits(self, k: int, /) -> int:
        """Return k random bits; `randrange`, `choice` and `shuffle` are made of them."""
        if k < 0:
            raise ValueError("number of bits must be non-negative")
        made = 0
        for _ in range(-(-k // 64)):
            made = made << 64 | self._word()
        return made >> (-k % 64)

    def _word(self) -> int:
        self._first = None
        self._state = (self._state + _GAMMA) & _MASK
        z = self._state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return z ^ (z >> 31)


def seed_of(uniform: float) -> int:
    """Return a seed for the module functions of `random`, unrelated to the draws of `Dice`."""
    return int(uniform * 2**53) ^ _GAMMA


@contextmanager
def global_chance(uniform: float) -> Iterator[None]:
    """Let the module functions of `random` follow from a uniform, and leave them afterwards as they were."""
    before = random.getstate()
    random.seed(seed_of(uniform))
    try:
        yield
    finally:
        random.setstate(before)

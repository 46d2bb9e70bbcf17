"""Chance by name: each use of luck has a stream of its own, derived from the root seed and its name alone.

So adding a fault or changing a policy moves nobody else's luck, and two runs that differ in one setting can be
compared draw by draw (common random numbers). There is no global state and nothing depends on the order of use.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_MASK = 2**64 - 1
_GAMMA = 0x9E3779B97F4A7C15
_SCALE = 2.0**-53


class Stream:
    """A counter-based stream of uniforms: the name's hash, then splitmix64 (Steele, Lea, Flood 2014) from it."""

    __slots__ = ("_drawn", "_key")

    def __init__(self, key: int) -> None:
        self._key = key
        self._drawn = 0

    def random(self) -> float:
        """Return the next uniform in [0, 1), a multiple of 2^-53."""
        n = self._drawn
        self._drawn = n + 1
        if not n:
            return (self._key >> 11) * _SCALE
        z = (self._key + n * _GAMMA) & _MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return ((z ^ (z >> 31)) >> 11) * _SCALE


class Streams:
    """All streams of one run. Names are made of strings and Python ints; ("a", 1, 23) and ("a", 12, 3) differ."""

    __slots__ = ("_prefix", "seed")

    def __init__(self, seed: int) -> None:
        self.seed = int(seed)
        self._prefix = f"{self.seed}:"

    def __repr__(self) -> str:
        return f"Streams({self.seed})"

    def stream(self, *name: str | int) -> Stream:
        """Return the stream of that name, at its beginning."""
        # A tuple's repr quotes and separates its parts, so no two names look alike.
        data = f"{self._prefix}{name!r}".encode()
        return Stream(int.from_bytes(blake2b(data, digest_size=8).digest(), "little"))

    def uniform(self, *name: str | int) -> float:
        """Return the first draw of that stream, without making one."""
        data = f"{self._prefix}{name!r}".encode()
        return (int.from_bytes(blake2b(data, digest_size=8).digest(), "little") >> 11) * _SCALE

    def generator(self, *name: str | int) -> np.random.Generator:
        """Return a numpy generator (PCG64) for many draws at once; its draws are not those of `stream`."""
        import numpy as np

        digest = blake2b(f"{self._prefix}{name!r}".encode(), digest_size=32).digest()
        return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))

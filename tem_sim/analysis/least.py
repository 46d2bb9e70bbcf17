"""The smallest value that is enough, by doubling and halving: where every larger value is enough as well."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def least(values: Sequence[T], enough: Callable[[T], bool]) -> T | None:
    """Return the first of the values that is enough, given that all after it are too; None where none is."""
    low, high = -1, 0
    while high < len(values) and not enough(values[high]):
        low, high = high, 2 * high + 1
    # The last value is the last hope.
    if high >= len(values):
        high = len(values) - 1
        if low == high or not values or not enough(values[high]):
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(values[middle]) else (middle, high)
    return values[high]


def three_digits(low: float, high: float) -> list[float]:
    """Return all numbers of three digits from low to high, and both ends whatever their digits; low is above 0."""
    powers = range(math.floor(math.log10(low)), math.floor(math.log10(high)) + 1)
    # Read as text, so that 1.23 is the 1.23 that a person would write.
    between = [float(f"{digits}e{power - 2}") for power in powers for digits in range(100, 1000)]
    return sorted({low, high, *(value for value in between if low < value < high)})

"""What a number handed to a backoff policy may be, and the one sentence said when it is not."""

import math
from collections.abc import Iterable

MAX_DELAY_S = 10 * 365 * 86_400.0
"""Ceiling of every delay (ten years): growth without a cap saturates here, so no inf ever leaves a policy."""


def seconds(where: str, value: float, *, above: float | None = None) -> float:
    """Return `value` as a float within [0, MAX_DELAY_S], or strictly above `above`; else ValueError."""
    number = _finite(where, value, "seconds such as 10.0")
    if above is not None and number <= above:
        raise ValueError(f"{where}: must be > {above:g}, got {value!r}; give seconds such as 10.0")
    if not 0 <= number <= MAX_DELAY_S:
        rule = f"must be between 0 and {MAX_DELAY_S:g} (ten years)"
        raise ValueError(f"{where}: {rule}, got {value!r}; give seconds such as 10.0")
    return number


def within(where: str, value: float, low: float, high: float, example: float) -> float:
    """Return `value` as a float when low <= value <= high; else ValueError."""
    number = _finite(where, value, f"a number such as {example:g}")
    if not low <= number <= high:
        rule = f"must be >= {low:g}" if high == math.inf else f"must be between {low:g} and {high:g}"
        raise ValueError(f"{where}: {rule}, got {value!r}; give a number such as {example:g}")
    return number


def count(where: str, value: int, *, least: int) -> int:
    """Return `value` when it is a whole number of at least `least`; else ValueError."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or value < least:
        raise ValueError(f"{where}: must be a whole number >= {least}, got {value!r}; give one such as 5")
    return int(value)


def retry_number(retry: int) -> int:
    """Return `retry` when it counts from 1 (1 is the wait after the first failure); else ValueError."""
    if retry.__class__ is int and retry >= 1:
        return retry
    return count("retry", retry, least=1)


def limits(where: str, max_retries: int | None, budget_s: float | None) -> tuple[int | None, float | None]:
    """Check a policy's two limits; None means no limit."""
    retries = None if max_retries is None else count(f"{where}.max_retries", max_retries, least=0)
    budget = None if budget_s is None else positive_finite(f"{where}.budget_s", budget_s)
    return retries, budget


def positive_finite(where: str, value: float) -> float:
    """Return `value` as a float when it is a finite number above 0; else ValueError."""
    number = _finite(where, value, "seconds such as 3600.0")
    if number <= 0:
        raise ValueError(f"{where}: must be > 0, got {value!r}; give seconds such as 3600.0, or None")
    return number


def several_seconds(where: str, values: Iterable[float]) -> tuple[float, ...]:
    """Return the values as a tuple of checked seconds; ValueError when there are none."""
    checked = tuple(seconds(f"{where}[{i}]", value) for i, value in enumerate(values))
    if not checked:
        raise ValueError(f"{where}: must hold at least one delay, got (); give seconds such as (10.0, 60.0)")
    return checked


def saturate(delay_s: float) -> float:
    """Bring an overgrown delay down to MAX_DELAY_S."""
    return min(delay_s, MAX_DELAY_S)


def _finite(where: str, value: float, remedy: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{where}: must be a finite number, got {_shown(value)}; give {remedy}")
    return number


def _shown(value: object) -> str:
    """Keep the message on one short line: a whole number may have thousands of digits."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to print an int of more than 4300 digits.
        return "a huge whole number"
    return text if len(text) <= 60 else f"{text[:57]}..."

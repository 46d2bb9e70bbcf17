"""What the sections of a generated scenario are made of: small numbers, times on a coarse grid, sections left out.

Sections are plain data, as a file has them. Whole seconds and tenths shrink to numbers that one can read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from pydantic import JsonValue

Section: TypeAlias = "dict[str, JsonValue]"


def times_s(least: float, most: float, step_s: float = 0.5) -> SearchStrategy[float]:
    """Return times from `least` to `most` in whole steps."""
    return st.integers(round(least / step_s), int(most / step_s)).map(lambda steps: steps * step_s)


def shares(least: float = 0.0, most: float = 1.0) -> SearchStrategy[float]:
    """Return fractions in twentieths."""
    return times_s(least, most, 0.05).map(lambda share: round(share, 2))


def or_off(values: SearchStrategy[float] | SearchStrategy[int]) -> SearchStrategy[JsonValue]:
    """Return a quantity, or `off`."""
    return st.one_of(values, st.just("off"))


def section(
    always: Mapping[str, SearchStrategy[JsonValue]] | None = None,
    sometimes: Mapping[str, SearchStrategy[JsonValue]] | None = None,
) -> SearchStrategy[Section]:
    """Return mappings with all of the first keys and some of the second; fewer is simpler."""
    made: SearchStrategy[Section] = st.fixed_dictionaries(dict(always or {}), optional=dict(sometimes or {}))
    return made

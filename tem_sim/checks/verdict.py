"""What a check says of a run: true, unknown or false, with the rows that made it so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pandas as pd

Answer = Literal["true", "unknown", "false"]

# Worst last: false beats unknown, and unknown beats true.
ORDER: tuple[Answer, ...] = ("true", "unknown", "false")
MAX_ROWS = 100


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Verdict:
    """One check's answer.

    `detail` is one sentence with numbers. `rows` holds the first `MAX_ROWS` offending rows, of which there
    are `n_rows` (for "unknown": the rows that could not be judged).
    """

    name: str
    verdict: Answer
    detail: str
    rows: pd.DataFrame
    n_rows: int

    def __repr__(self) -> str:
        return f"<{self.name}: {self.verdict}; {self.detail}>"


def worst(answers: Sequence[Answer]) -> Answer:
    """Return false if any is, else unknown if any is, else true; unknown for none at all."""
    return max(answers, key=ORDER.index) if answers else "unknown"


def verdict(name: str, answer: Answer, detail: str, rows: pd.DataFrame | None = None) -> Verdict:
    """Return a verdict that keeps the first rows and counts them all."""
    import pandas as pd

    offending = pd.DataFrame() if rows is None else rows
    kept = offending.head(MAX_ROWS).reset_index(drop=True)
    return Verdict(name=name, verdict=answer, detail=detail, rows=kept, n_rows=len(offending))


def no_offence(name: str, offending: pd.DataFrame, fine: str, broken: str) -> Verdict:
    """Return true with the sentence `fine` where no row offends, else false with `broken`."""
    return verdict(name, "false", broken, offending) if len(offending) else verdict(name, "true", fine)


def count(number: int, noun: str, plural: str | None = None) -> str:
    """Return the number with its noun: `1 event`, `2,000 events`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"

"""What a check says of a run: true, unknown or false, with the rows that made it so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pandas as pd

Answer = Literal["true", "unknown", "false"]
# Nothing bad happens; something good does in the end; the run itself is what it should be.
Kind = Literal["safety", "liveness", "meta"]

# Worst last: false beats unknown, and unknown beats true.
ORDER: tuple[Answer, ...] = ("true", "unknown", "false")
MAX_ROWS = 100
_SIGNS: dict[Answer, str] = {"true": "✔", "unknown": "?", "false": "✘"}


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
    kind: Kind = "safety"

    def __repr__(self) -> str:
        return f"<{self.name}: {self.verdict}; {self.detail}>"

    def _repr_html_(self) -> str:
        return f"<div>{_shown([self])}{self.rows.to_html(border=0) if self.n_rows else ''}</div>"


class Verdicts(list[Verdict]):
    """What all checks say of a run, in display order; a notebook shows it as a table."""

    def __repr__(self) -> str:
        return "\n".join(map(repr, self))

    def _repr_html_(self) -> str:
        return _shown(self)


def _shown(verdicts: Sequence[Verdict]) -> str:
    """Return the answers as an HTML table, by sign as well as by word."""
    rows = "".join(
        f"<tr><td>{_SIGNS[one.verdict]}</td><td>{one.verdict}</td>"
        f"<td style='text-align:left'><b>{escape(one.name)}</b></td>"
        f"<td style='text-align:left'>{escape(one.detail)}</td></tr>"
        for one in verdicts
    )
    return f"<table>{rows}</table>"


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

"""What a question was answered with: a verdict in words first, then the table it rests on, then how it was made."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

# More rows than this a notebook or a terminal shows only in part; `table` has them all.
SHOWN_ROWS = 40


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Result:
    """The answer to one question.

    `verdict` is one to three sentences that stand on their own, with numbers, units and uncertainty. `table` is tidy:
    one row per thing compared, units last in the columns' names, intervals as `…_low` and `…_high`. `notes` say how it
    was made and what it assumes (replications, warm-up, censoring, correction for many comparisons), a sentence each.
    `headline` names the columns that a narrow screen shows; all of them where it is empty.
    """

    title: str
    verdict: str
    table: pd.DataFrame
    notes: tuple[str, ...] = ()
    headline: tuple[str, ...] = ()

    def __repr__(self) -> str:
        parts = [self.title, self.verdict, "", self.table.to_string(max_rows=SHOWN_ROWS, float_format=short)]
        return "\n".join([*parts, *([""] if self.notes else []), *(f"· {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        table = self.table.to_html(max_rows=SHOWN_ROWS, float_format=short, border=0)
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.notes)
        return (
            f"<div><b>{escape(self.title)}</b><p>{escape(self.verdict)}</p>{table}"
            + (f"<details><summary>how this was made</summary><ul>{notes}</ul></details>" if notes else "")
            + "</div>"
        )


def short(value: float) -> str:
    """Return a number to four digits, and large ones in full."""
    # `.4g` alone would write 1e+04 for ten thousand.
    return f"{value:,.0f}" if abs(value) >= 9999.5 else f"{value:.4g}"

"""What the checks found, with the rows that offend."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from tem_sim.report.page.blocks import Html, element, folded, frame_table, table, wrap

if TYPE_CHECKING:
    from tem_sim.report.outcome import Judged, Kind, Outcome
    from tem_sim.report.page.runs import Runs

SHOWN_ROWS = 20

# Sign and words; the sign is for the eye alone.
ANSWERS: dict[Kind, tuple[str, str]] = {
    "holds": ("✔", "holds"),
    "broken": ("✘", "broken"),
    "unknown": ("?", "cannot tell"),
    "as_meant": ("✔", "broken, as meant"),
    "unbroken": ("✘", "meant to be broken"),
}
OF = {"safety": "safety", "liveness": "liveness", "meta": "the run"}


def checks(runs: Runs) -> Html:
    """Return every check's finding; the rows of an unexpected violation stand open."""
    return Html("".join(runs.heading(number) + _of(outcome) for number, outcome in enumerate(runs.outcomes)))


def _of(outcome: Outcome) -> str:
    rows = [_row(judged) for judged in outcome.checks]
    found = table(["check", "of", "answer", "finding"], rows, f"The {len(rows)} checks", html=True)
    return found + "".join(_offending(judged) for judged in outcome.checks if judged.verdict.n_rows)


def _row(judged: Judged) -> list[str]:
    return [escape(judged.verdict.name), OF[judged.verdict.kind], answer(judged.kind), escape(judged.verdict.detail)]


def answer(kind: Kind, words: str = "") -> str:
    """Return an answer as a sign, words and a colour, of which the words alone would do."""
    sign, usual = ANSWERS[kind]
    inner = element("span", sign, class_="sign", aria_hidden="true") + " " + escape(words or usual)
    return wrap("span", inner, class_=f"answer {kind}")


def _offending(judged: Judged) -> str:
    found = judged.verdict
    rows = found.rows.head(SHOWN_ROWS)
    part = f"the first {len(rows)} of {found.n_rows:,} rows" if found.n_rows > len(rows) else f"{found.n_rows:,} rows"
    what = "that cannot be judged" if found.verdict == "unknown" else "that offend"
    title = f"{found.name}: {part} {what}"
    return folded(title, frame_table(rows, title), opened=judged.kind == "broken")

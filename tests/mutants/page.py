"""The page docs/mutants.md: its tables as the campaign has measured them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from .known.all import ALL
from .mutant import Mutant
from .patches import ROOT
from .score import Row, Score

PAGE = ROOT / "docs" / "mutants.md"
TABLE, ALONE, EQUIVALENT = "all tiers", "single faults alone", "equivalent"
# The tier in which one fault at a time strikes, at each boundary in turn.
SINGLE = ("sweep",)


def part(text: str, name: str) -> str:
    """Return what stands between the two comments of a part; ValueError where there is none."""
    found = _pattern(name).search(text)
    if found is None:
        raise ValueError(f"no part {name!r}")
    return found["body"]


def with_part(text: str, name: str, body: str) -> str:
    """Return the page with a part renewed."""
    part(text, name)
    return _pattern(name).sub(lambda found: f"{found['head']}{body}{found['tail']}", text)


def _pattern(name: str) -> re.Pattern[str]:
    head, tail = f"<!-- measured: {re.escape(name)} -->\n\n", "\n<!-- end -->"
    return re.compile(f"(?P<head>{head})(?P<body>.*?)(?P<tail>{tail})", re.DOTALL)


def write(score: Score, tiers: Sequence[str]) -> None:
    """Renew what this campaign has measured: the table of all tiers, or the share that single faults kill alone."""
    text = PAGE.read_text(encoding="utf-8")
    if tuple(sorted(tiers)) == SINGLE:
        text = with_part(text, ALONE, alone(score))
    elif not tiers:
        text = with_part(text, TABLE, table(score))
        text = with_part(text, EQUIVALENT, equivalents())
    PAGE.write_text(text, encoding="utf-8")


def table(score: Score) -> str:
    """Return the table of all mutants, and what it comes to."""
    head = (
        "| # | mutant | what a tired engineer did | tier: trial | check | runs | s |\n|---|---|---|---|---|---|---|\n"
    )
    rows = "".join(_row(row) for row in score.mutants)
    tiers = Counter(row.alarm.tier for row in score.mutants if row.alarm is not None)
    by_tier = ", ".join(f"{count} by {tier}" for tier, count in tiers.items())
    return f"{head}{rows}\nKilled: {by_tier}. Seconds to kill: {score.times()}.\n\n{score.last_line()}\n"


def _row(row: Row) -> str:
    alarm = row.alarm
    where = "-" if alarm is None else f"{alarm.tier}: {alarm.trial}"
    seen = row.verdict() if alarm is None else f"`{alarm.check}`"
    runs, seconds = (row.outcome.runs, row.outcome.seconds) if alarm is None else (alarm.runs, alarm.seconds)
    return f"{described(row.mutant)} {where} | {seen} | {runs} | {seconds:.1f} |\n"


def described(mutant: Mutant) -> str:
    """Return the first cells of a mutant's row, which the list alone decides."""
    return f"| {mutant.chaos or ''} | `{mutant.name}` | {mutant.did} |"


def equivalents() -> str:
    """Return the list of patches that nobody can tell from the code as it is."""
    listed = [mutant for mutant in ALL.values() if mutant.equivalent]
    return "".join(f"- `{mutant.name}`: {mutant.did}. {_sentence(mutant.equivalent)}\n" for mutant in listed)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def alone(score: Score) -> str:
    """Say how many mutants the sweep over single faults kills without any other tier."""
    mutants = score.mutants
    killed = [row for row in mutants if row.killed]
    seen = [row for row in mutants if row.instead is not None and row.reached]
    left = [row for row in mutants if row not in killed and row not in seen]
    return (
        f"The sweep over single faults, and no other tier, kills {len(killed)} of {len(mutants)} "
        f"({len(killed) / len(mutants):.0%}) by a named check. {len(seen)} more raise another check's alarm"
        f"{_listed(seen)}. Nothing is seen of {len(left)}{_listed(left)}.\n\n{score.last_line()}\n"
    )


def _listed(rows: Sequence[Row]) -> str:
    return f" ({', '.join(f'`{row.mutant.name}`' for row in rows)})" if rows else ""

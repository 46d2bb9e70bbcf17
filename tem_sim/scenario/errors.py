"""What is wrong with a scenario file: every problem with its place, and the one exception that carries them all."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

MAX_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in a file: line and column from 1, the text of the line, and how much of it is meant.

    What comes from the command line has no line and no column; `file` is then the option as it was given.
    """

    file: str
    line: int | None = None
    col: int | None = None
    width: int = 1
    source_line: str = ""

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}:{self.col}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: where, in which setting (`path`), the rule and the remedy, and the value as it was written."""

    spot: Spot
    path: str
    message: str
    value: str | None = None
    hint: str = ""

    @property
    def file(self) -> str:
        return self.spot.file

    @property
    def line(self) -> int | None:
        return self.spot.line

    @property
    def col(self) -> int | None:
        return self.spot.col

    @property
    def source_line(self) -> str:
        return self.spot.source_line

    @property
    def headline(self) -> str:
        """The problem in one line: `file:line:col: path: message (got value)`."""
        path = f"{self.path}: " if self.path else ""
        got = "" if self.value is None else f" (got {shortened(self.value)})"
        return f"{self.spot}: {path}{self.message}{got}"

    def __str__(self) -> str:
        """The headline, then the line it is about with a caret under the place, then the hint."""
        hint = [f"    {self.hint}"] if self.hint else []
        return "\n".join([self.headline, *self._excerpt(), *hint])

    def _excerpt(self) -> list[str]:
        if self.line is None or self.col is None or not self.source_line.strip():
            return []
        # Tabs stay tabs under the line, so that the caret stands where it should at any tab width.
        indent = "".join("\t" if char == "\t" else " " for char in self.source_line[: self.col - 1])
        width = max(1, min(self.spot.width, len(self.source_line) - self.col + 1))
        return [f"    {self.source_line}", f"    {indent}{'^' * width}"]


class ScenarioError(ValueError):
    """A scenario that cannot be used; `problems` has everything that is wrong with it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """Return a question with the closest of the known names, or nothing."""
    close = difflib.get_close_matches(str(word), list(known), n=1)
    return f"did you mean {close[0]}?" if close else ""


def shortened(text: str) -> str:
    """Return text on one line and of a length that a message can bear."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_SHOWN else f"{line[: MAX_SHOWN - 3]}..."

"""The journal of a sweep: a line of JSON per run that is done, so that a sweep which was killed goes on where it was.

A run is known by its scenario and by the code that ran it: what was done with other settings, or before the code was
changed, is in the file and is not used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from tem_sim.versions import engine

if TYPE_CHECKING:
    from tem_sim.faultsweep.reduced import Plain
    from tem_sim.scenario.models import Scenario

FORMAT = {"tem_sim": "fault sweep", "format": 1}


class JournalError(Exception):
    """A journal that cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One run that is done.

    `places` and `faults` are where each fault struck and what it was, in words; `inflicted` the same as a scenario says
    it. `broken`: each check that is false, with what it found. `choices`: of a single fault, how many others could have
    followed it; 0 where nobody counted. `seen`: how often what should happen sometimes did; what did not is left out.
    """

    key: str
    variant: str
    places: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    inflicted: tuple[Plain, ...] = ()
    horizon_s: float = 0.0
    landed: bool = True
    broken: dict[str, str] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)
    choices: int = 0
    seen: dict[str, int] = field(default_factory=dict)
    digest: str = ""
    end_s: float = 0.0
    seconds: float = 0.0


def key_of(scenario: Scenario, *more: str) -> str:
    """Return what a run of this scenario, by the code as it is, is known by."""
    parts = [json.dumps(scenario.resolved(), sort_keys=True), engine(), *more]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


class Journal:
    """An open journal, or one that is kept nowhere."""

    def __init__(self, file: TextIO | None, known: dict[str, Row]) -> None:
        self._file = file
        self.known = known

    def add(self, row: Row) -> None:
        """Keep a row; it is with the system when this returns, and survives the death of this process."""
        self.known[row.key] = row
        if self._file is not None:
            self._file.write(json.dumps(asdict(row), sort_keys=True) + "\n")
            self._file.flush()


@contextmanager
def opened(path: Path | None, *, resume: bool = False, force: bool = False) -> Iterator[Journal]:
    """Open a journal to add to; None for none. One that exists needs `resume` or `force`; JournalError otherwise."""
    if path is None:
        yield Journal(None, {})
        return
    if path.exists() and not (resume or force):
        raise JournalError(f"{path}: exists; --resume goes on with it, --force begins anew, --out names another file")
    known = read(path) if path.exists() and not force else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a" if known else "w", encoding="utf-8") as file:
        journal = Journal(file, known)
        if not known:
            file.write(json.dumps(FORMAT) + "\n")
        elif not path.read_text(encoding="utf-8").endswith("\n"):
            # The last line was cut short: its run is done again.
            file.write("\n")
        yield journal


def read(path: Path) -> dict[str, Row]:
    """Return the rows of a journal by key; a line that was cut short is no row. JournalError for any other file."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    if lines and _parsed(lines[0]) != FORMAT:
        raise JournalError(f"{path}: is not a journal of tem-sim sweep-faults")
    rows = [_row(plain) for line in lines[1:] if (plain := _parsed(line)) is not None]
    return {row.key: row for row in rows}


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _row(plain: dict[str, Any]) -> Row:
    return Row(**{**plain, **{name: tuple(plain[name]) for name in ("places", "faults", "inflicted")}})

"""Arrivals read from a CSV file, kept in the scenario once read, so that a saved run needs no other file."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import Field, ModelWrapValidatorHandler, ValidationInfo, model_validator

from tem_sim.scenario.base import Broken, Model, broken_rules
from tem_sim.scenario.quantities import Duration

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_ROWS = 2_000_000
# A file of the wrong kind breaks a rule in every row; the first few say as much.
MAX_COMPLAINTS = 10


class Replay(Model):
    """Arrivals as recorded: a CSV file with a header, one arrival per row.

    Numbers are seconds after `from`; ISO 8601 timestamps count from the earliest one.
    """

    kind: Literal["replay"] = "replay"
    file: str | None = Field(None, description="The CSV file; a path relative to the scenario file.")
    column: str = Field("t_s", description="The column with the times.")
    from_s: Duration = Field(0.0, alias="from", description="What is added to every time.")
    times_s: tuple[Duration, ...] | None = Field(
        None, alias="times", description="The times themselves, ascending or not; read from the file when left out."
    )

    @property
    def start_s(self) -> float:
        return self.from_s + (min(self.times_s) if self.times_s else 0.0)

    def expected(self, horizon_s: float) -> float:
        return sum(self.from_s + time_s < horizon_s for time_s in self.times_s or ())

    def times(self, horizon_s: float, rng: np.random.Generator) -> NDArray[np.float64]:
        import numpy as np

        return self.from_s + np.array(self.times_s or (), dtype=np.float64)

    @model_validator(mode="wrap")
    @classmethod
    def _filled_in(cls, data: object, handler: ModelWrapValidatorHandler[Replay], info: ValidationInfo) -> Replay:
        replay = handler(data)
        if replay.times_s is not None:
            return replay
        if replay.file is None:
            raise broken_rules("replay", [Broken(("file",), "is required: a CSV file with the times", None)])
        folder = (info.context or {}).get("folder", Path())
        return replay.model_copy(update={"times_s": read_times(Path(folder) / replay.file, replay.column)})


class _Row(NamedTuple):
    line: int
    text: str
    source: str


def read_times(path: Path, column: str) -> tuple[float, ...]:
    """Return a column of a CSV file in seconds, ascending; ValidationError with a Broken for each bad row."""
    rows = list(_cells(path, column))
    if not rows:
        raise broken_rules("replay", [Broken(("file",), f"has no rows: {path}", str(path))])
    stamps = all(_stamp(row.text) is not None for row in rows)
    parsed = [_stamp(row.text) if stamps else _seconds(row.text) for row in rows]
    bad = [_complaint(path, row) for row, time_s in zip(rows, parsed, strict=True) if time_s is None]
    if bad:
        raise broken_rules("replay", bad[:MAX_COMPLAINTS])
    times_s = sorted(time_s for time_s in parsed if time_s is not None)
    return tuple(time_s - times_s[0] for time_s in times_s) if stamps else tuple(times_s)


def _cells(path: Path, column: str) -> Iterator[_Row]:
    lines = _lines(path)
    reader = csv.reader(lines)
    try:
        header = [name.strip() for name in next(reader, [])]
        if column not in header:
            raise _refused_header(path, column, header, lines)
        place = header.index(column)
        for cells in reader:
            if cells:
                text = cells[place].strip() if place < len(cells) else ""
                yield _Row(reader.line_num, text, lines[reader.line_num - 1])
    except csv.Error as error:
        where = (str(path), max(1, reader.line_num), 1, "")
        raise broken_rules("replay", [Broken(("file",), f"is no CSV: {error}", None, place=where)]) from None


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise broken_rules("replay", [Broken(("file",), f"there is no file {path}", path.name)]) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise broken_rules("replay", [Broken(("file",), f"cannot read {path}: {reason}", path.name)]) from None
    if len(lines) > MAX_ROWS + 1:
        raise broken_rules("replay", [Broken(("file",), f"must have at most {MAX_ROWS} rows", len(lines))])
    return lines


def _refused_header(path: Path, column: str, header: list[str], lines: list[str]) -> Exception:
    where = (str(path), 1, 1, lines[0] if lines else "")
    known = ", ".join(header) if any(header) else "none"
    return broken_rules(
        "replay", [Broken(("column",), f"must name a column of the file; it has {known}", column, place=where)]
    )


def _complaint(path: Path, row: _Row) -> Broken:
    column = row.source.find(row.text) + 1 if row.text else 1
    rule = "must be seconds >= 0 such as 12.5, or in all rows an ISO 8601 timestamp"
    return Broken(("file",), rule, row.text, place=(str(path), row.line, max(1, column), row.source))


def _seconds(text: str) -> float | None:
    try:
        time_s = float(text)
    except ValueError:
        return None
    return time_s if math.isfinite(time_s) and time_s >= 0 else None


def _stamp(text: str) -> float | None:
    try:
        stamp = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)).timestamp()

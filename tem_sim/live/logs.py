"""Structured logs: each process of a live system writes one JSON document a line into a file of its own.

What a run's frames need to know that is in no store is read from here: wake-ups, messages, how long things took. Every
line has `t` (seconds since the epoch), `node`, `pid` and `event`; what an attempt did also `event_id` and `attempt_no`.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Log:
    """A process's log. Lines of several processes or threads that share a file never mix: each is one write."""

    def __init__(self, file: Path, node: str) -> None:
        self.node = node
        self._file = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, event: str, **fields: Any) -> None:
        """Write one line."""
        line = {"t": round(time.time(), 6), "node": self.node, "pid": os.getpid(), "event": event, **fields}
        os.write(self._file, (json.dumps(line, default=str) + "\n").encode())

    def take_over_logging(self, level: int = logging.WARNING) -> None:
        """Let what libraries log come here too."""
        root = logging.getLogger()
        root.handlers[:] = [_Lines(self)]
        root.setLevel(level)


class _Lines(logging.Handler):
    """Passes records of Python's logging on, as lines with the event `log`."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        try:
            raised = (
                {} if record.exc_info is None else {"traceback": logging.Formatter().formatException(record.exc_info)}
            )
            self._log.note("log", level=record.levelname, logger=record.name, message=record.getMessage(), **raised)
        except Exception:
            self.handleError(record)


def lines(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a log; the last may be torn where its process was killed, and is left out then."""
    if not file.exists():
        return
    with file.open(encoding="utf-8", errors="replace") as stream:
        for line in stream:
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                continue

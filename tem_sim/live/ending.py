"""Being told to end, by Ctrl-C, SIGTERM or a terminal that closes: heard where it does no harm, and only once.

Python's own way, an exception wherever the process is, may come between a child process and its being known.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

_ENDS = ("SIGINT", "SIGTERM", "SIGHUP")


class ToldToEnd(BaseException):
    """The process was told to end, by the signal of this number."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def exit_code(self) -> int:
        """What a shell expects of a process that a signal ended."""
        return 128 + self.number


class Told:
    """Keeps that the process was told to end until it is asked for. Once it is heard, more signals do nothing.

    For the main thread only. A signal that is ignored from the start, as under nohup, stays so.
    """

    def __init__(self) -> None:
        self._number: int | None = None
        self._is_heard = False
        self._at_once = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for name in _ENDS:
            number = getattr(signal, name)
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raise `ToldToEnd` if the process was told to."""
        if self._number is not None and not self._is_heard:
            self._is_heard = True
            raise ToldToEnd(self._number)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Raise `ToldToEnd` in the middle of the block, as soon as the process is told to."""
        self._at_once = True
        try:
            self.check()
            yield
        finally:
            self._at_once = False

    def sleep(self, seconds: float) -> None:
        """Sleep; raise `ToldToEnd` as soon as the process is told to."""
        with self.at_once():
            time.sleep(seconds)

    def wait(self, seconds: float) -> bool:
        """Sleep; return whether the process was told to end, and then at once."""
        try:
            self.sleep(seconds)
        except ToldToEnd:
            return True
        return False

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._number = self._number or number
        if self._at_once:
            self.check()

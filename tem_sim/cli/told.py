"""Being told to end, by Ctrl-C, SIGTERM or a terminal that closes: once, and not while something must be whole."""

from __future__ import annotations

import signal
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
    """Raises `ToldToEnd` where the process is when it is told to end. While it then cleans up, more signals do nothing.

    A signal that is ignored from the start, as under nohup, stays so.
    """

    def __init__(self) -> None:
        self._number: int | None = None
        self._is_held = False
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

    @contextmanager
    def later(self) -> Iterator[None]:
        """Hold back what the process is told until the end of the block."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False
        if self._number is not None:
            raise ToldToEnd(self._number)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._number is None:
            self._number = number
            if not self._is_held:
                raise ToldToEnd(number)

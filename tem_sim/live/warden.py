"""Cleans up after a supervisor that died: kills the process groups that it had started, removes its folders.

A process of its own that does nothing but read what its supervisor writes to it, one line each: `group 123`,
`gone 123`, `folder /path`, `schema URL`, `keep` with a path or URL. When that ends, however it ended, what is left of
it is cleaned up. An orderly supervisor has left nothing.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

# How long killed processes may take to be gone.
WAIT_S = 5.0


class Warden:
    """The supervisor's end: tells the process what there is to clean up."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", __name__]
        # In a session of its own, so that neither Ctrl-C nor a closed terminal ends it before its work is done.
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, text=True)

    def tell(self, what: str, which: object) -> None:
        """Say that there is one more `group`, `folder` or `schema`, or that one is `gone` or to be kept (`keep`)."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{what} {which}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            # Somebody has killed it. What it would have done after a crash is all that is missing.
            return

    def close(self) -> None:
        """End it; it cleans up what is left."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()


def signal_group(group: int, number: int) -> bool:
    """Send a signal to all processes of a group; return whether there is one."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def wait_until_gone(groups: Iterable[int], within_s: float = WAIT_S) -> set[int]:
    """Wait until no process is left in these groups; return those in which there still is one."""
    left, until = set(groups), time.monotonic() + within_s
    while left := {group for group in left if signal_group(group, 0)}:
        if time.monotonic() > until:
            break
        time.sleep(0.02)
    return left


def main() -> None:
    """Read until the supervisor is gone, then clean up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    groups: set[int] = set()
    folders: set[Path] = set()
    schemas: set[str] = set()
    for line in sys.stdin:
        what, _, which = line.rstrip("\n").partition(" ")
        if what == "group":
            groups.add(int(which))
        elif what == "gone":
            groups.discard(int(which))
        elif what == "folder":
            folders.add(Path(which))
        elif what == "schema":
            schemas.add(which)
        elif what == "keep":
            folders.discard(Path(which))
            schemas.discard(which)
    for group in groups:
        signal_group(group, signal.SIGKILL)
    wait_until_gone(groups)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    for url in schemas:
        _drop(url)


def _drop(url: str) -> None:
    from sqlalchemy.exc import SQLAlchemyError

    from tem_sim.pipeline.store import drop_own_schema

    # A server that is away keeps it; there is nobody left to be told.
    with suppress(SQLAlchemyError):
        drop_own_schema(url)


if __name__ == "__main__":
    main()

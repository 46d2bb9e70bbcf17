"""`tem-sim live up` as a user starts it, and what of it is still there afterwards."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from live_systems import eventually
from test_children import lives

from tem_sim.live.config import HOST

# Longer than the command gives its parts to come up.
PATIENCE_S = 120.0


class Up:
    """The command in a process of its own. All that it makes is under `folder`, by which its processes are known."""

    def __init__(self, folder: Path, *words: str, **env: str) -> None:
        self.folder = folder
        self.temporary = folder / "temporary"
        self.temporary.mkdir(exist_ok=True)
        self.errors: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tem_sim", "live", "up", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={**os.environ, "TMPDIR": str(self.temporary), "PYTHONIOENCODING": "utf-8", **env},
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._readers = [threading.Thread(target=self._read_out), threading.Thread(target=self._read_errors)]
        for reader in self._readers:
            reader.start()

    def _read_out(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.errors.append(line)

    @property
    def error(self) -> str:
        return "".join(self.errors)

    def document(self) -> dict[str, Any]:
        """Return what --json prints, once all is ready."""
        text = ""
        while (line := self._lines.get(timeout=PATIENCE_S)) is not None:
            text += line
            if line.startswith("}"):
                return json.loads(text)
        raise AssertionError(f"it ended before it was ready: {text}{self.error}")

    def end(self, number: int = signal.SIGINT) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(PATIENCE_S)
        for reader in self._readers:
            reader.join(PATIENCE_S)
        return code

    def processes(self) -> list[int]:
        """Return every process that was started from here and lives: all have this folder in their environment.

        Or they work in it, as Redis does, which writes its title over its environment.
        """
        return [pid for pid in _pids() if str(self.temporary) in _about(pid) and lives(pid)]

    def files(self) -> list[str]:
        """Return what is left in the folder for temporary files."""
        return sorted(str(path.relative_to(self.temporary)) for path in self.temporary.rglob("*"))

    def is_gone(self) -> bool:
        return not self.processes() and not self.files()

    def clean_up(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
        eventually(lambda: not self.processes())
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        self.wait()


@contextmanager
def live_up(folder: Path, *words: str, **env: str) -> Iterator[Up]:
    """Start the command; whatever happens, none of its processes is left at the end."""
    started = Up(folder, *words, **env)
    try:
        yield started
    finally:
        started.clean_up()


def listens(url: str) -> bool:
    port = int(url.split("#")[0].rstrip("/").rpartition(":")[2].partition("/")[0])
    with socket.socket() as dialing:
        return dialing.connect_ex((HOST, port)) == 0


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _about(pid: int) -> str:
    about = Path(f"/proc/{pid}")
    try:
        return f"{(about / 'cwd').readlink()} {(about / 'environ').read_text(errors='replace')}"
    except OSError:
        return ""

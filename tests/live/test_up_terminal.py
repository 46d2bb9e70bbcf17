"""`live up` on a terminal: a table that refreshes, and Ctrl-C as the terminal sends it."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

import pytest
from live_systems import eventually, need_redis_server
from test_children import lives
from up_process import PATIENCE_S

pytestmark = [pytest.mark.server, pytest.mark.xdist_group("live_up")]


class Terminal:
    """A terminal with the command in its foreground, so that Ctrl-C goes to it, and to whatever shares its group."""

    def __init__(self, temporary, *words):
        self._screen, inside = pty.openpty()
        fcntl.ioctl(self._screen, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 110, 0, 0))
        self._shown = b""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tem_sim", "live", "up", *words],
            stdin=inside,
            stdout=inside,
            stderr=inside,
            env={**os.environ, "TMPDIR": str(temporary), "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"},
            preexec_fn=self._take_terminal,
        )
        os.close(inside)

    @staticmethod
    def _take_terminal():
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    @property
    def text(self):
        """What it has shown so far, without colours and moves."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._shown.decode(errors="replace"))

    def pids(self):
        """Return the processes that the table has shown to be up; a row may be cut off as yet."""
        return [int(pid) for pid in re.findall(r"(?:api|beat|worker-1|redis) +up +(\d+) +\d+ +\d", self.text)]

    def read(self, seconds):
        """Read for so long, or until the other end is closed."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and select.select([self._screen], [], [], 0.1)[0]:
            try:
                self._shown += os.read(self._screen, 65536)
            except OSError:
                return

    def until(self, pattern, within_s=PATIENCE_S):
        """Read until the screen has shown something."""
        deadline = time.monotonic() + within_s
        while not re.search(pattern, self.text):
            assert time.monotonic() < deadline, self.text
            self.read(0.2)

    def press_ctrl_c(self):
        os.write(self._screen, b"\x03")

    def hang_up(self):
        """Close the terminal, as a window or a connection is closed."""
        os.close(self._screen)
        self._screen = None

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self._screen is not None:
            self.hang_up()


@pytest.fixture
def terminal(tmp_path):
    need_redis_server(tmp_path / "redis")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    terminal = Terminal(temporary, "--workers", "1", "--set", "workers.concurrency=1")
    yield terminal
    terminal.close()


def test_a_table_refreshes_until_ctrl_c_which_ends_it_well(terminal, tmp_path):
    terminal.until(r"live is up: 1 workers? × 1 \(prefork\)")
    terminal.until(r"events +QUEUED 0, RETRY 0, PROCESSING 0")
    terminal.until(r"worker-1 +up +\d+ +0 ")
    terminal.until(r"(?s)(users +connected 0.*){3}")
    pids = terminal.pids()
    assert all(map(lives, pids))
    terminal.press_ctrl_c()
    terminal.until("stopped; nothing is left of it")
    assert terminal.process.wait(PATIENCE_S) == 0
    assert not any(map(lives, pids))
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_terminal_that_is_closed_ends_it_without_a_trace(terminal, tmp_path):
    terminal.until(r"worker-1 +up +\d+ +0 ")
    pids = terminal.pids()
    terminal.hang_up()
    assert terminal.process.wait(PATIENCE_S) == 0
    assert eventually(lambda: not any(map(lives, pids)))
    assert list((tmp_path / "temporary").iterdir()) == []

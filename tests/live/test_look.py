"""Whether a live worker is at work, by what its processes say in its log, and by whether they still live."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tem_sim.live.look import _Busy


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as one:
        yield one
        one.kill()


def begun(file: Path, pid: int, message: str = "a") -> None:
    with file.open("a", encoding="utf-8") as log:
        log.write(json.dumps({"event": "message_started", "message": message, "pid": pid}) + "\n")


def done(file: Path, message: str = "a") -> None:
    with file.open("a", encoding="utf-8") as log:
        log.write(json.dumps({"event": "message_done", "message": message, "pid": 1}) + "\n")


def test_a_worker_is_busy_with_what_it_has_begun_and_not_done(tmp_path: Path) -> None:
    log, mine = tmp_path / "log", os.getpid()
    busy = _Busy(log)
    assert busy.count() == 0
    begun(log, mine, "a")
    begun(log, mine, "b")
    assert busy.count() == 2
    done(log, "a")
    assert busy.count() == 1


def test_who_was_killed_is_not_busy_even_if_nobody_has_buried_it(
    tmp_path: Path, process: "subprocess.Popen[bytes]"
) -> None:
    log = tmp_path / "log"
    busy = _Busy(log)
    begun(log, process.pid)
    assert busy.count() == 1
    process.kill()
    # Nobody waits for it: it stays a zombie, as the orphans of a worker do where process 1 buries none.
    until = time.monotonic() + 60
    while busy.count():
        assert time.monotonic() < until
        time.sleep(0.01)
    os.kill(process.pid, 0)

"""Starting a measurement in its own process, and timing whole commands. Imports nothing heavy.

On Linux a child's peak memory begins at what its parent held when it was started; so the parent stays small.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import Measurement

ROOT = Path(__file__).parent.parent


def measured(name: str, n: int) -> list[Measurement]:
    """Run one cell in its own process; an error in it is an error here, with its traceback on stderr."""
    command = [sys.executable, "-m", "benchmarks.cell", name, str(n)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return [Measurement(**entry) for entry in json.loads(done.stdout)]


def wall_s(command: Sequence[str]) -> float:
    """Run a command to its end and return the wall time in seconds."""
    start = time.perf_counter()
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def whole_run(scenario: Path, settings: Sequence[str]) -> Measurement:
    """Run `tem-sim run` to its end, plots and saved frames included, and return its time and peak memory."""
    sets = [word for setting in settings for word in ("--set", setting)]
    with tempfile.TemporaryDirectory() as folder:
        words = ("-m", "tem_sim", "run", str(scenario), "--out", folder, "-q", *sets)
        start = time.perf_counter()
        child = subprocess.Popen((sys.executable, *words), cwd=ROOT, stdout=subprocess.DEVNULL)
        # wait4 tells this child's own peak; RUSAGE_CHILDREN would tell the highest of all children so far.
        _, status, usage = os.wait4(child.pid, 0)
        passed_s = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
    # 1 and 4 say that a check is false or unknown, which is no matter here.
    if child.returncode not in (0, 1, 4):
        raise subprocess.CalledProcessError(child.returncode, words)
    return Measurement("tem-sim run", 1, usage.ru_utime + usage.ru_stime, passed_s, usage.ru_maxrss * 1024 / 1e6)

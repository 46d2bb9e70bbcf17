"""Starts runs, each in a process of its own, and stops them when the benchmark is stopped."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.celery_twin.outcome import Outcome
from benchmarks.celery_twin.schedule import Faults
from benchmarks.processes import ROOT

# How long a run has for its clean-up once it is told to stop.
STOPPED_WITHIN_S = 30.0


class Cells:
    """Use it as a context: whatever happens inside, no run is left behind. `run` may be called from several threads.

    The logs of each run are kept in a folder of its own in `logs`, if that is given.
    """

    def __init__(self, logs: Path | None) -> None:
        self._more = [] if logs is None else [str(logs.resolve())]
        self._running: set[subprocess.Popen[str]] = set()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, variant: str, events: int, seed: int, faults: Faults) -> Outcome:
        """Run one variant to its end; an error in it is an error here, with its traceback on stderr."""
        command = [sys.executable, "-m", "benchmarks.celery_twin.cell", variant, str(events), str(seed), faults]
        command += self._more
        # A session of its own: Ctrl-C reaches it once and through its input only, never in the middle of its clean-up.
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self._running.add(process)
        if self._closed:
            self.close()
        assert process.stdout is not None
        with process.stdout as stream:
            said = stream.read()
        self._stop(process)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
        return Outcome(**json.loads(said))

    def _stop(self, process: subprocess.Popen[str]) -> None:
        _hang_up(process)
        try:
            process.wait(STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            # Its warden cleans up.
            process.kill()
            process.wait()
        self._running.discard(process)

    def close(self) -> None:
        """Stop what runs, and whatever is started from now on."""
        self._closed = True
        for process in list(self._running):
            _hang_up(process)


def _hang_up(process: subprocess.Popen[str]) -> None:
    if process.stdin is not None:
        process.stdin.close()

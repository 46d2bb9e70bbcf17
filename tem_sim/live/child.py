"""One child process of a live system, with all that it has started itself: a process group of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from tem_sim.live.warden import Warden, signal_group

State = Literal["down", "starting", "up", "paused"]


class NodeState(NamedTuple):
    """What a node is at a moment; `for_s` tells since how long its process runs, or is gone."""

    name: str
    state: State
    pid: int | None
    restarts: int
    for_s: float


@dataclass
class Child:
    """A node of the system. `is_ready` says whether the process with a pid does its work by now.

    `held` counts those who want it to stay down; `starts` how often it was started; `deaths` how often it was found
    dead when nobody had asked for it, the last time with `exit_code`; `since` (monotonic seconds) since when it is what
    it is.
    """

    name: str
    command: Sequence[str]
    output: Path
    is_ready: Callable[[int], bool]
    warden: Warden
    env: Mapping[str, str] = field(default_factory=dict)
    held: int = 0
    starts: int = 0
    deaths: int = 0
    since: float = field(default_factory=time.monotonic)
    exit_code: int | None = None
    _process: subprocess.Popen[bytes] | None = None
    _paused: bool = False
    # Of the process that was seen to be ready.
    _ready_pid: int | None = None

    @property
    def pid(self) -> int | None:
        """The pid of its main process, which is also its group's; None while it is down."""
        return None if self._process is None else self._process.pid

    @property
    def state(self) -> State:
        """What it is at present."""
        # Whoever asks may be another thread than the one that kills and starts it.
        process = self._process
        if process is None or process.poll() is not None:
            return "down"
        if self._paused:
            return "paused"
        if self._ready_pid != process.pid:
            if not self.is_ready(process.pid):
                return "starting"
            self._ready_pid = process.pid
        return "up"

    def at_present(self) -> NodeState:
        """Return what it is at present, with how often it was started again."""
        return NodeState(self.name, self.state, self.pid, max(0, self.starts - 1), time.monotonic() - self.since)

    def start(self) -> None:
        """Start it, unless it runs."""
        if self._process is not None:
            return
        self._paused, self._ready_pid = False, None
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **self.env},
                start_new_session=True,
            )
        self.warden.tell("group", self._process.pid)
        self.starts += 1
        self.since = time.monotonic()

    def kill(self) -> None:
        """Kill it and all that it has started, as SIGKILL does."""
        if self._process is None:
            return
        group = self._process.pid
        signal_group(group, signal.SIGKILL)
        self._process.wait()
        # What it had started is dead as well; whoever adopts orphans may take a second to notice.
        self.warden.tell("gone", group)
        self._process, self._paused = None, False
        self.since = time.monotonic()

    def terminate(self) -> None:
        """Ask its main process to end by itself (SIGTERM); `kill` afterwards takes away what is left."""
        if self._process is not None:
            self.resume()
            self._process.terminate()

    def ended(self, within_s: float) -> bool:
        """Wait for the main process to end; return whether it has."""
        if self._process is None:
            return True
        try:
            self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def pause(self) -> None:
        """Freeze it (SIGSTOP)."""
        if self._process is not None:
            self._paused = signal_group(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        if self._process is not None and self._paused:
            signal_group(self._process.pid, signal.SIGCONT)
            self._paused = False

    def found_dead(self) -> int | None:
        """Return the exit code if it has died by itself; then it is down, and so is what it had started."""
        if self._process is None:
            return None
        code = self._process.poll()
        if code is not None:
            self.exit_code = code
            self.deaths += 1
            self.kill()
        return code

    def last_words(self, lines: int = 15) -> str:
        """Return the end of what it has printed."""
        text = self.output.read_text(encoding="utf-8", errors="replace") if self.output.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

"""How processes are killed, stopped and frozen."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

from tem_sim.live.faults.stage import Struck

if TYPE_CHECKING:
    from pathlib import Path

    from tem_sim.live.faults.infliction import Infliction
    from tem_sim.live.faults.stage import Stage
    from tem_sim.scenario.faults.consumers import ChildDeath
    from tem_sim.scenario.faults.log import Activation
    from tem_sim.scenario.faults.process import WorkerDeath, WorkerPause, WorkerStop

# How much of the end of a worker's log says what its children are at.
_TAIL_BYTES = 256 * 1024


def worker_death(at: Infliction, fault: WorkerDeath) -> None:
    def kill(struck: Struck, activation: Activation) -> None:
        at.stage.kill(struck)
        activation.landed = 1
        restart_later(at, struck, activation, fault.restart_after_s)

    at.strike(kill)


def restart_later(at: Infliction, struck: Struck, activation: Activation, after_s: float | None) -> None:
    """Start a node again that has just died; the activation ends then."""
    stage = at.stage
    if after_s is None:
        activation.detail = ", ".join(filter(None, [activation.detail, "not restarted"]))
        return

    def restart() -> None:
        stage.start(struck)
        activation.end_s = stage.now

    # At an edge nobody knows when that is, and no run waits for it.
    later = stage.end_later if at.fault.edge is None else stage.timeline.call_later
    later(after_s, restart)


def worker_stop(at: Infliction, fault: WorkerStop) -> None:
    stage = at.stage

    def stop(struck: Struck, activation: Activation) -> None:
        if struck.node in stage.leaving:
            activation.detail, activation.end_s = "is about to end", stage.now
            return
        activation.landed = 1
        stage.leaving.add(struck.node)

        def ended(by_itself: bool) -> None:
            took_s = stage.now - activation.start_s
            how = "ended by itself" if by_itself and not stage.is_healed else "killed"
            activation.detail = f"{how} after {took_s:.3g} s"
            # When all faults are over nobody waits any more.
            restart_later(at, struck, activation, 0.0 if stage.is_healed else fault.restart_after_s)
            stage.leaving.discard(struck.node)

        stage.timeline.aside(lambda: stage.system.stop(struck.node, fault.grace_s), ended)

    at.strike(stop)


def worker_pause(at: Infliction, fault: WorkerPause) -> None:
    stage = at.stage

    def pause(struck: Struck, activation: Activation) -> None:
        activation.landed = 1

        def resumed() -> None:
            activation.end_s = stage.now

        stage.pause(struck, fault.for_s, resumed)

    at.strike(pause)


def child_death(at: Infliction, _fault: ChildDeath) -> None:
    def kill(struck: Struck, activation: Activation) -> None:
        activation.end_s = activation.start_s
        pids = [struck.pid] if struck.pid is not None else sorted(busy_pids(at.stage, struck.node))
        # Drawn whatever there is to strike, so that the luck of the next strike is not moved.
        draw = at.luck.random()
        pid = pids[int(draw * len(pids))] if pids else None
        if pid is None or not _is_child(at.stage, struck.node, pid):
            activation.detail = "no task in hand"
            return
        os.kill(pid, signal.SIGKILL)
        activation.landed, activation.detail = 1, f"process {pid} of {struck.node} killed"

    at.strike(kill)


def _is_child(stage: Stage, node: str, pid: int) -> bool:
    """Whether a process lives and is one of the pool of a node: of its group, and not its main process."""
    main = stage.system.children[node].pid
    try:
        return main is not None and pid != main and os.getpgid(pid) == main
    except ProcessLookupError:
        return False


def busy_pids(stage: Stage, node: str) -> set[int]:
    """Return the processes of a worker's pool that have a task in hand, as its log says."""
    busy: dict[int, bool] = {}
    for line in _last_lines(stage.system.config.log_file(node)):
        if line.get("event") in ("message_started", "message_done"):
            busy[int(line["pid"])] = line["event"] == "message_started"
    return {pid for pid, at_work in busy.items() if at_work and _is_child(stage, node, pid)}


def _last_lines(file: Path) -> list[dict[str, Any]]:
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - _TAIL_BYTES))
        found = stream.read().splitlines()
    lines = []
    for line in found:
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue
    return lines

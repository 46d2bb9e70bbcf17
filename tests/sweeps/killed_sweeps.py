"""A script: starts a sweep, kills it with SIGKILL at a random moment, goes on with it, and so on until it is through.

Arguments: the scenario file, the results file, the log. The log has a line per run that was begun, with the number of
the process that began it, and after each process a line per run that the file had by then.
"""

import itertools
import math
import os
import random
import signal
import sqlite3
import sys
import time
from pathlib import Path

import tem_sim.sim.world as world
from tem_sim.report.outcome import judge
from tem_sim.sweeps.run import sweep

# The kills, by how many runs the process is to have begun; then some time goes by, up to this, and it is killed. It
# begins one run more at most and waits for its end then: a kill that comes late does not find all done.
KILLS = (0, 1, 2, 1, 2, 0)
LONGEST_S = 0.25


def main(file: str, out: str, log: str) -> None:
    """Do it."""
    # All that is imported late is imported now, so that even the first kill finds the sweep at work.
    judge(world.simulate(world_of(file), 1))
    chance = random.Random(5)
    for life in range(1000):
        child = os.fork()
        if not child:
            live(life, file, out, log)
        if life < len(KILLS):
            wait_for(log, f"begun {life} ", KILLS[life], child)
            time.sleep(chance.uniform(0.0, LONGEST_S))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        write(log, [f"kept {life} {key}" for key in kept(out)])
        if life >= len(KILLS):
            sys.exit(os.waitstatus_to_exitcode(status))


def wait_for(log: str, beginning: str, lines: int, child: int) -> None:
    """Wait until the log has so many lines that begin like this, or their writer has ended: it may find all done."""
    path = Path(log)
    while lines and (not path.exists() or path.read_text(encoding="utf-8").count(beginning) < lines):
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return
        time.sleep(0.005)


def world_of(file: str):
    """Return the scenario itself."""
    from tem_sim.scenario.loader import load

    return load(file)


def live(life: int, file: str, out: str, log: str) -> None:
    """Go on with the sweep, and never return."""
    real = world.simulate
    may_begin = KILLS[life] + 1 if life < len(KILLS) else math.inf
    numbers = itertools.count()

    def simulate(scenario, seed, **more):
        if next(numbers) >= may_begin:
            signal.pause()
        write(log, [f"begun {life} {scenario.policy().support(1)[1]:g} {seed}"])
        return real(scenario, seed, **more)

    world.simulate = simulate
    sweep(file, out=out, resume=True, jobs=1)
    os._exit(0)


def kept(out: str) -> list[str]:
    """Return the runs in the file, by what tells them apart here."""
    if not os.path.exists(out):
        return []
    with sqlite3.connect(out) as connection:
        if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            return []
        query = "SELECT json_extract(resolved, '$.pipeline.backoff.base'), seed FROM run JOIN scenario"
        found = connection.execute(f"{query} ON scenario.key = run.scenario").fetchall()
    return [f"{base:g} {seed}" for base, seed in found]


def write(log: str, lines: list[str]) -> None:
    """Add lines to the log, in one piece."""
    with open(log, "a", encoding="utf-8") as file:
        file.write("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""What a report of the storm takes, from command to file, and where the time goes: `python -m benchmarks.report`.

Each round starts the command anew. Its CPU time has the kernel's in it, and since the two work one after the other, it
is what an idle machine takes in wall time; so the target is held against it. The parts are one more round, by cell.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.processes import wall_s

MOST_S, MOST_BYTES = 15.0, 1_000_000


def saved_storm(folder: Path) -> Path:
    """Run the shipped storm and return the folder that it was saved in."""
    wall_s([sys.executable, "-m", "tem_sim", "run", "scenarios/retry_storm.yaml", "--no-plots", "--out", str(folder)])
    return folder


def one_round(run: Path, page: Path) -> tuple[float, float]:
    """Make a report as a user would; return (wall seconds, CPU seconds), the kernel's included."""
    before = _children_s()
    wall = wall_s([sys.executable, "-m", "tem_sim", "report", str(run), "-o", str(page)])
    return wall, _children_s() - before


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def parts(run: Path) -> dict[str, float]:
    """Return the wall time of each part, in seconds."""
    start = time.perf_counter()
    from tem_sim.report.page.execute import execute
    from tem_sim.report.page.html import html
    from tem_sim.report.page.notebook import notebook

    made = notebook([run])
    at_s = [time.perf_counter() - start]
    execute(made, lambda *_: at_s.append(time.perf_counter() - start))
    executed_s = time.perf_counter() - start
    html(made)
    found = {"importing nbclient and nbformat": at_s[0], "ending the kernel": executed_s - at_s[-1]}
    for cell, begin_s, end_s in zip(made.cells, at_s, at_s[1:], strict=False):
        found[_part(cell.source)] = found.get(_part(cell.source), 0.0) + end_s - begin_s
    return found | {"nbconvert, importing it included": time.perf_counter() - start - executed_s}


def _part(source: str) -> str:
    if source.startswith("from "):
        return "starting the kernel, imports in it"
    return (
        "loading and judging the run"
        if source.startswith("runs")
        else ("figures" if source.startswith("figure") else "tables and words")
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        run, page = saved_storm(Path(folder) / "run"), Path(folder) / "page.html"
        took = [one_round(run, page) for _ in range(rounds)]
        _print(took, page.stat().st_size)
        print("of that, in wall time of one more:")
        for name, seconds in sorted(parts(run).items(), key=lambda part: -part[1]):
            print(f"  {seconds:5.2f} s  {name}")


def _print(took: Sequence[tuple[float, float]], size: int) -> None:
    walls, cpus = zip(*took, strict=True)
    figures = (
        Figure("report of the storm, CPU time", "s", cpus, target=MOST_S, at_least=False),
        Figure("the same, wall time", "s", walls),
        Figure("its size", "bytes", (float(size),), target=MOST_BYTES, at_least=False),
    )
    for figure in figures:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(figure.row(), (32, 14, 18, 12, 7), strict=True)).rstrip()
        )


if __name__ == "__main__":
    main()

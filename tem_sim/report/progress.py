"""How far a run has come, in simulated or in real time, or a report in its parts, on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tem_sim.report.screen import console_for

# Drawing takes a millisecond or two; ten a second cost nothing that anybody notices.
REDRAW_EVERY_S = 0.1


@contextmanager
def steps(title: str, shown: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Show a bar while the block runs, and yield what moves it: (steps done, of how many). None if not shown."""
    if not shown:
        yield None
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    times = (TimeElapsedColumn(), TextColumn("elapsed,"), TimeRemainingColumn(), TextColumn("to go"))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), *times)
    with Progress(*columns, console=console_for(sys.stderr), transient=True, redirect_stdout=False) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def bar(
    title: str, horizon_s: float, shown: bool, *, simulated: bool = True
) -> Iterator[Callable[[float, float], None] | None]:
    """Show a bar while the block runs, and yield what moves it: (the run's seconds, horizon). None if not shown."""
    if not shown:
        yield None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of at most {task.total:,.0f} s" + " simulated" * simulated),
        TimeElapsedColumn(),
    )
    console = console_for(sys.stderr)
    # Redrawn from the run itself: a thread that draws would be one more thing that moves while greenlets switch.
    with Progress(
        *columns, console=console, transient=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
    ) as progress:
        task = progress.add_task(title, total=horizon_s)
        drawn_at_s = 0.0

        def advance(now_s: float, _: float) -> None:
            nonlocal drawn_at_s
            if time.monotonic() - drawn_at_s >= REDRAW_EVERY_S:
                drawn_at_s = time.monotonic()
                progress.update(task, completed=now_s, refresh=True)

        yield advance

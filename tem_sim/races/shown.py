"""What a report shows of single schedules, and of strategies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from rich.table import Table

from tem_sim.pipeline.isolation_level import IsolationLevel
from tem_sim.pipeline.settings import Settings, WriteGuard
from tem_sim.races.arena import Arena
from tem_sim.races.pairs import RACES
from tem_sim.races.races import DEFAULT_GUARD, Cell
from tem_sim.races.timeline import columns, timeline
from tem_sim.races.yields import Yield

Schedule: TypeAlias = Mapping[int, str]


def shown(cell: Cell, url: str, invariant: str | None) -> Iterator[list[str]]:
    """Yield, for one invariant or for all, the lines of the shortest schedule of a cell that breaks it."""
    wanted = {name: at for name, at in cell.shortest.items() if invariant in (None, name)}
    if not wanted:
        return
    race = RACES[cell.pair]
    arena = Arena(url, IsolationLevel(cell.isolation))
    try:
        stage = arena.stage(race, Settings(write_guard=WriteGuard(cell.guard) if race.guarded else DEFAULT_GUARD))
        for deviations in _different(wanted.values()):
            names = [name for name, at in wanted.items() if at == deviations]
            _, entries = timeline(stage, deviations)
            yield [
                f"{', '.join(names)}: {cell.pair}, write_guard {cell.guard}, {cell.store} {cell.isolation}",
                f"each thread as long as it can go on, {_said(deviations)}",
                "",
                *columns(entries, list(race.threads)),
            ]
    finally:
        arena.close()


def replayed(pair: str, guard: WriteGuard, isolation: IsolationLevel, url: str, deviations: Schedule) -> list[str]:
    """Return the lines of one schedule, what it broke, and its digest, which is the same each time."""
    race = RACES[pair]
    arena = Arena(url, isolation)
    try:
        round_, entries = timeline(arena.stage(race, Settings(write_guard=guard)), deviations)
    finally:
        arena.close()
    broken = ", ".join(sorted(round_.judged.broken)) or "nothing"
    followed = round_.played.deviations
    told = [] if followed == dict(deviations) else [f"really: {_said(followed)}"]
    return [
        f"breaks {broken}: {pair}, write_guard {guard}, {arena.dialect} {isolation}",
        f"each thread as long as it can go on, {_said(deviations)}",
        *told,
        f"digest {round_.judged.digest}",
        "",
        *columns(entries, list(race.threads)),
    ]


def _different(schedules: Iterable[Schedule]) -> list[Schedule]:
    found: list[Schedule] = []
    for schedule in schedules:
        if schedule not in found:
            found.append(schedule)
    return found


def _said(deviations: Schedule) -> str:
    steps = [f"at step {step} {thread} instead" for step, thread in deviations.items()]
    return f"but {', '.join(steps)}" if steps else "without exception"


def yield_table(found: Sequence[Yield]) -> Table:
    """Return what each strategy found, a row each."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("race", "guard", "invariant", "strategy"):
        table.add_column(name, no_wrap=True)
    for name in ("schedules", "first broken", "broken", "outcomes"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in found:
        number = f"all {one.schedules:,}" if one.all_of_them else f"{one.schedules:,}"
        first = "·" if one.first is None else f"{one.first:,}"
        share = f"{one.broken / one.schedules:.1%}"
        table.add_row(*map(str, one.known), one.strategy, number, first, share, str(one.outcomes))
    return table

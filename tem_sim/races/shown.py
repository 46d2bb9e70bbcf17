"""What a report shows of single schedules, and of strategies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from rich.table import Table

from tem_sim.pipeline.isolation_level import IsolationLevel
from tem_sim.pipeline.settings import Settings, WriteGuard
from tem_sim.races.arena import Arena
from tem_sim.races.pairs import RACES
from tem_sim.races.races import DEFAULT_GUARD, Cell
from tem_sim.races.timeline import Entry, columns, timeline
from tem_sim.races.yields import Yield
from tem_sim.report.document import SCHEMA_VERSION, Document
from tem_sim.versions import versions

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """One schedule that was played: `deviations` as asked, `followed` those that took place, `entries` the steps.

    `taken`: how many times there was a choice of who goes on. `digest` is the same each time.
    """

    pair: str
    guard: str
    isolation: str
    store: str
    deviations: Schedule
    followed: Schedule
    taken: int
    broken: tuple[str, ...]
    digest: str
    entries: tuple[Entry, ...]

    @property
    def never_reached(self) -> dict[int, str]:
        """The deviations at steps that come after the end."""
        return {step: thread for step, thread in self.deviations.items() if step > self.taken}

    def lines(self) -> list[str]:
        """Return the schedule as people read it, with what it broke."""
        told = [] if self.followed == dict(self.deviations) else [f"really: {_said(self.followed)}"]
        if self.never_reached:
            steps = ", ".join(f"{step}:{thread}" for step, thread in self.never_reached.items())
            told.append(f"never reached: {steps}; there were {self.taken} steps")
        return [
            f"breaks {', '.join(self.broken) or 'nothing'}: {self.pair}, write_guard {self.guard}, "
            f"{self.store} {self.isolation}",
            f"each thread as long as it can go on, {_said(self.deviations)}",
            *told,
            f"digest {self.digest}",
            "",
            *columns(self.entries, list(RACES[self.pair].threads)),
        ]

    def document(self) -> Document:
        """Return the same as JSON."""
        return {
            "schema_version": SCHEMA_VERSION,
            "race": self.pair,
            "guard": self.guard,
            "isolation": self.isolation,
            "store": self.store,
            "deviations": _plain(self.deviations),
            "followed": _plain(self.followed),
            "never_reached": _plain(self.never_reached),
            "steps": [{"thread": one.thread, "does": one.head, "details": [*one.details]} for one in self.entries],
            "broken": [*self.broken],
            "digest": self.digest,
            "versions": {**versions()},
        }


def replayed(pair: str, guard: WriteGuard, isolation: IsolationLevel, url: str, deviations: Schedule) -> Replayed:
    """Play one schedule of a race. Raises `StoreError` where the store cannot be used."""
    arena = Arena(url, isolation)
    try:
        round_, entries = timeline(arena.stage(RACES[pair], Settings(write_guard=guard)), deviations)
    finally:
        arena.close()
    return Replayed(
        pair=pair,
        guard=str(guard),
        isolation=str(isolation),
        store=arena.dialect,
        deviations=deviations,
        followed=round_.played.deviations,
        taken=round_.played.taken,
        broken=tuple(sorted(round_.judged.broken)),
        digest=round_.judged.digest,
        entries=tuple(entries),
    )


def _plain(schedule: Schedule) -> Document:
    return {str(step): thread for step, thread in schedule.items()}


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

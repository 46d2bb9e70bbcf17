"""The sweep: reduced scenarios without a fault, then with every single one, then pairs; each run is kept at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tem_sim.checks.sometimes import SOMETIMES
from tem_sim.faultsweep.boundaries import boundaries
from tem_sim.faultsweep.cases import Case, cases_of, spread
from tem_sim.faultsweep.journal import Journal, Row, key_of, opened
from tem_sim.faultsweep.judged import Tried, attempt
from tem_sim.faultsweep.pairs import Start, seconds, starts
from tem_sim.faultsweep.reduced import variants
from tem_sim.hunt.goal import BREAKS
from tem_sim.report.outcome import EXIT_CODES
from tem_sim.studies.pools import processes

if TYPE_CHECKING:
    from tem_sim.report.outcome import Word
    from tem_sim.scenario.models import Scenario

# Told of the runs that are done, and of how many there are.
Progress = Callable[[int, int], None]
MOST_PLACES = 5


class PlaceError(Exception):
    """A word of `at` that is in no place's name; the message says some that there are."""


@dataclass(kw_only=True)
class FaultSweep:
    """What a sweep came to: `control` are the runs without faults, `singles` and `pairs` those with one and two.

    `asked` is how many pairs were to be drawn. With `at` the single faults, and the first of two, were only at places
    whose name has one of these words in it. `resumed`: so many rows were in the journal already.
    """

    scenario: Scenario
    asked: int
    seed: int
    at: tuple[str, ...] = ()
    control: list[Row] = field(default_factory=list)
    singles: list[Row] = field(default_factory=list)
    pairs: list[Row] = field(default_factory=list)
    resumed: int = 0
    interrupted: bool = False
    spent_s: float = 0.0

    @property
    def rows(self) -> list[Row]:
        """All runs."""
        return [*self.control, *self.singles, *self.pairs]

    def unmeant(self, row: Row) -> dict[str, str]:
        """Return the broken checks of a run that the scenario is not meant to break."""
        return {name: detail for name, detail in row.broken.items() if name not in self.scenario.expect.violations}

    @property
    def failing(self) -> list[Row]:
        """The runs with a broken check that the scenario is not meant to break."""
        return [row for row in self.rows if self.unmeant(row)]

    @property
    def missed(self) -> list[Row]:
        """Runs of one fault that never landed: they prove nothing."""
        return [row for row in self.singles if not row.landed]

    @property
    def undecided(self) -> list[Row]:
        """Runs in which a check could not tell."""
        return [row for row in self.rows if row.unknown]

    @property
    def seen(self) -> dict[str, int]:
        """In how many runs each thing that should happen sometimes did; of what never did, nothing was tested."""
        return {name: sum(name in row.seen for row in self.rows) for name in SOMETIMES}

    @property
    def possible_pairs(self) -> int:
        """About how many pairs there are, by those first faults whose second ones were counted; 0: nobody knows."""
        counted = [row.choices for row in self.pairs]
        return round(sum(counted) / len(counted) * len(self.singles)) if counted else 0

    @property
    def word(self) -> Word:
        """The verdict in a word. That pairs are only drawn, and not all done, is said and decides nothing."""
        if self.interrupted:
            return "INTERRUPTED"
        names = {name for row in self.failing for name in self.unmeant(row)}
        if names:
            return "BROKEN" if names == {BREAKS} else "FAIL"
        return "INCONCLUSIVE" if self.missed or self.undecided or not self.singles else "PASS"

    @property
    def exit_code(self) -> int:
        """The process's exit code."""
        return EXIT_CODES[self.word]

    def scenario_of(self, row: Row) -> Scenario:
        """Return the scenario of a run, faults included."""
        from tem_sim.scenario.models import Scenario

        base = variants(self.scenario)[row.variant]
        faults = {"faults": list(row.inflicted), "horizon": row.horizon_s}
        return Scenario.model_validate({**base.resolved(), **faults})


def sweep_faults(
    scenario: Scenario,
    *,
    pairs: int = 0,
    seed: int = 1,
    at: Sequence[str] = (),
    journal: Path | None = None,
    resume: bool = False,
    force: bool = False,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> FaultSweep:
    """Inflict one fault at each boundary of the reduced scenario, then two at once in `pairs` runs drawn by `seed`.

    `at`: only at places whose name has one of these words in it; a second fault may strike anywhere. With a `journal`
    each run is kept as soon as it is done; `resume` goes on with one. Ctrl-C ends the sweep early, and what was done is
    returned. Raises `JournalError`; `PlaceError` before the journal is touched.
    """
    began_s = time.time()
    _refuse_strangers(scenario, at)
    made = FaultSweep(scenario=scenario, asked=pairs, seed=seed, at=tuple(at))
    with opened(journal, resume=resume, force=force) as kept:
        before = set(kept.known)
        try:
            _Filling(made, kept, jobs, progress or _nobody).fill()
        except KeyboardInterrupt:
            made.interrupted = True
    made.resumed = sum(row.key in before for row in made.rows)
    made.spent_s = time.time() - began_s
    return made


def _refuse_strangers(scenario: Scenario, at: Sequence[str]) -> None:
    from tem_sim.sim.kernel import SimulationError

    if not at:
        return
    try:
        places = {one.place: None for base in variants(scenario).values() for one in boundaries(base)}
    except SimulationError:
        # The runs without a fault will tell.
        return
    strangers = [word for word in at if not any(word in place for place in places)]
    if strangers:
        known = list(places)
        # Spread over an event's life.
        some = known[:: max(1, len(known) // MOST_PLACES)][:MOST_PLACES]
        raise PlaceError(f"--at: {', '.join(strangers)}: in no place's name; there are {', '.join(some)}, …")


def _nobody(done: int, total: int) -> None:
    pass


class _Filling:
    """Does what is not in the journal yet."""

    def __init__(self, made: FaultSweep, kept: Journal, jobs: int | None, tell: Progress) -> None:
        self.made, self.kept, self.tell = made, kept, tell
        self.do = processes(jobs)
        self.done = self.total = 0

    def fill(self) -> None:
        bases = variants(self.made.scenario)
        self.made.control += [self._control(name, base) for name, base in bases.items()]
        if any(row.broken for row in self.made.control):
            # What breaks without a fault says nothing when it breaks with one.
            return
        singles = [case for name, base in bases.items() for case in cases_of(name, base)]
        if self.made.at:
            singles = [case for case in singles if any(word in case.boundary.place for word in self.made.at)]
        keys = {key_of(case.scenario): case for case in singles}
        self.total = len(keys) + self.made.asked
        self._singles(keys)
        harmless = {row.key for row in self.made.singles if row.landed and not row.broken}
        firsts = [(case, bases[case.variant]) for key, case in keys.items() if key in harmless]
        self._pairs(starts(firsts, self.made.asked, self.made.seed))

    def _control(self, variant: str, base: Scenario) -> Row:
        key = key_of(base)
        if key not in self.kept.known:
            self.kept.add(_row(key, variant, [], base, attempt(base)))
        return self.kept.known[key]

    def _singles(self, keys: dict[str, Case]) -> None:
        rows = self.made.singles
        # Keys are made here: a process that starts late, after somebody has changed the code, would make others.
        todo = spread([(key, case) for key, case in keys.items() if key not in self.kept.known])
        try:
            rows += [self.kept.known[key] for key in keys if key in self.kept.known]
            self._told(len(rows))
            for _, row in self.do(_single, todo):
                self.kept.add(row)
                rows.append(row)
                self._told(1)
        finally:
            order = {key: number for number, key in enumerate(keys)}
            rows.sort(key=lambda row: order[row.key])

    def _pairs(self, asked: Sequence[Start]) -> None:
        rows = self.made.pairs
        todo = []
        for start in asked:
            keys = [key_of(start.first.scenario, "pair", str(start.seed), str(n)) for n in range(start.draws)]
            known = list(self._known(keys))
            rows += known
            self._told(len(known))
            if not known:
                todo.append((keys, start))
        for _, found in self.do(_seconds, todo):
            for row in found:
                self.kept.add(row)
            rows += found
            self._told(len(found))
        rows.sort(key=lambda row: row.key)

    def _known(self, keys: Sequence[str]) -> Iterator[Row]:
        """Yield the pairs of a first fault, if all of them are there."""
        found = [self.kept.known.get(key) for key in keys]
        if found[0] is not None and all(found[: min(len(keys), found[0].choices)]):
            yield from (row for row in found if row is not None)

    def _told(self, more: int) -> None:
        self.done += more
        self.tell(self.done, self.total)


def _single(task: tuple[str, Case]) -> Row:
    key, case = task
    began_s = time.perf_counter()
    tried = attempt(case.scenario)
    return _row(key, case.variant, [case], case.scenario, tried, began_s)


def _seconds(task: tuple[list[str], Start]) -> list[Row]:
    """Make the run of a first fault again, and runs with second ones in it."""
    keys, start = task
    run = attempt(start.first.scenario).run
    drawn, choices = ([], 0) if run is None else seconds(start, run)
    rows = []
    for key, (second, scenario) in zip(keys, drawn, strict=False):
        began_s = time.perf_counter()
        tried = attempt(scenario)
        cases = [start.first, second]
        rows.append(_row(key, second.variant, cases, scenario, tried, began_s, choices))
    return rows


def _row(
    key: str,
    variant: str,
    cases: Sequence[Case],
    scenario: Scenario,
    tried: Tried,
    began_s: float | None = None,
    choices: int = 0,
) -> Row:
    run = tried.run
    return Row(
        key=key,
        variant=variant,
        places=tuple(case.boundary.place for case in cases),
        faults=tuple(case.fault for case in cases),
        inflicted=tuple(fault.resolved() for fault in scenario.faults),
        horizon_s=scenario.horizon_s,
        landed=tried.landed,
        broken=tried.broken,
        unknown=tried.unknown,
        choices=choices,
        seen=tried.seen,
        digest="" if run is None else run.digest,
        end_s=0.0 if run is None else run.end_s,
        seconds=0.0 if began_s is None else time.perf_counter() - began_s,
    )

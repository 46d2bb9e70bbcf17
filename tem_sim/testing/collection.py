"""A scenario file as tests: one per threshold and one per check, each at its line, all judging the same runs."""

from __future__ import annotations

import io
import os
import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tem_sim.baseline.file import BaselineError
from tem_sim.checks.registry import checks_for
from tem_sim.report.jobs import repeat_command, unknown_checks
from tem_sim.report.several import Answer, Fate, Several
from tem_sim.scenario.errors import ScenarioError
from tem_sim.scenario.loader import load, places_in
from tem_sim.scenario.models import Scenario
from tem_sim.scenario.seeds import first_seeds
from tem_sim.testing.plugin import baseline_key
from tem_sim.testing.runs import Runs, simulated

if TYPE_CHECKING:
    from tem_sim.baseline.check import CheckedCase
    from tem_sim.baseline.seen import Case, Seen
    from tem_sim.frames import Run
    from tem_sim.scenario.errors import Spot
    from tem_sim.scenario.thresholds import Threshold
    from tem_sim.testing.baselines import Baselines

# A file is ours when its first lines point to our schema, or when it names a scenario and has a section of one.
_MODELINE = re.compile(r"^#\s*yaml-language-server:.*scenario\.schema\.json", re.MULTILINE)
_NAMED = re.compile(r"^[\"']?scenario[\"']?\s*:", re.MULTILINE)
_SECTIONS = "|".join(sorted({(field.alias or name) for name, field in Scenario.model_fields.items()} - {"scenario"}))
_SECTION = re.compile(rf"^[\"']?({_SECTIONS}|extends)[\"']?\s*:", re.MULTILINE)
_WORDS: dict[Fate, str] = {"broken": "FAIL", "inconclusive": "INCONCLUSIVE"}
# Enough of a file to see what it is.
_LOOKED_AT = 1_000_000


class TemSimWarning(UserWarning):
    """A threshold that only warns is not kept."""


def scenario_file(path: Path, parent: pytest.Collector, runs: Runs) -> pytest.Collector | None:
    """Return the collector of a file, or None for YAML that is no scenario."""
    with path.open(encoding="utf-8", errors="replace") as file:
        text = file.read(_LOOKED_AT)
    if not _MODELINE.search(text) and not (_NAMED.search(text) and _SECTION.search(text)):
        return None
    collector: pytest.Collector = ScenarioFile.from_parent(parent, path=path, runs=runs)
    return collector


class ScenarioFile(pytest.File):
    """One scenario; it is run when the first of its tests is, and once."""

    def __init__(self, *, runs: Runs, **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]  # What pytest gives, it takes.
        self.shown = runs.shown(self.path)
        self.baselines = self.config.stash[baseline_key]
        self._several: Several | Exception | None = None
        self._seen: list[Seen] = []

    def collect(self) -> Iterator[ScenarioItem]:
        """Yield the tests; a file with mistakes is an error that lists them with their places."""
        try:
            scenario = load(self.shown)
            places = places_in(self.shown)
            if strangers := unknown_checks(Path(self.shown), scenario):
                raise ScenarioError(strangers)
            self.seeds = self._asked(scenario)
        except (ScenarioError, BaselineError) as error:
            raise self.CollectError(str(error)) from None
        self.scenario = scenario
        if self.config.pluginmanager.hasplugin("xdist"):
            self.add_marker(pytest.mark.xdist_group(name=self.nodeid))
        seen: Counter[str] = Counter()
        # One that is written twice is one test: names tell tests apart.
        for threshold in dict.fromkeys(scenario.thresholds.listed()):
            spot = places.threshold(threshold.metric, seen[threshold.metric])
            seen[threshold.metric] += 1
            name = f"{threshold.metric}[{threshold}]"
            yield ThresholdItem.from_parent(self, name=name, spot=spot, threshold=threshold)
        for check in checks_for(scenario):
            yield CheckItem.from_parent(self, name=check, spot=places.violation(check))
        if self.baselines is not None:
            yield BaselineItem.from_parent(self, name="baseline", spot=places.name)

    def _asked(self, scenario: Scenario) -> tuple[int, ...]:
        """Return the seeds that are run: those of the baseline, of the option, of the file, or the scenario's one."""
        option: int | None = self.config.getoption("--tem-seeds")
        if self.baselines is not None:
            return self.baselines.seeds(scenario, option)
        if option:
            return tuple(range(1, option + 1))
        return (scenario.seed,) if scenario.seeds is None else first_seeds(scenario.seeds)

    def judged(self) -> Several:
        """Run and judge, the first time; a simulation that breaks breaks every test of the file."""
        if self._several is None:
            strict = bool(self.config.getoption("--tem-strict"))
            try:
                self._several = Several.judged(self.scenario, self._ran(), strict=strict)
            except Exception as error:
                self._several = error
        if isinstance(self._several, Exception):
            raise self._several
        return self._several

    def case(self) -> Case:
        """Return what is kept of the runs for a baseline."""
        from tem_sim.baseline.seen import Case

        self.judged()
        return Case(scenario=self.scenario, runs=tuple(self._seen))

    def _ran(self) -> Iterator[Run]:
        """Yield the runs one by one, so that no two of them are in memory."""
        for number, seed in enumerate(self.seeds):
            run = simulated(self.scenario, seed)
            if self.baselines is not None:
                from tem_sim.baseline.seen import seen

                self._seen.append(seen(run, log=number == 0))
            yield run

    def repeat(self, seed: int) -> str:
        """Return the command that does one of the runs again."""
        return repeat_command(Path(self.shown), seed, (), "sqlite://", None)


class ScenarioItem(pytest.Item):
    """One question to a scenario's runs."""

    parent: ScenarioFile

    def __init__(self, *, spot: Spot, marks: Sequence[str], **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]  # What pytest gives, it takes.
        self.spot = spot
        self._file = Path(spot.file).absolute()
        known = {line.partition(":")[0] for line in self.config.getini("markers")}
        for mark in marks:
            # Names of checks and metrics are markers from here on, so that `-m` knows them and no other run sees them.
            if mark not in known:
                self.config.addinivalue_line("markers", f"{mark}: of tests that tem-sim makes")
            self.add_marker(mark)

    @abstractmethod
    def answer(self, several: Several) -> Answer:
        """Return what the runs say."""

    def runtest(self) -> None:
        """Judge; what is not kept fails with its sentence, the rows that offend and the command that repeats it."""
        several = self._judged()
        found = self.answer(several)
        head = self.head(found)
        repeat = self._noted(head, several.seeds, self.repeat(found))
        if found.fate == "unknown":
            pytest.skip(f"cannot be judged: {found.sentence}")
        if found.fate == "warned":
            self.warn(TemSimWarning(f"{self.spot}: {found.sentence}; it only warns"))
        if found.fate in _WORDS:
            pytest.fail(f"{head}\n{self.evidence(found)}\nrepeat: {repeat}", pytrace=False)

    def head(self, found: Answer) -> str:
        """Return the verdict in one line."""
        return f"{_WORDS.get(found.fate, 'PASS')} {self.parent.scenario.name}: {found.sentence}"

    def evidence(self, found: Answer) -> str:
        """Return what a failure shows besides: the line that asks, and the rows that offend."""
        return _evidence(found, self.spot)

    def repeat(self, found: Answer) -> str:
        """Return the command that shows the same again."""
        return self.parent.repeat(found.seeds[0])

    def _judged(self) -> Several:
        from tem_sim.sim.kernel import SimulationError

        try:
            return self.parent.judged()
        except SimulationError as error:
            head = f"BROKEN {self.parent.scenario.name}: {error}"
            seeds = self.parent.seeds
            repeat = self._noted(head.partition("\n")[0], seeds, f"{self.parent.repeat(seeds[0])} --traceback")
            pytest.fail(f"{head}\nrepeat: {repeat}", pytrace=False)

    def _noted(self, finding: str, seeds: Sequence[int], repeat: str) -> str:
        """Keep what JUnit files and annotations say of this test; return the command."""
        self.user_properties += [("tem_finding", finding), ("tem_seeds", _range(seeds)), ("tem_repeat", repeat)]
        return repeat

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        """Return the line of the file, or of its base, that asks the question."""
        return self._file, (self.spot.line or 1) - 1, f"{self.parent.shown}: {self.name}"


class ThresholdItem(ScenarioItem):
    """A threshold, held by all runs together."""

    def __init__(self, *, threshold: Threshold, **kwargs: object) -> None:
        super().__init__(marks=("tem", "tem_threshold", threshold.metric), **kwargs)  # type: ignore[arg-type]
        self.threshold = threshold

    def answer(self, several: Several) -> Answer:
        """Return what the threshold comes to."""
        return several.threshold(self.threshold)


class CheckItem(ScenarioItem):
    """A check, of every run; one that the scenario is meant to break passes when all of them break it."""

    def __init__(self, *, name: str, **kwargs: object) -> None:
        super().__init__(name=name, marks=("tem", "tem_check", name), **kwargs)  # type: ignore[arg-type]

    def answer(self, several: Several) -> Answer:
        """Return what the check comes to."""
        return several.check(self.name)


class BaselineItem(ScenarioItem):
    """The scenario against its baseline."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__(marks=("tem", "tem_baseline"), **kwargs)  # type: ignore[arg-type]
        self._checked: CheckedCase | None = None

    def answer(self, several: Several) -> Answer:
        """Return whether anything got worse."""
        from tem_sim.testing.baselines import answer_of

        self._checked = self._baselines.compared(self.parent.case())
        return answer_of(self._checked, several.seeds)

    def head(self, found: Answer) -> str:
        """Return the verdict in one line, as `tem-sim check` says it."""
        return found.sentence

    def evidence(self, found: Answer) -> str:
        """Return what changed, and a line per metric that did."""
        from tem_sim.testing.baselines import account_of

        return "" if self._checked is None else account_of(self._checked)

    def repeat(self, found: Answer) -> str:
        """Return the command that compares again."""
        return self._baselines.repeat(self.parent.shown, len(found.seeds))

    @property
    def _baselines(self) -> Baselines:
        assert self.parent.baselines is not None
        return self.parent.baselines


def _range(seeds: Sequence[int]) -> str:
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}-{seeds[-1]}"
    return ", ".join(map(str, seeds))


def _evidence(found: Answer, spot: Spot) -> str:
    """Return the line that asks, and the rows that offend."""
    from tem_sim.report.screen import show
    from tem_sim.report.summary import offending_rows

    rows = io.StringIO()
    if found.verdict is not None and found.verdict.n_rows:
        show(offending_rows(found.verdict), rows)
    line = spot.source_line.strip()
    return f"{spot}: {line}\n{rows.getvalue()}" if line else f"{spot}\n{rows.getvalue()}"

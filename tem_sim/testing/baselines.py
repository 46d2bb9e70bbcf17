"""The baseline of a test session: scenario files are held against it, in pairs by seed, or it is written anew."""

from __future__ import annotations

import io
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tem_sim.baseline.check import Checked, CheckedCase, Word, check_baseline
from tem_sim.baseline.file import Baseline, BaselineError, load_baseline, save_baseline
from tem_sim.baseline.seen import Case, seeds_of
from tem_sim.baseline.words import sentence
from tem_sim.report.several import Answer, Fate

if TYPE_CHECKING:
    from tem_sim.scenario.models import Scenario

_FATES: dict[Word, Fate] = {
    "OK": "kept",
    "REGRESSION": "broken",
    "NO BASELINE": "broken",
    "INCONCLUSIVE": "inconclusive",
}


class Baselines:
    """One baseline file; with `update` it is written at the end of the session, of all cases that were run."""

    def __init__(self, file: Path, update: bool) -> None:
        self.file, self.update = file, update
        self._cases: list[Case] = []
        self._known = Baseline({}) if update else self._loaded()

    def _loaded(self) -> Baseline:
        try:
            return load_baseline(self.file)
        except BaselineError as error:
            raise pytest.UsageError(f"{error}; or write it with --tem-update-baseline") from None

    def seeds(self, scenario: Scenario, first: int | None) -> tuple[int, ...]:
        """Return the seeds of a scenario: those that the baseline has, or the first of them; else BaselineError."""
        known = self._known.scenarios.get(scenario.name)
        if known is None:
            return seeds_of(scenario, first)
        if first is not None and first > len(known.seeds):
            raise BaselineError(f"--tem-seeds {first}: {self.file} has {len(known.seeds)} seeds of {scenario.name}")
        return known.seeds[:first]

    def compared(self, case: Case) -> CheckedCase | None:
        """Hold a case against the baseline, its thresholds and checks left aside: they are tests of their own."""
        if self.update:
            self._cases.append(case)
            return None
        (checked,) = check_baseline([case], self._known).cases
        return replace(checked, thresholds=(), checks={})

    def repeat(self, file: str, seeds: int) -> str:
        """Return the command that compares again."""
        return shlex.join(["tem-sim", "check", file, "--baseline", str(self.file), "--seeds", str(seeds)])

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Write the baseline; scenarios that were not run stay in it as they are."""
        if not self.update or not self._cases:
            return
        try:
            save_baseline(self._cases, self.file, keep_others=True)
        except BaselineError as error:
            terminalreporter.write_line(f"tem-sim: no baseline is written: {error}", red=True)
        else:
            terminalreporter.write_line(f"tem-sim: wrote {self.file} ({len(self._cases)} scenarios)")


def answer_of(checked: CheckedCase | None, seeds: tuple[int, ...]) -> Answer:
    """Return the test's answer; what only was recorded is kept."""
    if checked is None:
        return Answer(fate="kept", sentence="recorded for the baseline", seeds=seeds)
    return Answer(fate=_FATES[checked.word], sentence=sentence(checked), seeds=seeds)


def account_of(checked: CheckedCase) -> str:
    """Return what changed and a line per metric that did."""
    from tem_sim.baseline.screen import blocks
    from tem_sim.report.screen import show

    text = io.StringIO()
    show(blocks(Checked((checked,))), text)
    # The first line is the sentence, which stands above it already.
    return text.getvalue().partition("\n")[2]

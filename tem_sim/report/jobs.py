"""Runs to do: which scenario with which seed, the folder each is saved in, and the command that repeats it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tem_sim.scenario.errors import Problem
    from tem_sim.scenario.models import Scenario

RUNS_FOLDER = Path("reports")


@dataclass(frozen=True, slots=True)
class Job:
    """One run to do."""

    file: Path
    settings: tuple[str, ...]
    scenario: Scenario
    seed: int
    folder: Path
    repeat: str

    @property
    def traceback_file(self) -> Path:
        """Beside the run's folder: inside, it would lie with an earlier run that did not break."""
        return self.folder.with_name(f"{self.folder.name}.traceback.txt")


def plan(
    scenarios: Sequence[tuple[Path, Scenario]],
    *,
    seed: int | None,
    settings: Sequence[str],
    store: str,
    out: Path | None,
    command: Sequence[str] = ("tem-sim", "run"),
    more: Sequence[str] = (),
    label: str = "seed",
) -> list[Job]:
    """Return a job per scenario file; `seed` overrides the scenarios' own, `out` is as the option says.

    `command` and `more`, options that are nobody else's, make up what repeats it. `label` goes before the seed in the
    name of a folder that nobody has named.
    """
    jobs = []
    for file, scenario in scenarios:
        used = scenario.seed if seed is None else seed
        folder = run_folder(scenario.name, used, out, several=len(scenarios) > 1, label=label)
        named = folder if out is not None else None
        repeat = repeat_command(file, used, settings, store, named, command=command, more=more)
        jobs.append(Job(file, tuple(settings), scenario, used, folder, repeat))
    return jobs


def run_folder(name: str, seed: int, out: Path | None, several: bool, label: str = "seed") -> Path:
    """Return where a run is saved: `out` itself for a single one, else a folder per scenario and seed."""
    if out is not None and not several:
        return out
    # A name may hold what a path must not, a slash above all.
    safe = re.sub(r"[^\w.-]+", "-", name).strip(".-") or "scenario"
    return (RUNS_FOLDER if out is None else out) / safe / f"{label}-{seed}"


def repeat_command(
    file: Path,
    seed: int,
    settings: Sequence[str],
    store: str,
    folder: Path | None,
    *,
    command: Sequence[str] = ("tem-sim", "run"),
    more: Sequence[str] = (),
) -> str:
    """Return the command that does a run again; a store's password is not repeated."""
    words = [*command, str(file), "--seed", str(seed), *more]
    for setting in settings:
        words += ["--set", setting]
    if store != "sqlite://":
        words += ["--store", re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", store)]
    if folder is not None:
        words += ["--out", str(folder)]
    return shlex.join(words)


def refuse_bad_folders(jobs: Sequence[Job]) -> None:
    """Raise `RunError` before the work, and not after it, when a run could not be saved."""
    from tem_sim.archive import replaceable
    from tem_sim.frames import RunError

    folders = [job.folder for job in jobs]
    for index, folder in enumerate(folders):
        if folder.exists() and not replaceable(folder):
            raise RunError(f"{folder}: exists and holds no run; choose another folder or empty this one")
        if folder in folders[:index]:
            raise RunError(f"{folder}: two of these runs would be saved here; run them one by one, each with its --out")
        folder.parent.mkdir(parents=True, exist_ok=True)


def unknown_checks(file: Path, scenario: Scenario, settings: Sequence[str] = ()) -> list[Problem]:
    """Return a problem per name under `expect.violations` that is no check.

    The scenario cannot find them itself: it knows nothing of what looks at a run.
    """
    if not scenario.expect.violations:
        return []
    from tem_sim.checks.registry import HEALED_CHECKS, WATCHED_CHECKS, checks_for
    from tem_sim.scenario.errors import Problem, did_you_mean
    from tem_sim.scenario.loader import places_in

    known = checks_for(scenario)
    strangers = [(index, name) for index, name in enumerate(scenario.expect.violations) if name not in known]
    places = places_in(file, settings) if strangers else None
    rule = f"must be a check: {', '.join(known)}"
    asked = dict.fromkeys(WATCHED_CHECKS, "it judges watched runs; set store.watch: true")
    asked |= dict.fromkeys(HEALED_CHECKS, "it judges runs whose faults end; set heal_at")
    hints = {name: hint for name, hint in asked.items() if name not in known}
    return [
        Problem(
            places.violation(name),
            f"expect.violations[{index}]",
            rule,
            name,
            hints.get(name) or did_you_mean(name, known),
        )
        for index, name in strangers
        if places is not None
    ]

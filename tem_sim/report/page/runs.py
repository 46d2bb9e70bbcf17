"""The runs that a page is about, each with its outcome, and the letter and words that tell it from the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from tem_sim.frames import Run, RunError
from tem_sim.report.outcome import Outcome, judge
from tem_sim.report.page.blocks import element, wrap

if TYPE_CHECKING:
    from pydantic import JsonValue

# More would be neither told apart by colour nor read.
MOST_RUNS = 8
# Settings named behind a run that has the same name and seed as another.
SHOWN_SETTINGS = 2
NOT_SET = "–"


Facts: TypeAlias = "dict[str, Any]"


class Difference(NamedTuple):
    """A setting in which the runs differ, with the value of each run."""

    path: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Runs:
    """One run, or several to be compared, in the order in which they were given.

    `conformance` is what was measured over all the runs of the folder that these are from, if it is one of
    `tem-sim live conform`.
    """

    outcomes: tuple[Outcome, ...]
    conformance: dict[str, Any] | None = None

    def __iter__(self) -> Iterator[Run]:
        return (outcome.run for outcome in self.outcomes)

    def __len__(self) -> int:
        return len(self.outcomes)

    def __getitem__(self, letter: str) -> Run:
        """Return a run by its letter."""
        return self.outcomes[self.letters.index(letter)].run

    def __repr__(self) -> str:
        return "\n".join(outcome.sentence() for outcome in self.outcomes)

    @property
    def several(self) -> bool:
        """Whether there is anything to compare."""
        return len(self.outcomes) > 1

    @property
    def letters(self) -> tuple[str, ...]:
        """A letter per run; of a single run, the empty one."""
        return tuple(ascii_uppercase[: len(self.outcomes)]) if self.several else ("",)

    @cached_property
    def differences(self) -> tuple[Difference, ...]:
        """The settings in which the runs differ, by path; the description in words is none."""
        flat = [dict(_leaves(run.scenario_dict)) | {"seed": str(run.seed)} for run in self]
        paths = sorted({path for one in flat for path in one} - {"about"})
        found = (Difference(path, tuple(one.get(path, NOT_SET) for one in flat)) for path in paths)
        return tuple(difference for difference in found if len(set(difference.values)) > 1)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Each run in words: scenario and seed, and where another has the same, the settings in which it differs."""
        heads = [f"{run.name}, seed {run.seed}" + (", live" if run.mode == "live" else "") for run in self]
        return tuple(
            f"{head} ({self._settings(number)})" if heads.count(head) > 1 else head for number, head in enumerate(heads)
        )

    @cached_property
    def short(self) -> tuple[str, ...]:
        """Each run in a word or two, for a legend: what tells it from the others, and nothing of what they share."""
        if len({run.name for run in self}) > 1:
            return tuple(run.name for run in self)
        return tuple(
            ", ".join([*mode, *(f"{_last_word(one.path)} {one.values[number]}" for one in self._telling)]) or run.name
            for number, (run, mode) in enumerate(zip(self, self._modes, strict=True))
        )

    @property
    def _modes(self) -> list[list[str]]:
        """What each run was, in a word, where not all were the same."""
        words = ["simulated" if run.mode == "sim" else run.mode for run in self]
        return [[word] if len(set(words)) > 1 else [] for word in words]

    @property
    def _telling(self) -> tuple[Difference, ...]:
        return self.differences[:SHOWN_SETTINGS]

    def _settings(self, number: int) -> str:
        told = [f"{one.path} {one.values[number]}" for one in self._telling]
        return ", ".join(told) or "the same settings"

    def heading(self, number: int, tag: str = "h3") -> str:
        """Return the heading over a run's part of a section; a page about one run needs none."""
        if not self.several:
            return ""
        return wrap(
            tag, element("span", self.letters[number], class_="letter") + " " + element("span", self.names[number])
        )


def facts_of(outcome: Outcome) -> Facts:
    """Return what a program wants to know of a run without parsing a page."""
    run = outcome.run
    return {
        "scenario": run.name,
        "seed": run.seed,
        "mode": run.mode,
        "status": run.status,
        "verdict": outcome.word,
        "sentence": outcome.sentence(),
        "digest": run.digest,
    }


def load_runs(*folders: str | Path) -> Runs:
    """Load and judge saved runs. Raises `RunError` for a folder that holds none, and for more than `MOST_RUNS`."""
    if not 0 < len(folders) <= MOST_RUNS:
        raise RunError(f"a report is about 1 to {MOST_RUNS} runs, got {len(folders)}")
    outcomes = tuple(judge(Run.load(folder)) for folder in folders)
    (parent, *others) = {Path(folder).resolve().parent for folder in folders}
    return Runs(outcomes, None if others else _conformance(parent))


def _conformance(folder: Path) -> dict[str, Any] | None:
    from tem_sim.report.page.conformed import read

    return read(folder)


def _last_word(path: str) -> str:
    """Return what a setting is called: of `pipeline.backoff.jitter.kind` that is `jitter`."""
    words = path.split(".")
    return words[-2] if words[-1] == "kind" and len(words) > 1 else words[-1]


def _leaves(value: JsonValue, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield each setting with its path, such as `faults[0].for`."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value:
        for number, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{number}]")
    else:
        yield path, f"{value:g}" if isinstance(value, float) else str(value)

"""Is it still the same, to the last bit; and if not, what changed: the scenario, the versions, or what the code does.

Where only the scenario changed, the baseline's scenario still gives the baseline's digest under today's code: so it is
run again, once, and both logs are at hand. Otherwise the baseline's own log has to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tem_sim.baseline.file import Recorded, behaviour
from tem_sim.baseline.log import Parting, kept, parting, rows_of
from tem_sim.versions import engine, versions

if TYPE_CHECKING:
    from pydantic import JsonValue

    from tem_sim.baseline.seen import Case, Seen

# "same", "other" digest with the baseline's scenario under today's code; "unknown": it cannot be run any more.
Code = Literal["same", "other", "unknown"]
MAX_CHANGES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A setting that is not what it was; None where there is none."""

    path: str
    before: JsonValue
    after: JsonValue

    def __str__(self) -> str:
        return f"{self.path} {_shown(self.before)} → {_shown(self.after)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How today's runs of a scenario stand to the baseline's.

    `same` and `other` are the seeds with the same digest and with another. `parting` is where the logs of the
    baseline's first seed part; None where they do not, or it was not run. `numbers_differ`: metrics that differ
    although every digest is the same, so that what happened beside the transitions changed, or how it is measured.
    """

    same: tuple[int, ...]
    other: tuple[int, ...]
    scenario: tuple[Change, ...]
    versions: tuple[Change, ...]
    engine_changed: bool
    code: Code
    parting: Parting | None
    log_seed: int
    numbers_differ: tuple[str, ...] = ()

    @property
    def identical(self) -> bool:
        """Whether nothing at all differs."""
        return not self.other and not self.numbers_differ and bool(self.same)

    def sentences(self) -> list[str]:
        """Say what changed, a sentence each; nothing where it is identical."""
        if self.identical:
            return []
        return [*self._causes(), *([f"seed {self.log_seed}: {self.parting}"] if self.parting else [])]

    def _causes(self) -> Iterator[str]:
        if self.scenario:
            yield f"the scenario changed: {_listed(self.scenario)}"
        if self.versions:
            yield f"versions changed: {_listed(self.versions)}"
        if self.numbers_differ:
            yield f"every transition is the same, but not {', '.join(self.numbers_differ)}"
        elif self.scenario:
            yield _OF_CODE[self.code]
        elif self.other:
            yield self._of_behaviour()

    def _of_behaviour(self) -> str:
        seeds = f"{len(self.other)} of {len(self.same) + len(self.other)} seeds"
        if self.engine_changed or self.versions:
            return f"the same scenario behaves differently in {seeds}"
        return (
            f"the same scenario behaves differently in {seeds} under the same code and versions: "
            "code of your own that it names changed, or chance comes in unseeded"
        )


_OF_CODE: dict[Code, str] = {
    "same": "under the scenario of the baseline the code does what it did",
    "other": "the code changed too: under the scenario of the baseline it does something else",
    "unknown": "the scenario of the baseline is none any more, so that it cannot be run for comparison",
}


def drift(old: Recorded, case: Case) -> Drift:
    """Hold the digests of today's runs against the baseline's, and find what changed where they differ."""
    before = dict(zip(old.seeds, old.digests, strict=True))
    ran = [run for run in case.runs if not run.error and run.seed in before]
    same = tuple(run.seed for run in ran if run.digest == before[run.seed])
    other = tuple(run.seed for run in ran if run.digest != before[run.seed])
    changes = _scenario_changes(old, case)
    code, found = _code(old, case, bool(changes), bool(other))
    return Drift(
        same=same,
        other=other,
        scenario=changes if other else (),
        versions=tuple(_changes(old.versions, versions())),
        engine_changed=old.engine != engine(),
        code=code,
        parting=found,
        log_seed=old.seeds[0],
        numbers_differ=() if other else _other_numbers(old, case),
    )


def _code(old: Recorded, case: Case, changed: bool, differs: bool) -> tuple[Code, Parting | None]:
    """Tell whether the code is what it was, and where the first seed's logs part."""
    first: Seen | None = next((run for run in case.runs if run.seed == old.seeds[0]), None)
    if not differs or first is None or first.log is None:
        return ("same" if not differs else "unknown"), None
    if not changed:
        return "other", parting(old.log, first.log)
    again = _again(old)
    if again is None:
        return "unknown", parting(old.log, first.log)
    if again[0] != old.digests[0]:
        return "other", parting(old.log, first.log)
    return "same", parting(kept(again[1], len(again[1])), first.log)


def _again(old: Recorded) -> tuple[str, list[str]] | None:
    """Run the first seed of the baseline's scenario under today's code; None where that cannot be done."""
    from tem_sim.scenario.models import Scenario
    from tem_sim.sim.world import simulate

    try:
        run = simulate(Scenario.model_validate(old.scenario), old.seeds[0], progress=_untold)
    except Exception:
        return None
    return run.digest, rows_of(run)


def _untold(now_s: float, horizon_s: float) -> None:
    """Take no bar per run."""


def _other_numbers(old: Recorded, case: Case) -> tuple[str, ...]:
    ran = [run for run in case.runs if not run.error]
    return tuple(
        name
        for name in old.metrics
        if any(not _equal(old.values(name).get(run.seed), run.values.get(name)) for run in ran if run.seed in old.seeds)
    )


def _equal(before: float | None, now: float | None) -> bool:
    if before is None or now is None:
        return before is now
    return before == now or (before != before and now != now)


def _scenario_changes(old: Recorded, case: Case) -> tuple[Change, ...]:
    """Compare resolved settings; those that did not exist yet have their default in the baseline, if it still loads."""
    from pydantic import ValidationError

    from tem_sim.scenario.models import Scenario

    before = old.scenario
    with suppress(ValidationError):
        before = behaviour(Scenario.model_validate(old.scenario).resolved())
    return tuple(_changes(_leaves(before), _leaves(behaviour(case.scenario.resolved()))))


def _changes(before: Mapping[str, JsonValue], after: Mapping[str, JsonValue]) -> Iterator[Change]:
    for path in dict.fromkeys([*before, *after]):
        if before.get(path) != after.get(path):
            yield Change(path=path, before=before.get(path), after=after.get(path))


def _leaves(value: JsonValue, path: str = "") -> dict[str, JsonValue]:
    """Return every single setting under its path, as `--set` takes it."""
    if isinstance(value, dict) and value:
        return {k: v for key, one in value.items() for k, v in _leaves(one, f"{path}.{key}" if path else key).items()}
    if isinstance(value, list) and value:
        return {k: v for number, one in enumerate(value) for k, v in _leaves(one, f"{path}[{number}]").items()}
    return {path: value}


def _shown(value: JsonValue) -> str:
    return "(none)" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _listed(changes: tuple[Change, ...]) -> str:
    more = f", and {len(changes) - MAX_CHANGES} more" if len(changes) > MAX_CHANGES else ""
    return ", ".join(map(str, changes[:MAX_CHANGES])) + more

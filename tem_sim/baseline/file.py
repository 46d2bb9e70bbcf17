"""The baseline's file: JSON made to be read in a diff, a line per metric with a number per seed."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tem_sim.baseline.guards import Guard, GuardError, guards_of, with_effects
from tem_sim.baseline.log import Log, kept, packed, unpacked
from tem_sim.versions import engine, versions

if TYPE_CHECKING:
    from pydantic import JsonValue

    from tem_sim.baseline.seen import Case

SCHEMA_VERSION = 1
# What a scenario says of other runs, or of what is made of a run: none of it changes what happens in one.
NOT_BEHAVIOUR = ("about", "seed", "seeds", "matrix", "thresholds", "expect")
_WIDTH = 120


class BaselineError(Exception):
    """A baseline that cannot be read, written or made; the message says where, why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What a baseline knows of one scenario.

    `metrics` has a number per seed, in the order of `seeds`; NaN where a run had none. `log` is of the first seed.
    """

    scenario: dict[str, JsonValue]
    seeds: tuple[int, ...]
    digests: tuple[str, ...]
    metrics: dict[str, tuple[float, ...]]
    guards: dict[str, Guard]
    log: Log
    versions: dict[str, str] = field(default_factory=dict)
    engine: str = ""

    @property
    def name(self) -> str:
        """The scenario's name."""
        return str(self.scenario.get("scenario", ""))

    def values(self, metric: str) -> dict[int, float]:
        """Return a metric by seed; NaN where it has no value."""
        return dict(zip(self.seeds, self.metrics.get(metric, (math.nan,) * len(self.seeds)), strict=True))


@dataclass(frozen=True, slots=True)
class Baseline:
    """Scenarios by name, as they were recorded."""

    scenarios: Mapping[str, Recorded]


def recorded(case: Case, min_effects: Sequence[str] = (), guards: Mapping[str, Guard] | None = None) -> Recorded:
    """Return what a baseline keeps of a case, with these guards or with new ones.

    BaselineError where a run broke, GuardError for a bad minimal effect.
    """
    name = case.scenario.name
    if case.broken:
        first = case.broken[0]
        raise BaselineError(f"{name}, seed {first.seed}: the run broke, and is no baseline: {first.error}")
    metrics = {metric: tuple(case.values(metric).values()) for metric in case.runs[0].values}
    return Recorded(
        scenario=behaviour(case.scenario.resolved()),
        seeds=case.seeds,
        digests=tuple(run.digest for run in case.runs),
        metrics=metrics,
        guards=guards_of(metrics, min_effects) if guards is None else with_effects(guards, min_effects),
        log=kept(case.runs[0].log or ()),
        versions=versions(),
        engine=engine(),
    )


def behaviour(scenario: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Return what of a resolved scenario makes its runs what they are."""
    return {key: value for key, value in scenario.items() if key not in NOT_BEHAVIOUR}


def save_baseline(
    cases: Iterable[Case], file: str | Path, *, min_effects: Sequence[str] = (), keep_others: bool = False
) -> Baseline:
    """Write a baseline of these cases, whole or not at all, and return it.

    Scenarios that are in the file already keep their guards, but for what `min_effects` says; with `keep_others` those
    that are not among the cases stay as they are. Raises BaselineError and GuardError.
    """
    path = Path(file)
    before = _before(path)
    made: dict[str, Recorded] = dict(before) if keep_others else {}
    named: set[str] = set()
    for case in cases:
        if case.scenario.name in named:
            raise BaselineError(f"{case.scenario.name}: two scenarios have this name; give one of them another")
        named.add(case.scenario.name)
        known = before.get(case.scenario.name)
        made[case.scenario.name] = recorded(case, min_effects, known.guards if known else None)
    baseline = Baseline(made)
    _write(baseline, path)
    return baseline


def load_baseline(file: str | Path) -> Baseline:
    """Read a baseline, or all that are in a folder (`*.json`) as one. Raises BaselineError."""
    path = Path(file)
    if not path.is_dir():
        return _read(path)
    found: dict[str, Recorded] = {}
    for one in sorted(path.glob("*.json")):
        for name, entry in _read(one).scenarios.items():
            if name in found:
                raise BaselineError(f"{one}: {name} is in another file of this folder, too; remove one of them")
            found[name] = entry
    return Baseline(found)


# --- writing


def _before(path: Path) -> Mapping[str, Recorded]:
    if not path.exists():
        return {}
    try:
        return _read(path).scenarios
    except BaselineError as error:
        raise BaselineError(f"{error}. It is not overwritten: remove it first, or choose another file") from None


def _write(baseline: Baseline, path: Path) -> None:
    document = {
        "schema_version": SCHEMA_VERSION,
        "scenarios": {name: _plain(entry) for name, entry in baseline.scenarios.items()},
    }
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(laid_out(document) + "\n", encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise BaselineError(f"{path}: cannot be written: {error.strerror}") from None


def _plain(entry: Recorded) -> dict[str, Any]:
    return {
        "versions": entry.versions,
        "engine": entry.engine,
        "scenario": entry.scenario,
        "seeds": list(entry.seeds),
        "guards": {name: asdict(guard) for name, guard in entry.guards.items()},
        "metrics": {name: [_number(value) for value in values] for name, values in entry.metrics.items()},
        "digests": list(entry.digests),
        "log": {"rows": entry.log.rows, "first": packed(entry.log.kept), "blocks": list(entry.log.blocks)},
    }


def _number(value: float) -> float | int | None:
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() and abs(value) < 1e15 else value


def laid_out(value: Any, depth: int = 0) -> str:
    """Return JSON with a line for each list of numbers and for whatever is short, and one for each part of the rest."""
    line = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if not isinstance(value, (dict, list)) or not value:
        return line
    numbers = isinstance(value, list) and all(isinstance(one, (int, float, type(None))) for one in value)
    nested = depth < 3 and isinstance(value, dict)
    if numbers or (len(line) + depth <= _WIDTH and not nested):
        return line
    pad = " " * (depth + 1)
    if isinstance(value, list):
        parts = [f"{pad}{laid_out(one, depth + 1)}" for one in value]
        return "[\n" + ",\n".join(parts) + f"\n{' ' * depth}]"
    parts = [f"{pad}{json.dumps(key, ensure_ascii=False)}: {laid_out(one, depth + 1)}" for key, one in value.items()]
    return "{\n" + ",\n".join(parts) + f"\n{' ' * depth}}}"


# --- reading


def _read(path: Path) -> Baseline:
    again = "`tem-sim baseline save` makes one"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        version = int(document["schema_version"])
    except OSError as error:
        raise BaselineError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise BaselineError(f"{path}: is no baseline; {again}") from None
    if version != SCHEMA_VERSION:
        raise BaselineError(f"{path}: has schema {version}, and this tem-sim reads {SCHEMA_VERSION}; {again}")
    try:
        return Baseline({str(name): _entry(plain) for name, plain in document["scenarios"].items()})
    except GuardError as error:
        raise BaselineError(f"{path}: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BaselineError(f"{path}: is damaged ({type(error).__name__}: {error}); {again}") from None


def _entry(plain: Mapping[str, Any]) -> Recorded:
    seeds = tuple(int(seed) for seed in plain["seeds"])
    metrics = {
        name: tuple(math.nan if one is None else float(one) for one in values)
        for name, values in plain["metrics"].items()
    }
    digests = tuple(str(one) for one in plain["digests"])
    wrong = [name for name, values in metrics.items() if len(values) != len(seeds)]
    if wrong or len(digests) != len(seeds) or len(set(seeds)) != len(seeds) or not seeds:
        raise ValueError(f"{', '.join(wrong) or 'digests'}: not one for each of the {len(seeds)} seeds")
    log = plain["log"]
    return Recorded(
        scenario=dict(plain["scenario"]),
        seeds=seeds,
        digests=digests,
        metrics=metrics,
        guards={name: _guard(name, given) for name, given in plain["guards"].items()},
        log=Log(rows=int(log["rows"]), kept=unpacked(log["first"]), blocks=tuple(log["blocks"])),
        versions=dict(plain["versions"]),
        engine=str(plain["engine"]),
    )


def _guard(metric: str, given: Mapping[str, Any]) -> Guard:
    guard = Guard(**given)
    if guard.worse not in ("more", "less") or not isinstance(guard.must_settle, bool):
        raise GuardError(f"the guard of {metric} must have worse: more or less, and must_settle: true or false")
    guard.tolerance(metric)
    return guard

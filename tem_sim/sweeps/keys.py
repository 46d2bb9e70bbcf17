"""What makes two runs the same run: the scenario as resolved, the seed, and the engine. Everything else is when."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tem_sim.scenario.policy import ImportedBackoff

if TYPE_CHECKING:
    from pydantic import JsonValue

    from tem_sim.scenario.models import Scenario

# What a scenario says of other runs than this one.
OF_OTHERS = ("seed", "seeds", "matrix")


def resolved(scenario: Scenario) -> dict[str, JsonValue]:
    """Return a scenario as plain data, without its seeds."""
    return {key: value for key, value in scenario.resolved().items() if key not in OF_OTHERS}


def scenario_key(scenario: Scenario) -> str:
    """Return the hash of a scenario without its seeds; the user's own code that it names is part of it."""
    return _hash(json.dumps(resolved(scenario), sort_keys=True), *_own_code(scenario))


def run_key(scenario_key: str, seed: int, engine: str) -> str:
    """Return the hash that a run is known by."""
    return _hash(scenario_key, str(seed), engine)


def _hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _own_code(scenario: Scenario) -> list[str]:
    """Return the text of the modules that the scenario names; what they import is not looked at."""
    backoff = scenario.pipeline.backoff
    paths = [backoff.import_path] if isinstance(backoff, ImportedBackoff) else []
    paths += [scenario.handler.call] if scenario.handler.call is not None else []
    files = [getattr(sys.modules.get(path.partition(":")[0]), "__file__", None) for path in paths]
    return [Path(file).read_text(encoding="utf-8", errors="replace") for file in files if file]

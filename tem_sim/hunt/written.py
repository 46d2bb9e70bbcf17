"""The file of a finding: a scenario that `tem-sim run` replays, to the same verdict and the same digest.

It says only what differs from the defaults, and expects nothing: it fails for as long as what it shows is there, and
passes once that is mended. So it can be put among a team's scenarios as it is.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tem_sim.checks.verdict import count
from tem_sim.hunt.goal import BREAKS
from tem_sim.scenario.loader import loads
from tem_sim.scenario.models import Scenario
from tem_sim.scenario.yaml_writer import yaml_text
from tem_sim.versions import versions

if TYPE_CHECKING:
    from pydantic import JsonValue

    from tem_sim.hunt.draws import Plain
    from tem_sim.hunt.hunt import Finding, Hunt

FOLDER = Path("reports/hunts")
_WIDTH = 100
# What a file says even where it is as by default.
_ALWAYS = ("seed", "arrivals")
# What is a time in seconds in a fault or an arrival, by its key.
_TIMES = (
    *("at", "for", "from", "until", "restart_after", "grace", "corrected_after", "every", "within"),
    *("skew", "step", "phase", "leap", "resolution", "countdown", "lag"),
)


def file_name(found: Finding, name: str) -> str:
    """Return the name of a finding's file: the scenario and what it violates."""
    what = "broken" if found.violation.name == BREAKS else found.violation.name.split()[0]
    return re.sub(r"[^\w.-]+", "-", f"{name}-{what}").strip(".-") + ".yaml"


def write(made: Hunt, folder: Path, repeat: str) -> Path:
    """Write what a hunt found, and return the file; `repeat` is the command that finds it again."""
    assert made.finding is not None
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / file_name(made.finding, made.scenario.name)
    file.write_text(scenario_text(made, made.finding, file, repeat), encoding="utf-8")
    return file


def scenario_text(made: Hunt, found: Finding, file: Path, repeat: str) -> str:
    """Return the content of a finding's file: what was found and how, then the scenario."""
    return commented(_comments(made, found, file, repeat)) + short_text(_named(found.scenario, file.stem))


def commented(texts: Iterable[str]) -> str:
    """Return these sentences as the comment at the head of a file."""
    return "".join(f"# {line}\n" for text in texts for line in _folded(text))


def short_text(scenario: Scenario) -> str:
    """Return a scenario as YAML that says only what differs from the defaults, and loads to an equal one."""
    body = yaml_text(differences(scenario))
    if loads(body) == scenario:
        return body
    # A time that is no whole number of microseconds has no spelling with a unit.
    return yaml_text(differences(scenario, with_units=False))


def _named(scenario: Scenario, name: str) -> Scenario:
    return Scenario.model_validate({**scenario.resolved(), "scenario": name, "about": scenario.about})


def _comments(made: Hunt, found: Finding, file: Path, repeat: str) -> Iterator[str]:
    yield f"{found.violation.name}: {found.violation.detail}"
    yield f"Found by `{repeat}`"
    faults, events = found.first
    before = f"{count(faults, 'fault')} and {count(events, 'event')}"
    ended = "" if found.complete else ", as far as the budget allowed"
    yield f"in try {found.at_try:,}, with {before}; shrunk in {count(found.shrink_tries, 'more run')}{ended}."
    yield from (f"{limit}." for limit in found.limits)
    if found.digest is None:
        yield f"Replay: tem-sim run {file.name}   BROKEN, exit code 3, until it is mended."
        return
    yield f"Replay: tem-sim run {file.name}   FAIL, exit code 1, until it is mended."
    yield f"Digest: {found.digest} with tem-sim {versions()['tem_sim']}"


def _folded(text: str) -> list[str]:
    """Fold prose; a command or a digest is kept whole, or it could not be copied."""
    return [text] if "`" in text or text.startswith(("Digest", "Replay")) else textwrap.wrap(text, _WIDTH)


# --- only what differs from the defaults


def differences(scenario: Scenario, *, with_units: bool = True) -> Plain:
    """Return a scenario as a file says it, without the settings that are as they are by default.

    Times of faults and arrivals are written with their unit where `with_units`.
    """
    default = Scenario.model_validate({"scenario": "x", "arrivals": {"kind": "burst", "events": 1}}).resolved()
    resolved = scenario.resolved()
    said = {name: value for name, value in resolved.items() if name in _ALWAYS or value != default.get(name)}
    plain = {name: _without_defaults(value, default.get(name)) for name, value in said.items()}
    plain["arrivals"] = _said(resolved["arrivals"], with_units)
    if "horizon" in plain and with_units:
        plain["horizon"] = _time(scenario.horizon_s)
    faults: list[JsonValue] = [_changed_keys(fault.resolved(), type(fault)) for fault in scenario.faults]
    if faults:
        plain["faults"] = _said(faults, with_units)
    return plain


def _without_defaults(value: JsonValue, default: JsonValue) -> JsonValue:
    """Drop the keys of a section that are as by default; what a kind chooses belongs together and is kept whole."""
    if not isinstance(value, dict) or not isinstance(default, dict) or "kind" in value or "growth" in value:
        return value
    return {key: item for key, item in value.items() if key not in default or item != default[key]}


def _changed_keys(fault: Plain, model: type) -> Plain:
    defaults = {field.alias or name: field.default for name, field in model.model_fields.items()}  # type: ignore[attr-defined]
    return {key: value for key, value in fault.items() if key == "kind" or value != defaults.get(key)}


def _said(items: JsonValue, with_units: bool) -> JsonValue:
    if not with_units or not isinstance(items, list):
        return items
    return [_with_units(item) if isinstance(item, dict) else item for item in items]


def _with_units(item: Plain) -> Plain:
    return {
        key: _time(value) if key in _TIMES and isinstance(value, (int, float)) else value for key, value in item.items()
    }


def _time(time_s: float) -> str:
    return f"{time_s:.6f}".rstrip("0").rstrip(".") + "s"

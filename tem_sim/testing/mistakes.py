"""Scenarios that are never valid: a valid one with one mistake put in, and which rule that breaks, and where.

Each mistake is an entry of the table: where it goes, what stands there then, the path under which it is told and words
of the rule. All of them can be made in any generated scenario, so none has to be filtered away.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from pydantic import JsonValue

from tem_sim.testing.pieces import Section
from tem_sim.testing.scenarios import scenario_sections, text_of

Where = Literal["policy", "faults", "scenario"]


@dataclass(frozen=True, slots=True)
class Invalid:
    """A scenario file with a mistake: loading it must tell of `path`, with `rule` in the message."""

    data: Section = field(repr=False)
    path: str
    rule: str

    @property
    def text(self) -> str:
        """The file, in YAML's flow style."""
        return text_of(self.data)


@dataclass(frozen=True, slots=True)
class Mistake:
    """One way to go wrong; `put` changes valid data in place and returns the path at which the mistake is told."""

    where: Where
    rule: str
    put: Callable[[Section], str]

    def made_in(self, data: Section) -> Invalid:
        """Return a copy of valid data with this mistake in it."""
        changed = copy.deepcopy(data)
        return Invalid(changed, self.put(changed), self.rule)


def invalid_policies() -> SearchStrategy[Invalid]:
    """Generate scenarios whose retry policy, and nothing else, breaks a rule."""
    return _invalid("policy")


def invalid_fault_schedules() -> SearchStrategy[Invalid]:
    """Generate scenarios of whose faults one breaks a rule."""
    return _invalid("faults")


def invalid_scenarios() -> SearchStrategy[Invalid]:
    """Generate scenarios with one mistake anywhere."""
    return st.one_of(_invalid("scenario"), _invalid("policy"), _invalid("faults"))


def _invalid(where: Where) -> SearchStrategy[Invalid]:
    mistakes = [mistake for mistake in MISTAKES if mistake.where == where]
    return st.builds(lambda mistake, data: mistake.made_in(data), st.sampled_from(mistakes), scenario_sections())


# --- how a mistake is put in


def _set(path: str, value: JsonValue, told: str | None = None) -> Callable[[Section], str]:
    """Set the value at `section.key`, the section made where there is none."""

    def put(data: Section) -> str:
        *sections, key = path.split(".")
        table = data
        for name in sections:
            inner = table.setdefault(name, {})
            assert isinstance(inner, dict)
            table = inner
        table[key] = value
        return path if told is None else told

    return put


def _policy(data: Mapping[str, JsonValue], told: str = "") -> Callable[[Section], str]:
    """Replace the retry policy; `told` is where in it the mistake is."""
    return _set("pipeline.backoff", dict(data), f"pipeline.backoff{told}")


def _fault(data: Mapping[str, JsonValue], told: str = "") -> Callable[[Section], str]:
    """Add a fault."""

    def put(scenario: Section) -> str:
        faults = scenario.setdefault("faults", [])
        assert isinstance(faults, list)
        faults.append(dict(data))
        return f"faults[{len(faults) - 1}]{told}"

    return put


def _without(key: str) -> Callable[[Section], str]:
    def put(data: Section) -> str:
        del data[key]
        return key

    return put


def _too_many(data: Section) -> str:
    data["events"] = {"limit": 5}
    data["arrivals"] = [{"kind": "burst", "events": 6}]
    return "arrivals"


_DEATH: Section = {"kind": "worker_death", "target": "worker-1"}
_OUTAGE: Section = {"kind": "outage", "at": 1, "for": 1}

_POISON: Section = {"poison": {"effect": "fail"}}
_LATE: Section = {"kind": "burst", "at": 3600, "events": 1}
_SHAKY: Section = {"kind": "proportional", "fraction": 2}
_LOSS: Section = {"kind": "wakeups_lost", "at": 1, "for": 1, "probability": 1.5}

MISTAKES: tuple[Mistake, ...] = (
    # The policy.
    Mistake("policy", "unknown key", _policy({"growth": "fixed", "bases": 1}, ".bases")),
    Mistake("policy", "must be one of fixed", _policy({"growth": "exponentiall"}, ".growth")),
    Mistake("policy", "must be > 0", _policy({"base": -1}, ".base")),
    Mistake("policy", "must be a duration", _policy({"base": "soon"}, ".base")),
    Mistake("policy", "must be at most ten years", _policy({"base": "4000d"}, ".base")),
    Mistake("policy", "must be at least the first wait", _policy({"base": 10, "cap": 5}, ".cap")),
    Mistake("policy", "must be a finite number >= 1", _policy({"factor": 0.5}, ".factor")),
    Mistake("policy", "must be a whole number", _policy({"max_retries": 2.5}, ".max_retries")),
    Mistake("policy", "must be between 0 and 1", _policy({"jitter": _SHAKY}, ".jitter.fraction")),
    Mistake("policy", "must be one of none", _policy({"jitter": "ful"}, ".jitter")),
    Mistake("policy", "is required", _policy({"jitter": {"kind": "additive"}}, ".jitter.width")),
    Mistake("policy", "at least one", _policy({"growth": "explicit", "delays": []}, ".delays")),
    Mistake("policy", "must be a known preset", _policy({"preset": "sidekick"}, ".preset")),
    Mistake("policy", "must be module:name", _policy({"import": "nowhere"}, ".import")),
    # The faults.
    Mistake("faults", "must be one of", _fault({**_OUTAGE, "kind": "outrage"}, ".kind")),
    Mistake("faults", "is required", _fault({"at": 1, "for": 1}, ".kind")),
    Mistake("faults", "is required", _fault({"kind": "outage", "at": 1}, ".for")),
    Mistake("faults", "must be > 0", _fault({**_OUTAGE, "for": 0}, ".for")),
    Mistake("faults", "must be >= 0", _fault({**_OUTAGE, "at": -1}, ".at")),
    Mistake("faults", "must be before the horizon", _fault({**_OUTAGE, "at": 3600}, ".at")),
    Mistake("faults", "must be a node of this scenario", _fault({**_DEATH, "at": 1, "target": "worker-99"}, ".target")),
    Mistake("faults", "cannot strike this node", _fault({**_OUTAGE, "target": "beat"}, ".target")),
    Mistake("faults", "needs one trigger", _fault(_DEATH)),
    Mistake("faults", "a fault has one trigger", _fault({**_DEATH, "at": 1, "rate": 1}, ".rate")),
    Mistake("faults", "goes with rate only", _fault({**_DEATH, "at": 1, "until": 2}, ".until")),
    Mistake("faults", "must be after from", _fault({**_DEATH, "rate": 1, "from": 3, "until": 2}, ".until")),
    Mistake("faults", "goes with edge only", _fault({**_DEATH, "at": 1, "nth": 2}, ".nth")),
    Mistake("faults", "must be one of before_claim", _fault({**_DEATH, "edge": "after_lunch"}, ".edge")),
    Mistake("faults", "must be between 0 and 1", _fault(_LOSS, ".probability")),
    # The rest.
    Mistake("scenario", "is required", _without("scenario")),
    Mistake("scenario", "is required", _without("arrivals")),
    Mistake("scenario", "must not be empty", _set("scenario", "")),
    Mistake("scenario", "unknown key", _set("horizont", 10)),
    Mistake("scenario", "must be > 0", _set("horizon", 0)),
    Mistake("scenario", "must be a whole number", _set("seed", 1.5)),
    Mistake("scenario", "must be one of drained, horizon", _set("stop", "never")),
    Mistake("scenario", "must be before the horizon", _set("arrivals", [_LATE], "arrivals[0].at")),
    Mistake("scenario", "must be at most 5 events in all", _too_many),
    Mistake("scenario", "must be a kind of events.kinds", _set("handler.kinds", _POISON, "handler.kinds.poison")),
    Mistake("scenario", "must be between 0 and 1", _set("handler.failure_rate", -0.1)),
    Mistake("scenario", "must be a mapping", _set("pipeline", [1])),
    Mistake("scenario", "must be a list", _set("faults", {"kind": "outage"})),
    Mistake("scenario", "unknown key", _set("thresholds.amplificaton", "max<3")),
    Mistake("scenario", "must begin with", _set("thresholds.amplification", "maximum<3")),
    Mistake("scenario", "is a number and has no count", _set("thresholds.drain_s", "count==0")),
    Mistake("scenario", "must compare with", _set("thresholds.retries", "max=3")),
    Mistake("scenario", "the N of p(N)", _set("thresholds.latency_s", "p(100)<9")),
)

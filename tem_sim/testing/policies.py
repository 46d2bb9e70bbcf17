"""Retry policies that a scenario can hold: every growth with every jitter and limit, and other systems' presets."""

from __future__ import annotations

from functools import partial

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from pydantic import JsonValue, TypeAdapter

from tem_sim.pipeline.backoff import Policy
from tem_sim.pipeline.presets import PRESETS
from tem_sim.scenario.policy import BackoffModel
from tem_sim.testing.pieces import Section, or_off, section, shares, times_s

_adapter: TypeAdapter[BackoffModel] = TypeAdapter(BackoffModel)

_FACTORS = times_s(1.0, 4.0)
_JITTERS: dict[str, SearchStrategy[Section]] = {
    "none": section(),
    "full": section(),
    "equal": section(),
    "additive": section({"width": times_s(0, 10)}),
    "proportional": section({}, {"fraction": shares()}),
    "decorrelated": section({}, {"factor": _FACTORS}),
}


def policies(*, presets: bool = True) -> SearchStrategy[Policy]:
    """Generate valid retry policies with first waits of at most 5 s; with `presets` also those of other systems."""
    return backoff_sections(presets=presets).map(policy_of)


def policy_of(data: Section) -> Policy:
    """Return the policy that a section `backoff` stands for."""
    return _adapter.validate_python(data, by_alias=True, by_name=False).policy()


def backoff_sections(*, presets: bool = True) -> SearchStrategy[Section]:
    """Generate the section `pipeline.backoff` of a file."""
    grown = _grown()
    return st.one_of(grown, _presets()) if presets else grown


@st.composite
def _grown(draw: DrawFn) -> Section:
    growth = draw(st.sampled_from(["fixed", "linear", "exponential", "polynomial", "fibonacci", "explicit"]))
    data: Section = {"growth": growth, **draw(_shape(growth))}
    kind = draw(st.sampled_from(sorted(_JITTERS)))
    data["jitter"] = {"kind": kind, **draw(_JITTERS[kind])}
    first_s = _first_wait_s(data)
    limits = section(
        {},
        {
            "cap": or_off(times_s(0, 60).map(partial(_above, first_s))),
            "cap_after_jitter": st.booleans(),
            "max_retries": or_off(st.integers(0, 8)),
            "budget": or_off(times_s(1, 120)),
        },
    )
    return data | draw(limits)


def _shape(growth: str) -> SearchStrategy[Section]:
    # A chain of decorrelated waits grows from the first one, so none begins at 0.
    base = {"base": times_s(0.5, 5)}
    shapes: dict[str, SearchStrategy[Section]] = {
        "linear": section(base, {"step": times_s(0, 5)}),
        "exponential": section(base, {"factor": _FACTORS}),
        "polynomial": section(base, {"power": times_s(0, 3)}),
        "explicit": section({"delays": st.lists(times_s(0.5, 5), min_size=1, max_size=4)}),
    }
    return shapes.get(growth, section(base))


def _first_wait_s(data: Section) -> float:
    delays: JsonValue = data.get("delays", [data.get("base")])
    first = delays[0] if isinstance(delays, list) else None
    assert isinstance(first, (int, float))
    return float(first)


def _above(first_s: float, more_s: float) -> float:
    return first_s + more_s


def _presets() -> SearchStrategy[Section]:
    return section({"preset": st.sampled_from(sorted(PRESETS)), "max_retries": st.integers(1, 8)})

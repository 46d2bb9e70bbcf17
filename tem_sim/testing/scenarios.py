"""Whole scenarios, valid and small: some tens of events, a minute at most, so that each is simulated in a blink."""

from __future__ import annotations

import json
from typing import TypeAlias

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from pydantic import JsonValue

from tem_sim.scenario.models import Scenario
from tem_sim.testing.faults import fault_sections
from tem_sim.testing.pieces import Section, or_off, section, shares, times_s
from tem_sim.testing.policies import backoff_sections

MAX_WORKERS = 3

_Sometimes: TypeAlias = "dict[str, SearchStrategy[JsonValue]]"


def scenarios(*, faults: bool = True) -> SearchStrategy[Scenario]:
    """Generate scenarios that are valid and small; without `faults`, of ones in which nothing breaks by itself."""
    return scenario_sections(faults=faults).map(scenario_of)


def scenario_files(*, faults: bool = True) -> SearchStrategy[str]:
    """Generate the text of scenario files that are valid, in YAML's flow style."""
    return scenario_sections(faults=faults).map(text_of)


def scenario_of(data: Section) -> Scenario:
    """Return the scenario that a file's data stands for."""
    return Scenario.model_validate(data, by_alias=True, by_name=False)


def text_of(data: JsonValue) -> str:
    """Write data as a file; JSON is YAML, and each value is on a line of its own."""
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


@st.composite
def scenario_sections(draw: DrawFn, *, faults: bool = True) -> Section:
    """Generate a scenario file's data."""
    horizon_s = draw(st.integers(5, 60))
    workers = draw(st.integers(1, MAX_WORKERS))
    data: Section = {
        "scenario": "generated",
        "horizon": horizon_s,
        "arrivals": list(draw(st.lists(_arrivals(horizon_s), min_size=1, max_size=2))),
        "workers": {"count": workers, **draw(_workers())},
        "pipeline": draw(_pipelines()),
        **draw(_the_rest()),
    }
    if faults:
        listed = draw(st.lists(fault_sections(workers=workers, horizon_s=horizon_s), max_size=3))
        data["faults"] = list(listed)
    return data


def _arrivals(horizon_s: int) -> SearchStrategy[Section]:
    """Return processes of at most 40 events each."""
    start = times_s(0, horizon_s - 1)
    rate = times_s(0.5, 4)
    bursts = section({"kind": st.just("burst"), "at": start, "events": st.integers(1, 40)})
    steady = st.builds(
        lambda kind, start, length, rate: {"kind": kind, "from": start, "until": start + length, "rate": rate},
        st.sampled_from(["constant", "poisson"]),
        start,
        times_s(0.5, 10),
        rate,
    )
    return st.one_of(bursts, steady)


def _workers() -> SearchStrategy[Section]:
    return section({}, {"concurrency": st.integers(1, 3), "prefetch": st.integers(1, 4), "startup": times_s(0, 2)})


def _pipelines() -> SearchStrategy[Section]:
    sometimes: _Sometimes = {
        "batch_size": st.integers(1, 50),
        "settle_every": st.integers(1, 50),
        "lease": or_off(times_s(5, 60)),
        "sweep_after": or_off(times_s(5, 60)),
        "requeue_limit": or_off(st.integers(1, 50)),
        "crash_budget": or_off(st.integers(0, 4)),
        "write_guard": st.sampled_from(["fenced", "version", "row_lock", "refresh", "stale"]),
        "outbox": st.booleans(),
        "isolation": st.sampled_from(["event", "batch"]),
        "claim_order": st.sampled_from(["oldest_first", "new_first", "newest_first"]),
        "deadline": or_off(times_s(5, 60)),
        "concurrency_limit": or_off(st.integers(1, 4)),
        "shedding": section({"above": st.integers(0, 50)}, {"retry_after": times_s(0, 5)}),
        "retry_budget": section({}, {"ratio": shares(), "floor": times_s(0.5, 5), "burst": st.integers(1, 20)}),
    }
    return section({"backoff": backoff_sections()}, sometimes)


def _the_rest() -> SearchStrategy[Section]:
    """Return some of the other sections."""
    service: SearchStrategy[JsonValue] = st.one_of(
        times_s(0, 0.5, 0.01),
        section({"kind": st.just("exponential"), "mean": times_s(0.01, 0.5, 0.01)}),
        section({"kind": st.just("uniform"), "low": times_s(0, 0.1, 0.01), "high": times_s(0.1, 1, 0.01)}),
    )
    handler: _Sometimes = {"service_time": service, "failure_rate": shares(0, 0.5), "fail_first": st.integers(0, 2)}
    beat: _Sometimes = {"retry_every": times_s(0.5, 5), "rescue_every": times_s(1, 10), "relay_every": times_s(0.5, 2)}
    broker: _Sometimes = {"durable": st.booleans(), "ack": st.sampled_from(["early", "late"]), "loss": shares(0, 0.3)}
    users: _Sometimes = {"count": st.integers(1, 20), "connected": shares()}
    parts: _Sometimes = {
        "stop": st.sampled_from(["drained", "horizon"]),
        "handler": section({}, handler),
        "beat": section({}, beat),
        "broker": section({}, broker),
        "users": section({}, users),
    }
    return section({}, parts)

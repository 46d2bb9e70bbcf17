"""Scenarios as values: defaults, both spellings, the policy they make, and their resolved form."""

import json
import pickle
import subprocess
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scenario_text import MINIMAL, with_section

from tem_sim.pipeline.backoff import Additive, Backoff, Exponential, Fibonacci, Full, Linear
from tem_sim.pipeline.presets import PRESETS
from tem_sim.pipeline.settings import Settings
from tem_sim.scenario.arrivals import Burst
from tem_sim.scenario.faults.downstream import Outage
from tem_sim.scenario.faults.process import WorkerDeath
from tem_sim.scenario.loader import loads, overridden
from tem_sim.scenario.models import Pipeline, Scenario, Workers
from tem_sim.scenario.policy import ExponentialBackoff

SMALL = Scenario(name="small", arrivals=[Burst(events=3)])


def test_python_and_yaml_say_the_same() -> None:
    assert loads(MINIMAL) == SMALL


def test_python_may_write_either_spelling() -> None:
    assert Scenario(scenario="small", arrivals={"kind": "burst", "events": 3}, horizon="10m") == SMALL


def test_a_file_has_one_spelling() -> None:
    with pytest.raises(ValueError, match="did you mean horizon"):
        with_section("horizon_s: 60\n")


def test_the_default_pipeline_is_the_pipelines_own_default() -> None:
    assert SMALL.settings() == Settings()


def test_a_scenario_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        SMALL.seed = 2  # type: ignore[misc]


def test_off_switches_a_setting_off() -> None:
    pipeline = with_section(
        "pipeline: {lease: off, sweep_after: off, requeue_limit: off, crash_budget: off}\n"
    ).pipeline
    assert (pipeline.lease_s, pipeline.sweep_after_s, pipeline.requeue_limit, pipeline.crash_budget) == (None,) * 4
    assert with_section("users: {session: off}\nhandler: {capacity: off}\n") == SMALL


@pytest.mark.parametrize(
    ("backoff", "policy"),
    [
        ("{}", Backoff(Exponential(10.0), max_retries=5)),
        ("{base: 2s, jitter: full, cap: 60s}", Backoff(Exponential(2.0), Full(), cap_s=60.0)),
        ("{growth: linear, base: 1s, step: 3s}", Backoff(Linear(1.0, 3.0))),
        ("{growth: fibonacci, base: 1s, max_retries: off}", Backoff(Fibonacci(1.0), max_retries=None)),
        (
            "{jitter: {kind: additive, width: 5s}, budget: 1h}",
            Backoff(Exponential(10.0), Additive(5.0), budget_s=3600.0),
        ),
        ("{preset: sidekiq}", PRESETS["sidekiq"].policy),
    ],
)
def test_a_backoff_becomes_the_pipelines_policy(backoff: str, policy: object) -> None:
    assert with_section(f"pipeline: {{backoff: {backoff}}}\n").policy() == policy


@pytest.mark.parametrize("name", list(PRESETS))
def test_every_preset_can_be_chosen_and_limited(name: str) -> None:
    policy = with_section(f"pipeline: {{backoff: {{preset: {name}, max_retries: 7, budget: 2h}}}}\n").policy()
    assert (policy.name, policy.max_retries, policy.budget_s) == (name, 7, 7200.0)


def test_a_preset_keeps_its_own_limits_unless_told() -> None:
    assert with_section("pipeline: {backoff: {preset: grpc, max_retries: off}}\n").policy().max_retries is None
    assert with_section("pipeline: {backoff: {preset: grpc}}\n").policy().max_retries == 3


def test_nodes_are_what_a_fault_can_target() -> None:
    scenario = Scenario(name="n", arrivals=[Burst(events=1)], workers=Workers(count=2))
    named = ("worker-1", "worker-2", "beat", "api", "gateway", "redis", "handler", "database")
    assert scenario.nodes() == (*named, "workers", "*")


def test_the_second_beat_is_a_node_while_a_fault_runs_one() -> None:
    assert "beat-2" in with_section("faults: [{kind: beat_doubled, at: 1, for: 2}]\n").nodes()


@pytest.mark.parametrize(
    ("faults", "quiet_after_s"),
    [
        ("[]", 0.0),
        ("[{kind: outage, at: 5s, for: 10s}]", 15.0),
        ("[{kind: worker_death, target: worker-1, at: 5s, restart_after: 3s}]", 8.0),
        ("[{kind: worker_death, target: workers, rate: 1/s, until: 30s, restart_after: off}]", 30.0),
        ("[{kind: worker_death, target: workers, rate: 1/s}]", 600.0),
        ("[{kind: worker_pause, target: worker-1, edge: after_claim, for: 90s}]", 0.0),
        ("[{kind: outage, at: 5s, for: 9h}]", 600.0),
    ],
)
def test_a_run_is_quiet_when_its_last_fault_is_over(faults: str, quiet_after_s: float) -> None:
    assert with_section(f"faults: {faults}\n").quiet_after_s == quiet_after_s


def test_every_fault_says_itself_in_a_line_and_has_a_colour_of_its_own() -> None:
    from matplotlib.colors import is_color_like

    from tem_sim.scenario.vocabulary import models_in

    kinds = models_in(Scenario.model_fields["faults"].annotation)
    shades = [kind.shade for kind in kinds]  # type: ignore[attr-defined]
    assert len(set(shades)) == len(kinds)
    assert all(is_color_like(shade) for shade in shades)
    assert Outage(at_s=5, for_s=10).describe() == "the downstream is away from 5 s for 10 s"
    assert WorkerDeath(target="worker-1", at_s=3).describe() == "worker-1 killed at 3 s, back after 5 s"


def test_a_jitter_narrower_than_the_tick_is_warned_of_with_the_numbers() -> None:
    narrow = "pipeline: {backoff: {jitter: {kind: additive, width: 2s}}}\nbeat: {retry_every: 10s}\n"
    (warning,) = with_section(narrow).warnings()
    assert "2 s wide" in warning
    assert "every 10 s" in warning
    assert with_section("pipeline: {backoff: {jitter: full}}\n").warnings() == ()
    assert with_section("pipeline: {backoff: {jitter: none}}\n").warnings() == ()


def test_calls_that_outlive_their_lease_are_warned_of() -> None:
    slow = "pipeline: {lease: 10s}\nhandler: {service_time: {kind: exponential, mean: 3s}}\n"
    (warning,) = with_section(slow).warnings()
    assert "the lease is 10 s" in warning
    assert with_section(slow.replace("3s", "300ms")).warnings() == ()
    assert with_section(slow.replace("lease: 10s", "lease: off")).warnings() == ()


def test_a_crash_budget_that_a_neighbour_can_spend_is_warned_of() -> None:
    killer = (
        "events: {kinds: {normal: 1, killer: 1}}\nhandler: {kinds: {killer: {effect: kill}}}\n"
        "pipeline: {crash_budget: 1}\n"
    )
    (warning,) = with_section(killer).warnings()
    assert "crash budget is 1" in warning
    assert with_section(killer.replace("budget: 1", "budget: 2")).warnings() == ()
    assert with_section(killer + "workers: {concurrency: 1}\n").warnings() == ()


def test_settings_about_statements_are_warned_of_where_a_transaction_is_one_instant() -> None:
    store = (
        "store: {isolation: snapshot, statement_latency: 3ms, commit_latency: 3ms, connect_latency: 3ms, "
        "nodes: {beat: {commit_latency: 9ms}}, pool: {size: 2}, lock_timeout: 2s, idle_in_transaction_timeout: 5s%s}\n"
    )
    (warning,) = with_section(store % "").warnings()
    assert warning == (
        "Without effect while a transaction is one instant: store.isolation, store.statement_latency, "
        "store.commit_latency, store.connect_latency, store.nodes, store.pool, store.lock_timeout, "
        "store.idle_in_transaction_timeout; set store.interleave: statement."
    )
    assert with_section(store % ", interleave: statement").warnings() == ()
    assert with_section("store: {latency: 3ms, pool: {size: 15}, watch: true}\n").warnings() == ()


def test_the_schedulers_that_a_fault_adds_may_have_latencies_of_their_own() -> None:
    nodes = "store: {interleave: statement, nodes: {beat-2: {commit_latency: 9ms}}}\n"
    doubled = "faults: [{kind: beat_doubled, at: 1s, for: 5s}]\n"
    assert list(with_section(nodes + doubled).store.nodes) == ["beat-2"]


def test_replayed_arrivals_beyond_the_horizon_are_warned_of() -> None:
    replayed = Scenario.model_validate(
        {"scenario": "x", "horizon": "10m", "arrivals": {"kind": "replay", "times": [3, 1, 2000]}}
    )
    assert replayed.warnings() == ("1 of 3 replayed arrivals come after the horizon (600 s) and are left out.",)


def test_a_scenario_survives_pickling() -> None:
    assert pickle.loads(pickle.dumps(SMALL)) == SMALL


def test_an_override_of_a_scenario_in_memory_changes_that_setting_only() -> None:
    changed = overridden(SMALL, ["pipeline.backoff.base=1s"])
    assert changed == SMALL.model_copy(update={"pipeline": Pipeline(backoff=ExponentialBackoff(base_s=1.0))})


def test_importing_the_models_and_the_loader_stays_cheap() -> None:
    code = (
        "import sys, tem_sim.scenario.loader, tem_sim.scenario.schema\n"
        "print([m for m in ('numpy', 'pandas', 'scipy', 'sqlalchemy', 'simpy') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


# --- the resolved form

durations = st.one_of(st.integers(1, 10**6), st.floats(1e-6, 1e6))
off_or = st.sampled_from(["off"])
distributions = st.one_of(
    durations,
    st.fixed_dictionaries({"kind": st.just("exponential"), "mean": durations}),
    st.fixed_dictionaries({"kind": st.just("lognormal"), "mean": durations, "cv": st.floats(0.01, 10)}),
    st.fixed_dictionaries({"kind": st.just("empirical"), "values": st.lists(durations, min_size=1, max_size=4)}),
)
arrivals = st.one_of(
    st.fixed_dictionaries({"kind": st.just("burst"), "events": st.integers(1, 100)}),
    st.fixed_dictionaries({"kind": st.just("poisson"), "rate": st.sampled_from(["2/s", "0.5/s", "7/m", 0.25])}),
    st.fixed_dictionaries({"kind": st.just("replay"), "times": st.lists(st.floats(0, 60), min_size=1, max_size=4)}),
)
backoffs = st.one_of(
    st.fixed_dictionaries(
        {"growth": st.sampled_from(["fixed", "exponential", "fibonacci"]), "base": st.floats(0.1, 5)},
        optional={
            "jitter": st.sampled_from(["none", "full", "equal", "decorrelated", {"kind": "additive", "width": "2s"}]),
            "cap": st.one_of(off_or, st.floats(5, 100)),
            "max_retries": st.one_of(off_or, st.integers(0, 9)),
            "budget": st.one_of(off_or, durations),
        },
    ),
    st.fixed_dictionaries(
        {"preset": st.sampled_from(sorted(PRESETS))},
        optional={"max_retries": st.one_of(off_or, st.integers(0, 9)), "budget": st.one_of(off_or, durations)},
    ),
)
pipelines = st.fixed_dictionaries(
    {},
    optional={
        "backoff": backoffs,
        "lease": st.one_of(off_or, durations),
        "requeue_limit": st.one_of(off_or, st.integers(1, 999)),
        "write_guard": st.sampled_from(["stale", "refresh", "row_lock", "version", "fenced"]),
        "outbox": st.booleans(),
    },
)
faults = st.one_of(
    st.fixed_dictionaries({"kind": st.just("outage"), "at": st.floats(0, 500), "for": durations}),
    st.fixed_dictionaries(
        {"kind": st.just("worker_death"), "target": st.sampled_from(["worker-1", "workers", "*", "beat"])},
        optional={"restart_after": st.one_of(off_or, durations)},
    ).map(lambda fault: {**fault, "rate": "1/m"}),
    st.fixed_dictionaries(
        {"kind": st.just("clock_skew"), "target": st.just("api"), "at": st.just(0), "for": durations},
        optional={"skew": st.floats(-100, 100), "drift": st.floats(-0.1, 0.1)},
    ),
)
scenarios = st.fixed_dictionaries(
    {
        "scenario": st.text(min_size=1, max_size=9),
        "arrivals": st.one_of(arrivals, st.lists(arrivals, min_size=1, max_size=3)),
    },
    optional={
        "about": st.text(max_size=9),
        "seed": st.integers(0, 2**60),
        "pipeline": pipelines,
        "handler": st.fixed_dictionaries({}, optional={"service_time": distributions, "fail_first": st.integers(0, 3)}),
        "users": st.fixed_dictionaries({}, optional={"session": distributions, "latency": distributions}),
        "faults": st.lists(faults, max_size=3),
    },
)


ANY_LIMIT = {"scenario": "any limit", "arrivals": {"kind": "burst", "events": 1}}


@pytest.mark.parametrize("preset", sorted(PRESETS))
@pytest.mark.parametrize(("max_retries", "limit"), [("off", None), (0, 0), (1, 1)])
def test_every_preset_takes_any_number_of_retries_and_off_for_no_limit(
    preset: str, max_retries: str | int, limit: int | None
) -> None:
    backoff = {"preset": preset, "max_retries": max_retries}
    scenario = Scenario.model_validate({**ANY_LIMIT, "pipeline": {"backoff": backoff}})
    assert scenario.policy().max_retries == limit
    assert Scenario.model_validate(scenario.resolved()) == scenario
    assert loads(json.dumps(scenario.resolved())) == scenario


@settings(max_examples=60, deadline=None)
@example({**ANY_LIMIT, "pipeline": {"backoff": {"preset": "rq", "max_retries": "off"}}})
@given(scenarios)
def test_the_resolved_form_is_plain_json_and_loads_again_to_an_equal_scenario(data: dict[str, object]) -> None:
    scenario = Scenario.model_validate(data)
    text = json.dumps(scenario.resolved(), allow_nan=False)
    again = Scenario.model_validate(json.loads(text))
    assert again == scenario
    assert again.resolved() == scenario.resolved()
    assert again.policy() == scenario.policy()


@settings(max_examples=60, deadline=None)
@given(scenarios)
def test_the_resolved_form_is_also_a_valid_file(data: dict[str, object]) -> None:
    scenario = Scenario.model_validate(data)
    assert loads(json.dumps(scenario.resolved())) == scenario

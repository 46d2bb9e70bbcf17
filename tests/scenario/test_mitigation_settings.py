"""The mitigations in a scenario file: off unless asked for, and warned of where they do nothing or harm."""

import pytest
from scenario_text import MINIMAL, with_section

from tem_sim.pipeline.breaker import CircuitBreaker
from tem_sim.pipeline.retry_budget import RetryBudget
from tem_sim.pipeline.settings import ClaimOrder, Settings
from tem_sim.pipeline.shedding import Shedding
from tem_sim.scenario.loader import loads

DEADLINE = "pipeline: {deadline: 5s, backoff: {growth: fixed, base: 2s, jitter: full}}\n"


def test_a_deadline_is_a_setting_of_the_pipeline() -> None:
    assert with_section(DEADLINE).settings().deadline_s == 5.0
    assert with_section(DEADLINE).warnings() == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("jitter: full", "jitter: none"), ()),
        (("base: 2s, jitter: full", "base: 5s"), ("no event is ever tried again",)),
        (("base: 2s, jitter: full", "base: 5s, max_retries: 0"), ()),
        (("jitter: full", "budget: 4s"), ()),
        (("jitter: full", "budget: 6s"), ("retries are booked that will not be handed",)),
    ],
)
def test_a_deadline_that_the_policy_runs_into_is_warned_of(change: tuple[str, str], said: tuple[str, ...]) -> None:
    warnings = [w for w in with_section(DEADLINE.replace(*change)).warnings() if "(pipeline.deadline)" in w]
    assert len(warnings) == len(said)
    assert all(words in warning for words, warning in zip(said, warnings, strict=True))


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("pipeline: {concurrency_limit: 15}", []),
        ("pipeline: {concurrency_limit: 16}", ["there are 16 slots"]),
        ("pipeline: {concurrency_limit: 3, lease: off}", ["keeps its place"]),
        ("pipeline: {concurrency_limit: 3, sweep_after: off}", ["gets lost with the worker"]),
        ("pipeline: {breaker: {}}", []),
        ("pipeline: {breaker: {}, sweep_after: off}", ["nobody does"]),
        ("pipeline: {breaker: {cool_down: 9s}, deadline: 20s}", []),
        ("pipeline: {breaker: {cool_down: 20s}, deadline: 20s}", ["expires while it is open"]),
        ("pipeline: {retry_budget: {}}", []),
        ("beat: {retry_floor: 100ms}", []),
        ("beat: {retry_floor: 1s}", ["the period 1 s"]),
        ("beat: {retry_floor: 100ms}\npipeline: {requeue_limit: off}", ["which is off"]),
    ],
)
def test_a_mitigation_that_does_nothing_or_stands_on_nothing_is_warned_of(section: str, said: list[str]) -> None:
    warnings = with_section(section + "\n").warnings()
    assert len(warnings) == len(said)
    assert all(words in warning for words, warning in zip(said, warnings, strict=True))


def test_a_budget_that_could_not_pay_for_one_outage_within_the_run_is_warned_of() -> None:
    storm = "arrivals: {kind: constant, rate: 100/s}\nfaults: [{kind: outage, at: 0s, for: 60s}]\n"
    small = "pipeline: {retry_budget: {ratio: 0, floor: %s, burst: 1}}\n"
    text = MINIMAL.replace(MINIMAL[MINIMAL.index("arrivals") :], storm)
    (warning,) = loads(text + small % "9/s").warnings()
    assert "About 6000 events meet an outage" in warning
    assert loads(text + small % "11/s").warnings() == ()


def test_every_mitigation_becomes_a_setting_of_the_pipeline_and_off_is_none() -> None:
    on = with_section(
        "pipeline:\n"
        "  claim_order: new_first\n"
        "  concurrency_limit: 3\n"
        "  retry_budget: {ratio: 0.2, floor: 30/m, burst: 7}\n"
        "  shedding: {above: 9, retry_after: 250ms}\n"
        "  breaker: {failure_rate: 0.25, minimum_calls: 3, window: 1m, cool_down: 2s, probes: 1}\n"
    ).settings()
    assert (on.claim_order, on.concurrency_limit) == (ClaimOrder.NEW_FIRST, 3)
    assert on.retry_budget == RetryBudget(ratio=0.2, floor_per_s=0.5, burst=7)
    assert on.shedding == Shedding(above=9, retry_after_s=0.25)
    assert on.breaker == CircuitBreaker(failure_rate=0.25, minimum_calls=3, window_s=60.0, cool_down_s=2.0, probes=1)
    off = with_section("pipeline: {concurrency_limit: off, retry_budget: off, shedding: off, breaker: off}\n")
    assert off.settings() == Settings()


def test_an_empty_mapping_is_the_mitigation_with_its_own_defaults() -> None:
    on = with_section("pipeline: {retry_budget: {}, shedding: {}, breaker: {}}\n").settings()
    assert (on.retry_budget, on.shedding, on.breaker) == (RetryBudget(), Shedding(), CircuitBreaker())

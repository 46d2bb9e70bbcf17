"""The mitigations in a scenario file: off unless asked for, and warned of where they do nothing or harm."""

import pytest
from scenario_text import with_section

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
        ("beat: {retry_floor: 100ms}", []),
        ("beat: {retry_floor: 1s}", ["the period 1 s"]),
        ("beat: {retry_floor: 100ms}\npipeline: {requeue_limit: off}", ["which is off"]),
    ],
)
def test_a_mitigation_that_does_nothing_or_stands_on_nothing_is_warned_of(section: str, said: list[str]) -> None:
    warnings = with_section(section + "\n").warnings()
    assert len(warnings) == len(said)
    assert all(words in warning for words, warning in zip(said, warnings, strict=True))

"""`--set path=value`."""

from pathlib import Path

import pytest
from scenario_text import MINIMAL, headlines_of

from tem_sim.scenario.loader import load, loads
from tem_sim.scenario.models import Scenario

VALID = Path(__file__).parent / "valid.yaml"


def setting(*overrides: str) -> Scenario:
    return load(VALID, overrides)


def test_a_value_is_read_as_yaml() -> None:
    scenario = setting(
        "horizon=2m", "pipeline.outbox=false", "events.kinds={normal: 1, poison: 2}", "pipeline.lease=off"
    )
    assert scenario.horizon_s == 120.0
    assert scenario.pipeline.outbox is False
    assert scenario.events.kinds == {"normal": 1.0, "poison": 2.0}
    assert scenario.pipeline.lease_s is None


@pytest.mark.parametrize("path", ["faults[0].for", "faults.0.for"])
def test_an_item_is_named_by_its_number_in_either_way(path: str) -> None:
    assert setting(f"{path}=30s").faults[0].for_s == 30.0


def test_a_variable_can_be_set() -> None:
    assert setting("vars.base=9s").policy().support(1)[0] == 9.0


def test_sections_that_the_file_leaves_out_are_made() -> None:
    assert loads(MINIMAL, ["beat.retry_every=10s"]).beat.retry_every_s == 10.0


def test_of_two_overrides_the_last_one_counts() -> None:
    assert setting("seed=3", "seed=4").seed == 4


@pytest.mark.parametrize(
    ("override", "rest"),
    [
        ("pipeline.bakoff.base=1s", "pipeline.bakoff: unknown key"),
        ("pipeline.lease=-1s", "pipeline.lease: must be > 0"),
        ("pipeline.outbox=off", "pipeline.outbox: must be true or false; write true to switch it on, false"),
        (
            "pipeline.backoff.jitter=additive",
            "pipeline.backoff.jitter.width: is required; write {kind: additive, width: ...} (got additive)",
        ),
        ("pipeline.lease", "must be path=value"),
        ("=3", "must be path=value"),
        ("a..b=3", "must be path=value"),
        ("seed=", "seed: is empty"),
        ("seed=~", "seed: is empty"),
        ("seed=[1", "seed: the value is not YAML"),
        ("faults[99].for=3s", "faults[99]: there is no such item; faults has 10, counted from 0"),
        ("faults.for=3s", "faults.for: faults is a list; say which item, such as faults[0].for"),
        ("workers[0]=3", "workers[0]: workers is no list"),
        ("seed.x=3", "seed.x: seed is the single value 7"),
        ("vars.other=3", "vars.other: is never used"),
        ("faults[0].at=9h", "faults[0].at: must be before the horizon (300 s)"),
    ],
)
def test_an_override_that_does_not_fit_is_told_as_it_was_given(override: str, rest: str) -> None:
    headlines = headlines_of(VALID.read_text(), override)
    assert any(line.startswith(f"--set {override}: {rest}") for line in headlines), headlines


def test_mistakes_of_the_file_and_of_overrides_are_told_together() -> None:
    headlines = headlines_of(MINIMAL + "seed: x\n", "horizon=-1")
    assert [line.split(": ")[0] for line in headlines] == ["small.yaml:3:7", "--set horizon=-1"]

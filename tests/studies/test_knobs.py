"""Five settings read off a scenario and set on it again."""

from pathlib import Path

import pytest

from tem_sim.scenario.errors import ScenarioError
from tem_sim.scenario.faults.downstream import Outage
from tem_sim.scenario.loader import load, loads
from tem_sim.scenario.models import Scenario
from tem_sim.studies.knobs import PLAIN_JITTERS, Knobs, expected_events, jitters_of, small_storm

SCENARIOS = sorted((Path(__file__).parents[2] / "scenarios").glob("*.yaml"))


def scenario(more: str = "") -> Scenario:
    return loads(f"scenario: s\narrivals: {{kind: burst, at: 3s, events: 5}}\n{more}")


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_setting_what_was_read_changes_nothing(path: Path) -> None:
    shipped = load(path)
    assert Knobs.of(shipped).on(shipped) == shipped


def test_every_setting_arrives_in_the_scenario() -> None:
    turned = Knobs(base_s=0.5, cap_s=None, jitter="equal", max_retries=None, outage_s=45.0).on(small_storm())
    backoff = turned.pipeline.backoff
    outage = turned.faults[0]
    assert isinstance(outage, Outage)
    assert (backoff.base_s, backoff.cap_s, backoff.jitter.kind, backoff.max_retries) == (0.5, None, "equal", None)
    assert (outage.at_s, outage.for_s) == (0.0, 45.0)


def test_the_growth_and_the_settings_that_are_not_turned_stay() -> None:
    shaped = scenario("pipeline: {backoff: {growth: linear, base: 2s, step: 3s, budget: 90s}}")
    backoff = Knobs.of(shaped).on(shaped).pipeline.backoff
    assert (backoff.growth, backoff.step_s, backoff.budget_s) == ("linear", 3.0, 90.0)


def test_a_jitter_with_settings_of_its_own_keeps_them_and_is_one_of_the_choices() -> None:
    wide = scenario("pipeline: {backoff: {jitter: {kind: additive, width: 7s}}}")
    assert Knobs.of(wide).on(wide).pipeline.backoff.jitter.width_s == 7.0
    assert jitters_of(wide) == (*PLAIN_JITTERS, Knobs.of(wide).jitter)
    assert jitters_of(small_storm()) == PLAIN_JITTERS


def test_a_policy_without_a_base_is_replaced_by_an_exponential_one() -> None:
    preset = scenario("pipeline: {backoff: {preset: celery-autoretry, max_retries: 7}}")
    knobs = Knobs.of(preset)
    assert knobs.max_retries == 7
    assert knobs.on(preset).pipeline.backoff.growth == "exponential"


def test_an_outage_of_no_length_is_none_and_a_first_one_begins_with_the_load() -> None:
    quiet = scenario()
    knobs = Knobs.of(quiet)
    assert knobs.outage_s == 0.0
    assert knobs.on(quiet).faults == ()
    begun = Knobs(*(*_settings(knobs)[:4], 9.0)).on(quiet).faults
    assert [(fault.kind, fault.at_s, fault.for_s) for fault in begun] == [("outage", 3.0, 9.0)]


def test_other_faults_keep_their_places() -> None:
    faults = "[{kind: beat_stopped, at: 1s, for: 2s}, {kind: outage, at: 0s, for: 5s}, {kind: outage, at: 9s, for: 1s}]"
    troubled = scenario(f"faults: {faults}")
    turned = Knobs(*(*_settings(Knobs.of(troubled))[:4], 6.0)).on(troubled).faults
    assert [(fault.kind, fault.for_s) for fault in turned] == [("beat_stopped", 2.0), ("outage", 6.0), ("outage", 1.0)]


def test_settings_that_do_not_go_together_are_a_scenario_error() -> None:
    with pytest.raises(ScenarioError, match=r"pipeline\.backoff\.cap: must be at least the first wait \(5 s\)"):
        Knobs(base_s=5.0, cap_s=1.0, jitter="full", max_retries=3, outage_s=0.0).on(small_storm())


def test_events_are_counted_before_they_are_made() -> None:
    assert expected_events(small_storm()) == 500


def _settings(knobs: Knobs) -> tuple[float | str | None, ...]:
    return knobs.base_s, knobs.cap_s, knobs.jitter, knobs.max_retries, knobs.outage_s

"""The handler's decisions: pure functions of kind, attempt and luck."""

import pytest

from tem_sim.scenario.distributions import Constant
from tem_sim.scenario.handler import Decision, HandlerModel, KindModel


def handler(**settings: object) -> HandlerModel:
    return HandlerModel.model_validate({"service_time": "20ms", **settings})


def test_an_attempt_succeeds_after_its_service_time() -> None:
    assert handler().decide("normal", 1, 0.5, 0.5) == Decision(0.02)


def test_luck_decides_at_the_failure_rate() -> None:
    flaky = handler(failure_rate=0.3)
    assert flaky.decide("normal", 1, 0.5, 0.29).error == "failed by luck"
    assert flaky.decide("normal", 1, 0.5, 0.3).error is None


def test_a_failure_rate_of_one_spares_nobody() -> None:
    assert handler(failure_rate=1.0).decide("normal", 1, 0.5, 1 - 2**-53).error is not None


def test_the_first_attempts_fail_and_the_next_does_not() -> None:
    decisions = [handler(fail_first=3).decide("normal", n, 0.5, 0.5).error for n in (1, 2, 3, 4)]
    assert [error is None for error in decisions] == [False, False, False, True]


def test_poison_fails_for_ever_and_a_killer_kills() -> None:
    model = handler(kinds={"poison": {"effect": "fail"}, "killer": {"effect": "kill"}})
    assert model.decide("poison", 99, 0.5, 0.99).error == "this event always fails"
    assert model.decide("killer", 1, 0.5, 0.5).kills
    assert model.decide("normal", 1, 0.5, 0.5).error is None


def test_a_kind_may_differ_in_time_and_luck_and_inherits_the_rest() -> None:
    model = handler(failure_rate=0.5, kinds={"slow": {"service_time": "2s"}, "safe": {"failure_rate": 0}})
    assert model.decide("slow", 1, 0.5, 0.4) == Decision(2.0, "failed by luck")
    assert model.decide("safe", 1, 0.5, 0.4) == Decision(0.02)


@pytest.mark.parametrize("luck", [0.0, 0.99])
def test_service_time_and_outcome_have_separate_luck(luck: float) -> None:
    model = handler(service_time={"kind": "exponential", "mean": 1}, failure_rate=0.5)
    assert model.decide("normal", 1, 0.3, luck).service_s == model.decide("normal", 1, 0.3, 1 - luck).service_s


def test_python_may_write_models_instead_of_data() -> None:
    model = HandlerModel(service_time=Constant(value_s=1.0), kinds={"p": KindModel(effect="fail")})
    assert model.decide("p", 1, 0.5, 0.5).service_s == 1.0

"""Settings that would divide by zero or never end are refused where they are made."""

import math

import pytest

from tem_sim.pipeline.settings import Settings


@pytest.mark.parametrize("name", ["batch_size", "settle_every", "requeue_limit", "relay_limit"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True])
def test_a_limit_is_a_whole_number_of_at_least_one(name, value):
    with pytest.raises(ValueError, match=rf"settings\.{name}: must be a whole number >= 1, got {value!r}"):
        Settings(**{name: value})


@pytest.mark.parametrize("name", ["lease_s", "sweep_after_s", "deadline_s"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_an_interval_is_a_positive_number_of_seconds(name, value):
    with pytest.raises(ValueError, match=rf"settings\.{name}: "):
        Settings(**{name: value})


def test_a_negative_crash_budget_is_refused():
    with pytest.raises(ValueError, match=r"settings\.crash_budget: must be a whole number >= 0"):
        Settings(crash_budget=-1)


@pytest.mark.parametrize("name", ["lease_s", "sweep_after_s", "requeue_limit", "crash_budget"])
def test_none_switches_a_protection_off(name):
    assert getattr(Settings(**{name: None}), name) is None

"""What can be hunted: checks, metrics of harm, objectives; and what is said of anything else."""

import pytest
from hunt_scenarios import NO_OUTBOX, scenario

from tem_sim.checks.registry import CHECKS
from tem_sim.hunt.goal import GoalError, broken_by, goal_of
from tem_sim.hunt.tries import attempt


@pytest.mark.parametrize(
    ("objective", "broken"),
    [
        ("amplification>3", "amplification value<=3"),
        ("amplification >= 3", "amplification value<3"),
        ("latency_s p(95)>1m", "latency_s p(95)<=60"),
        ("drain_s: max > 90s", "drain_s max<=90"),
        ("processed<10", "processed value>=10"),
        ("lost_events!=0", "lost_events value==0"),
    ],
)
def test_an_objective_is_a_threshold_to_break(objective: str, broken: str) -> None:
    threshold = broken_by(objective)
    assert f"{threshold.metric} {threshold}" == broken


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        ("amplification", "a comparison and a bound"),
        ("", "a comparison and a bound"),
        ("amplfication>3", "did you mean amplification?"),
        ("amplification>x", "finite number"),
        ("amplification>>3", "must compare with"),
        ("latency_s>3", "latency_s is a distribution and has no value"),
        ("drain_s>5x", "duration"),
    ],
)
def test_a_wrong_objective_is_told(objective: str, said: str) -> None:
    with pytest.raises(GoalError, match=said.replace("(", r"\(").replace("?", r"\?")):
        broken_by(objective)


def test_all_checks_are_hunted_but_those_that_are_meant_to_be_broken() -> None:
    meant = scenario(expect={"violations": ["retry_count"]})
    assert set(goal_of(meant).checks) == set(CHECKS) - {"retry_count"}


def test_a_metric_of_harm_is_hunted_like_a_check() -> None:
    where = scenario(
        faults=[{"kind": "gateway_disconnect", "at": "0s", "for": "20s"}],
        arrivals={"kind": "burst", "at": "2s", "events": 1},
        **NO_OUTBOX,
    )
    goal = goal_of(where, checks=["lost_notifications"])
    assert attempt(goal.prepared(where), goal).seen.violation.name == "lost_notifications count==0"


def test_an_unknown_check_is_told_with_what_it_may_mean() -> None:
    with pytest.raises(GoalError, match="did you mean notifications"):
        goal_of(scenario(), checks=["notification"])


def test_a_scenarios_own_thresholds_are_hunted_when_asked_for() -> None:
    where = scenario(thresholds={"amplification": "max<2", "events": {"threshold": "max<5", "strict": False}})
    assert [str(one) for one in goal_of(where, thresholds=True).thresholds] == ["max<2"]
    assert goal_of(where).thresholds == ()


def test_what_is_nearer_to_an_objective_scores_more() -> None:
    short, long = (scenario(faults=[{"kind": "outage", "at": "0s", "for": for_s}]) for for_s in ("2s", "6s"))
    goal = goal_of(short, objective="attempts>1000")
    assert attempt(goal.prepared(short), goal).seen.score < attempt(goal.prepared(long), goal).seen.score

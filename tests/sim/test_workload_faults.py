"""Each fault of the load and of single calls leaves its mark in the frames, and moves nobody else's luck."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pandas as pd
import pytest
from sim_worlds import all_done, fault_row, run, scenario

from tem_sim.analysis.delivery import duplicate_effects
from tem_sim.analysis.metrics import metrics
from tem_sim.checks.registry import run_checks
from tem_sim.frames import Run
from tem_sim.pipeline.lifecycle import Submission
from tem_sim.scenario.errors import ScenarioError
from tem_sim.scenario.loader import loads
from tem_sim.sim.world import World

WINDOW = {"at": "8s", "for": "10s"}


def struck(kind: str, **keys: Any) -> Run:
    """Simulate 30 s of events with a fault from 8 s to 18 s."""
    sections = {name: keys.pop(name) for name in ("pipeline", "api", "handler", "events", "users") if name in keys}
    return run(faults=[{"kind": kind, **WINDOW, **keys}], **sections)


def sound(of: Run) -> bool:
    return all_done(of) and not [check.name for check in run_checks(of) if check.verdict == "false"]


def begun_in_it(of: Run) -> pd.DataFrame:
    return of.attempts[of.attempts["started_s"].between(8.0, 17.999999)]


def sample(of: Run, name: str) -> float:
    return float(of.samples.loc[of.samples["name"] == name, "value"].iloc[-1])


# --- calls of the downstream


def test_a_flaky_downstream_fails_calls_without_their_effect() -> None:
    done = struck("flaky", probability=0.3)
    assert sound(done)
    failed = done.attempts[done.attempts["error"].astype(str) == "Refused: the downstream is flaky"]
    assert len(failed) == fault_row(done)["landed"] > 20
    assert failed["started_s"].between(8.0, 18.0).all()
    assert failed["effect_s"].isna().all()
    assert len(failed) / len(begun_in_it(done)) == pytest.approx(0.3, abs=0.1)


def test_it_fails_the_same_calls_under_every_policy() -> None:
    quick, slow = (struck("flaky", pipeline={"backoff": {"base": base, "jitter": "none"}}) for base in ("1s", "4s"))

    def first_failures(of: Run) -> set[int]:
        failed = of.attempts[(of.attempts["attempt_no"] == 1) & (of.attempts["outcome"] == "error")]
        return set(failed["event_id"])

    assert first_failures(quick) == first_failures(slow) != set()


def test_a_slow_downstream_takes_its_time_and_leaves_the_outcome_alone() -> None:
    calm, done = run(), struck("downstream_slow", factor=5, extra="100ms")
    assert sound(done)
    both = begun_in_it(done).merge(calm.attempts, on=["event_id", "attempt_no"], suffixes=("", "_calm"))
    took_s, calm_s = (both[f"finished_s{of}"] - both[f"started_s{of}"] for of in ("", "_calm"))
    assert (took_s - (5 * calm_s + 0.1)).abs().max() < 2e-5
    assert fault_row(done)["landed"] == len(both) > 50


def test_calls_that_outlive_their_lease_are_handled_twice_and_fenced() -> None:
    done = struck(
        "downstream_slow", factor=1, extra="20s", probability=0.1, pipeline={"lease": "5s", "sweep_after": "5s"}
    )
    assert sound(done)
    superseded = done.attempts[done.attempts["outcome"] == "superseded"]
    assert len(superseded) > 0
    assert duplicate_effects(done) >= len(superseded)


def test_a_call_that_fails_after_its_effect_has_it_again_at_the_retry() -> None:
    done = struck("partial_effect", probability=0.5)
    assert sound(done)
    half_done = done.attempts[done.attempts["error"].astype(str) == "Refused: failed after its effect"]
    assert len(half_done) == fault_row(done)["landed"] > 20
    assert (half_done["effect_s"] - half_done["finished_s"]).abs().max() < 2e-6
    # Each event ends well in the end, with one effect more for each call that was half done.
    assert duplicate_effects(done) == metrics(done)["duplicate_effects"] == len(half_done)


def test_calls_that_fail_anyway_and_events_that_kill_have_no_effect_to_leave_behind() -> None:
    kinds = {"poison": {"effect": "fail"}, "killer": {"effect": "kill"}}
    done = struck(
        "partial_effect",
        probability=1,
        events={"kinds": {"normal": 18, "poison": 1, "killer": 1}},
        handler={"kinds": kinds},
        pipeline={"lease": "5s"},
    )
    special = done.events.loc[done.events["kind"] != "normal", "event_id"]
    assert done.attempts.loc[done.attempts["event_id"].isin(special), "effect_s"].isna().all()
    late = done.attempts["error"].astype(str) == "Refused: failed after its effect"
    assert late.sum() > 20
    assert not done.attempts.loc[late, "event_id"].isin(special).any()


# --- what arrives


def test_a_lost_answer_is_asked_for_again_and_creates_nothing_twice() -> None:
    calm, done = run(), struck("answers_lost", probability=0.5, api={"retries": 50})
    assert sound(done)
    assert len(done.events) == len(calm.events)
    pd.testing.assert_series_equal(done.events["submitted_s"], calm.events["submitted_s"])
    assert sample(done, "submissions_repeated") == fault_row(done)["landed"] > 20
    assert sample(calm, "submissions_repeated") == 0


def test_a_client_that_never_hears_gives_up_and_its_event_is_handled_all_the_same() -> None:
    done = struck("answers_lost", api={"retries": 2})
    assert sound(done)
    in_it = done.events["submitted_s"].between(8.0, 15.0)
    # Sent three times in vain.
    assert fault_row(done)["landed"] > 2.5 * in_it.sum()
    assert sample(done, "submissions_rejected") == 0
    assert sample(done, "submissions_accepted") == sample(done, "submissions_offered")


def test_a_hot_user_gets_most_of_what_arrives_and_nobody_else_another_kind() -> None:
    calm, done = run(), struck("hot_key", share=0.8)
    assert sound(done)
    in_it = done.events["submitted_s"].between(8.01, 17.99)
    of_first = done.events["user_id"] == 1
    assert of_first[in_it].mean() == pytest.approx(0.8, abs=0.1)
    assert of_first[~in_it].mean() < 0.1
    assert fault_row(done)["landed"] == pytest.approx(of_first[in_it].sum(), abs=3)
    others = ~of_first
    assert (done.events.loc[others, "user_id"] == calm.events.loc[others, "user_id"]).all()
    pd.testing.assert_frame_equal(done.transitions, calm.transitions)


def test_a_hot_kind_that_is_slow_keeps_the_workers_busy_and_others_waiting() -> None:
    kinds = {"events": {"kinds": {"normal": 9, "slow": 1}}, "handler": {"kinds": {"slow": {"service_time": "700ms"}}}}
    calm, done = run(**kinds), struck("hot_key", share=0.9, event_kind="slow", **kinds)
    assert sound(done)
    in_it = done.events["submitted_s"].between(8.01, 17.99)
    assert (done.events.loc[in_it, "kind"] == "slow").mean() > 0.85
    assert (done.events.loc[~in_it, "kind"] == "slow").mean() < 0.2

    def wait_s(of: Run) -> float:
        normal = of.events["kind"] == "normal"
        return float((of.events["finished_s"] - of.events["submitted_s"])[in_it & normal].mean())

    assert wait_s(done) > 5 * wait_s(calm)


def test_a_repeated_request_is_the_same_request_when_the_fault_is_over() -> None:
    """An event's user and payload go by when it arrived; another answer to the same key would be a conflict."""
    lost = {"kind": "answers_lost", "at": "8s", "for": "12s", "probability": 0.7}
    hot, huge = ({"kind": kind, **WINDOW, "share": 0.5} for kind in ("hot_key", "huge_events"))
    made = World(scenario(faults=[lost, hot, huge]), 1, "sqlite://")
    sent: defaultdict[int, list[Submission]] = defaultdict(list)
    describe = made.api._submission

    def noted(number: int) -> Submission:
        sent[number].append(describe(number))
        return sent[number][-1]

    made.api._submission = noted  # type: ignore[method-assign]
    made.run()
    made.close()
    assert sum(len(times) > 1 for times in sent.values()) > 50
    assert all(one == times[0] for times in sent.values() for one in times)
    assert len({str(times[0].payload) for times in sent.values()}) == 2


def test_huge_events_are_huge_and_slow_for_as_long_as_they_live() -> None:
    calm = run(handler={"fail_first": 1})
    done = struck("huge_events", share=0.2, payload_bytes=5000, slowdown=6, handler={"fail_first": 1})
    assert sound(done)
    both = done.attempts.merge(calm.attempts, on=["event_id", "attempt_no"], suffixes=("", "_calm"))
    took_s, calm_s = (both[f"finished_s{of}"] - both[f"started_s{of}"] for of in ("", "_calm"))
    slow = (took_s - 6 * calm_s).abs() < 2e-5
    assert (slow | ((took_s - calm_s).abs() < 2e-5)).all()
    # The first attempt and the retry of each.
    assert slow.sum() == 2 * fault_row(done)["landed"] > 10
    born_s = done.events.set_index("event_id")["submitted_s"][both["event_id"][slow]]
    assert born_s.between(8.0, 18.01).all()


def test_the_kind_that_is_hot_must_be_one_that_arrives() -> None:
    text = (
        "scenario: small\narrivals: {kind: burst, events: 1}\n"
        "faults:\n  - {kind: hot_key, at: 1s, for: 2s, event_kind: slwo}\nevents: {kinds: {slow: 1}}\n"
    )
    with pytest.raises(ScenarioError, match=r"<text>:4:\d+.*must be a kind of events.kinds \(slow\)"):
        loads(text)

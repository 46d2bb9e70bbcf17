"""Each mitigation in a whole world: it does what its name says, and breaks nothing that the checks look at."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sim_worlds import burst, run

from tem_sim.analysis.metrics import metrics
from tem_sim.checks.registry import run_checks
from tem_sim.frames import Run

# 300 events fail in an outage of 6 s, and come back to a downstream that they can overload.
STORM: dict[str, Any] = {
    "arrivals": [burst(300, at="1s"), {"kind": "poisson", "rate": "20/s", "from": "2s", "until": "20s"}],
    "pipeline": {
        "backoff": {"growth": "exponential", "base": "1s", "cap": "8s", "jitter": "full", "max_retries": 12},
        "batch_size": 5,
        "settle_every": 5,
        "requeue_limit": 100,
    },
    "workers": {"count": 4, "concurrency": 4},
    "handler": {"service_time": "40ms", "capacity": {"servers": 4, "queue": 20, "timeout": "500ms"}},
    "faults": [{"kind": "outage", "at": "0s", "for": "6s"}],
}


def storm(beat: dict[str, Any] | None = None, **pipeline: Any) -> Run:
    """Run the storm with these settings of the pipeline."""
    more = {} if beat is None else {"beat": beat}
    return run(**{**STORM, "pipeline": {**STORM["pipeline"], **pipeline}, **more})


@pytest.fixture(scope="module")
def plain() -> Run:
    return storm()


def broken(of: Run) -> set[str]:
    """Return the checks that a run breaks."""
    return {answer.name for answer in run_checks(of) if answer.verdict == "false"}


def most_calls_at_once(of: Run) -> int:
    """Return the largest number of handler calls under way at any time; one that ends makes room first."""
    calls = of.attempts.dropna(subset=["started_s", "finished_s"])
    at_s = np.concatenate([calls["finished_s"], calls["started_s"]])
    change = np.repeat([-1, 1], len(calls))
    return int(np.cumsum(change[np.lexsort((change, at_s))]).max())


def test_the_storm_is_one(plain: Run) -> None:
    assert broken(plain) == set()
    assert most_calls_at_once(plain) == 16
    assert (plain.attempts["outcome"] == "error").sum() > 300


def test_a_deadline_ends_what_is_too_old_and_spares_the_downstream(plain: Run) -> None:
    hasty = storm(deadline="8s")
    assert broken(hasty) == set()
    expired = hasty.events[hasty.events["status"] == "EXTINCT"]
    assert len(expired) > 20
    assert (expired["finished_s"] - expired["submitted_s"]).min() >= 8.0
    assert hasty.attempts["started_s"].notna().sum() < plain.attempts["started_s"].notna().sum()


def test_no_more_calls_are_under_way_than_the_concurrency_limit_says_and_no_row_waits_for_the_sweep(plain: Run) -> None:
    few = storm(concurrency_limit=4)
    assert broken(few) == set()
    assert most_calls_at_once(few) == 4
    assert (few.events["status"] == "PROCESSED").all()
    assert few.end_s < plain.end_s + 30


@pytest.mark.parametrize("order", ["new_first", "newest_first"])
def test_new_events_do_not_wait_behind_retries_where_they_go_first(order: str, plain: Run) -> None:
    first = storm(claim_order=order)
    assert broken(first) == set()
    assert (first.events["status"] == "PROCESSED").all()

    def waited_s(of: Run) -> float:
        claims = of.attempts[of.attempts["attempt_no"] == 1].set_index("event_id")["claimed_s"]
        return float((claims - of.events.set_index("event_id")["submitted_s"]).quantile(0.95))

    assert waited_s(first) <= waited_s(plain)


def test_a_scheduler_that_looks_sooner_after_full_ticks_releases_a_backlog_sooner() -> None:
    steady = storm(requeue_limit=20, beat={"retry_every": "2s"})
    quick = storm(requeue_limit=20, beat={"retry_every": "2s", "retry_floor": "250ms"})
    assert broken(steady) == broken(quick) == set()

    def ticks(of: Run) -> Any:
        return of.transitions[of.transitions["cause"] == "retry"].groupby("at_s").size()

    assert ticks(quick).max() == ticks(steady).max() == 20
    assert np.diff(ticks(quick).index).min() < 0.3 < 1.9 < np.diff(ticks(steady).index).min()
    assert quick.end_s < steady.end_s


def test_a_retry_budget_bounds_the_retries_of_any_stretch_of_time(plain: Run) -> None:
    tight = storm(retry_budget={"ratio": 0.2, "floor": "8/s", "burst": 20})
    assert broken(tight) == set()
    assert (tight.events["status"] == "PROCESSED").all()
    tokens = tight.samples.loc[tight.samples["name"] == "retry_tokens", "value"]
    assert 0.0 <= tokens.min() < 15.0
    assert tokens.max() == 20.0
    assert most_over_budget(tight, 0.2, 8.0) <= 20 + 1e-6 < most_over_budget(plain, 0.2, 8.0)
    assert tight.attempts["started_s"].notna().sum() < plain.attempts["started_s"].notna().sum()


def most_over_budget(of: Run, ratio: float, floor_per_s: float) -> float:
    """Return the most retries of any stretch of time, less what first tries and time pay in over it."""
    log = of.transitions
    retries = log[log["cause"] == "retry"]["at_s"].to_numpy()
    firsts = log[(log["cause"] == "claim") & (log["retry_count"] == 0)]["at_s"].to_numpy()
    at_s = np.concatenate([retries, firsts])
    order = np.argsort(at_s, kind="stable")
    owed = np.cumsum(np.repeat([1.0, -ratio], [len(retries), len(firsts)])[order]) - floor_per_s * at_s[order]
    starts = np.minimum.accumulate(np.append(0.0, owed))[:-1]
    return float((owed - starts).max())


def shedding_storm(client_retries: int) -> Run:
    pipeline = {**STORM["pipeline"], "shedding": {"above": 60, "retry_after": "2s"}}
    return run(**{**STORM, "pipeline": pipeline, "api": {"retries": client_retries}})


def test_what_is_shed_is_offered_again_and_what_was_taken_in_is_all_there(plain: Run) -> None:
    """The burst comes in one request, so the poisson arrivals meet a backlog over the bound."""
    shed = shedding_storm(client_retries=2)
    assert broken(shed) == set()
    counts = shed.samples.set_index(shed.samples["name"].astype(str))["value"]
    offered, accepted, rejected = (counts[f"submissions_{what}"] for what in ("offered", "accepted", "rejected"))
    assert counts["submissions_refused"] > rejected > 10
    assert offered == accepted + rejected == len(plain.events)
    assert accepted == len(shed.events)
    assert metrics(shed)["rejected_submissions"] == rejected


def test_clients_that_repeat_for_long_enough_are_all_served() -> None:
    patient = shedding_storm(client_retries=50)
    assert broken(patient) == set()
    counts = patient.samples.set_index(patient.samples["name"].astype(str))["value"]
    assert counts["submissions_rejected"] == 0 < counts["submissions_refused"]
    assert (patient.events["status"] == "PROCESSED").all()


def test_a_breaker_spends_no_retries_on_a_downstream_that_is_away_and_lets_all_through_afterwards() -> None:
    long = {"faults": [{"kind": "outage", "at": "0s", "for": "20s"}], "horizon": "10m"}
    settings = {"minimum_calls": 10, "window": "5s", "cool_down": "2s", "probes": 3}
    plain = run(**{**STORM, **long})
    guarded = run(**{**STORM, **long, "pipeline": {**STORM["pipeline"], "breaker": settings}})
    assert broken(guarded) == set()
    assert (guarded.events["status"] == "PROCESSED").all()

    def calls_in_the_outage(of: Run) -> int:
        return int(of.attempts["started_s"].lt(20.0).sum())

    assert calls_in_the_outage(guarded) < 0.1 * calls_in_the_outage(plain)
    assert guarded.events["retry_count"].mean() < 0.5 * plain.events["retry_count"].mean()
    circuit = guarded.samples[guarded.samples["name"] == "circuit_open"].set_index("t_s")["value"]
    assert set(circuit) <= {0.0, 0.5, 1.0}
    assert circuit[5:20].min() > 0.0 == circuit[25:].max()
    # Woken by the scheduler and by whoever closes it; the sweep, after 60 s, is not needed.
    assert guarded.attempts["started_s"].between(20.0, 25.0).sum() > 20
    assert guarded.end_s < plain.end_s

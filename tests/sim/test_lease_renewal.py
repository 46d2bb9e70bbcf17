"""A lease is renewed while its batch is worked off, so that only what nobody works on is rescued."""

from __future__ import annotations

from sim_worlds import run

from tem_sim.analysis.metrics import metrics

SLOW = {
    "arrivals": {"kind": "burst", "at": "1s", "events": 60},
    "workers": {"count": 1, "concurrency": 2},
    "handler": {"service_time": "2s"},
}


def test_a_batch_that_takes_longer_than_its_lease_is_worked_off_once() -> None:
    done = run(**SLOW, pipeline={"lease": "20s", "batch_size": 30})
    assert set(done.attempts["outcome"]) == {"ok"}
    assert metrics(done)["duplicate_effects"] == 0
    # Longer than the lease, and still nobody else's.
    assert (done.attempts["finished_s"] - done.attempts["claimed_s"]).max() > 40.0


def test_what_is_done_is_settled_before_the_lease_is_renewed() -> None:
    done = run(**SLOW, pipeline={"lease": "20s", "batch_size": 30, "settle_every": 30})
    ends = done.transitions.loc[done.transitions["cause"] == "ok", "at_s"]
    assert ends.nunique() > 4
    assert ends.min() < 20.0


def test_a_worker_that_lost_its_lease_stops_calling_the_handler_for_what_is_not_its_own() -> None:
    done = run(
        **SLOW | {"workers": {"count": 2, "concurrency": 1}},
        pipeline={"lease": "10s", "batch_size": 30},
        faults=[{"kind": "worker_pause", "target": "worker-1", "at": "6s", "for": "60s"}],
    )
    of_the_frozen = done.attempts[done.attempts["worker"] == "worker-1/0"]
    taken_over = of_the_frozen[of_the_frozen["outcome"].isin(["lost", "superseded"])]
    assert len(taken_over) > 10
    # Of its batch of 30 only the few whose call it had made when it froze were done twice.
    called_before = int((of_the_frozen["started_s"] <= 6.0).sum())
    assert called_before < 10
    assert metrics(done)["duplicate_effects"] <= called_before
    assert (done.events["status"] == "PROCESSED").all()

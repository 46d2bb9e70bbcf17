"""The API and its clients: bulk requests, double submits, and requests that nobody answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from sim_worlds import all_done, burst, run, timeline, world

from tem_sim.pipeline.lifecycle import Submission, Submitted
from tem_sim.sim import api as api_module
from tem_sim.sim.world import World


def finished(made: World) -> Any:
    made.run()
    done = made.read_out()
    made.close()
    return done


def test_what_arrives_at_one_instant_goes_in_requests_of_at_most_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    submit = api_module.submit_events

    def counting(pipe: Any, submissions: Sequence[Submission], *, actor: str) -> list[Submitted]:
        sizes.append(len(submissions))
        return submit(pipe, submissions, actor=actor)

    monkeypatch.setattr(api_module, "submit_events", counting)
    arrivals = [
        burst(1200, at="1s"),
        burst(3, at="2s"),
        {"kind": "constant", "rate": "1/s", "from": "3s", "until": "5s"},
    ]
    done = run(arrivals=arrivals, api={"batch": 500})
    assert sizes == [500, 500, 200, 3, 1, 1]
    assert len(done.events) == 1205


def test_submitting_twice_makes_one_event() -> None:
    made = world(events={"duplicate_submits": 1.0}, arrivals=burst(40))
    done = finished(made)
    assert (made.api.accepted, made.api.duplicates) == (40, 40)
    assert len(done.events) == 40
    assert (done.transitions["cause"] == "submit").sum() == 40
    assert len(done.attempts) == 40


def test_only_the_share_that_the_scenario_names_is_submitted_twice() -> None:
    made = world(events={"duplicate_submits": 0.25}, arrivals=burst(400))
    finished(made)
    assert 60 < made.api.duplicates < 140


def test_a_request_whose_api_died_after_the_commit_is_repeated_under_its_key() -> None:
    """The rows are there and nobody was woken: the repeat finds them, and the sweep wakes a worker."""
    made = world(
        arrivals=burst(10),
        pipeline={"sweep_after": "5s"},
        faults=[
            {"kind": "worker_death", "target": "api", "edge": "after_commit_before_wake", "restart_after": "500ms"}
        ],
    )
    done = finished(made)
    assert (made.api.accepted, made.api.duplicates, made.api.rejected) == (0, 10, 0)
    assert len(done.events) == 10
    assert all_done(done)
    assert done.attempts["claimed_s"].min() >= 7.0
    assert timeline(done, 1) == [("QUEUED", "submit"), ("PROCESSING", "claim"), ("PROCESSED", "ok")]


def test_a_request_whose_api_died_before_the_commit_is_repeated_and_accepted() -> None:
    made = world(
        arrivals=burst(10, at="2s"),
        api={"latency": "100ms"},
        faults=[{"kind": "worker_death", "target": "api", "at": "2050ms", "restart_after": "500ms"}],
    )
    done = finished(made)
    assert (made.api.accepted, made.api.duplicates, made.api.rejected) == (10, 0, 0)
    assert done.events["submitted_s"].min() > 3.0


def test_clients_give_up_after_their_retries_and_the_run_ends_all_the_same() -> None:
    made = world(
        arrivals=[burst(5, at="1s"), burst(7, at="10s")],
        api={"retries": 2},
        faults=[{"kind": "worker_death", "target": "api", "at": "5s", "restart_after": "off"}],
    )
    done = finished(made)
    assert made.api.rejected == 7
    assert len(done.events) == 5
    assert done.end_s < 30


def test_an_api_that_dies_again_while_its_clients_wait_gets_each_request_once() -> None:
    deaths = [
        {"kind": "worker_death", "target": "api", "at": f"{at}s", "restart_after": "100ms"} for at in (2.05, 2.5, 2.9)
    ]
    made = world(arrivals=burst(10, at="2s"), api={"latency": "100ms"}, faults=deaths)
    done = finished(made)
    assert (made.api.accepted, made.api.duplicates) == (10, 0)
    assert len(done.events) == 10


def test_an_api_that_dies_before_the_first_arrival_changes_nothing_of_the_load() -> None:
    calm = run()
    shaken = run(faults=[{"kind": "worker_death", "target": "api", "at": "0s", "restart_after": "10ms"}])
    assert len(calm.events) == len(shaken.events)
    assert (calm.events["submitted_s"] == shaken.events["submitted_s"]).all()


def test_an_api_that_is_away_keeps_nothing_and_loses_nothing_that_is_repeated() -> None:
    done = run(
        api={"retries": 20},
        faults=[{"kind": "worker_death", "target": "api", "at": "10s", "restart_after": "8s"}],
    )
    calm = run()
    assert len(done.events) == len(calm.events)
    assert not done.events["submitted_s"].between(10.01, 17.99).any()


def test_what_clients_send_is_counted_by_the_second_every_repetition_included() -> None:
    dead = {"kind": "worker_death", "target": "api", "at": "5s", "restart_after": "3s"}
    made = run(arrivals=[burst(10), burst(4, at="5500ms")], faults=[dead], events={"duplicate_submits": 1})
    sent = made.samples[made.samples["name"] == "submissions_sent_per_s"].set_index("t_s")["value"]
    # Ten are sent and sent again at once; four meet a dead API, and are repeated until it is up.
    assert sent.to_dict() == {2.0: 20.0, 5.0: 4.0, 6.0: 4.0, 7.0: 4.0, 8.0: 4.0}


def test_what_clients_gave_up_is_counted_and_offered_is_what_was_taken_in_and_what_was_not() -> None:
    dead = {"kind": "worker_death", "target": "api", "at": "5s", "restart_after": "15s"}
    made = run(arrivals={"kind": "constant", "rate": "2/s", "from": "0s", "until": "30s"}, faults=[dead])
    counts = made.samples.set_index("name")["value"]
    offered, accepted = counts["submissions_offered"], counts["submissions_accepted"]
    assert offered == 60
    assert accepted == len(made.events)
    assert counts["submissions_rejected"] == offered - accepted > 0

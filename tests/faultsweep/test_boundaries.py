"""A reduced scenario, where it can be struck, and with what: by what really happens in the run."""

import pytest
from small_world import case, small

from tem_sim.analysis.stream import stream
from tem_sim.faultsweep.boundaries import boundaries, verb
from tem_sim.faultsweep.cases import AFTER_THE_END, cases_of, pauses, spread
from tem_sim.faultsweep.judged import attempt
from tem_sim.faultsweep.reduced import bound_s, reduced, variants
from tem_sim.sim.world import simulate


@pytest.fixture(scope="module")
def base():
    return reduced(small(), "recovers")


@pytest.fixture(scope="module")
def found(base):
    return boundaries(base)


def test_one_event_two_workers_no_load_no_luck_no_fault_and_the_files_own_settings(base):
    assert len(simulate(base).events) == 1
    assert (base.workers.count, base.workers.concurrency) == (2, 1)
    assert (base.store.interleave, base.store.watched) == ("statement", True)
    assert (base.faults, base.handler.failure_rate) == ((), 0.0)
    assert (base.pipeline.lease_s, base.beat.rescue_every_s) == (2.0, 1.0)
    assert base.policy().max_retries == 2


def test_the_variants_come_to_each_end_that_there_is():
    ends = {name: simulate(one).transitions["cause"].iloc[-1] for name, one in variants(small()).items()}
    assert ends == {"recovers": "ok", "exhausts": "exhausted", "crashes": "crashed"}
    assert "crashes" not in variants(small("pipeline.lease=off"))


def test_every_write_of_the_lifecycle_is_a_boundary_and_each_has_a_commit(found):
    writes = {(one.label, verb(one.sql)) for one in found if one.kind == "statement"}
    writes = {one for one in writes if not one[1].startswith("SELECT")}
    assert writes >= {
        ("lifecycle.submit", "INSERT event"),
        ("lifecycle.submit", "INSERT processing_state"),
        ("claims.claim", "UPDATE processing_state"),
        ("settle.settle", "UPDATE processing_state"),
        ("settle.settle", "INSERT attempt"),
        ("settle.settle", "INSERT notification"),
        ("lifecycle.requeue_due", "UPDATE processing_state"),
        ("outbox.mark_published", "UPDATE notification"),
        ("outbox.acknowledge", "UPDATE notification"),
    }
    assert {label for label, _ in writes} <= {one.label for one in found if one.kind == "commit"}
    assert {"wake", "publish", "handle", "handled"} <= {one.kind for one in found}


def test_ticks_that_find_nothing_are_one_boundary_and_the_one_that_requeues_is_another(found):
    ticks = [one for one in found if one.label == "lifecycle.requeue_due" and one.kind == "statement"]
    assert sum(one.rows > 0 for one in ticks) == 1
    looks = [one for one in found if one.label == "outbox.unpublished"]
    assert len(looks) <= 2


def test_a_fault_strikes_at_the_very_boundary_that_it_is_aimed_at(found):
    one = case(small(), "worker settle.settle: commit", "killed before")
    run = attempt(one.scenario).run
    (killed,) = run.faults["start_s"]
    committed = run.steps[(run.steps["label"] == "settle.settle") & (run.steps["kind"] == "commit")]
    # Its thread was about to commit, and the settling that was committed in the end is another's.
    assert found[0].t_s < killed < one.boundary.t_s
    assert (committed["t_s"] > killed).all()
    died = run.steps[run.steps["kind"] == "killed"]
    assert set(died["actor"]) == {one.boundary.node}


def test_after_a_commit_it_is_done_and_the_run_without_the_fault_is_the_same_until_then(base):
    one = case(small(), "worker settle.settle: commit", "killed after")
    run, without = attempt(one.scenario).run, simulate(base)
    upto = one.boundary.number
    assert stream(run).steps[:upto] == stream(without).steps[:upto]
    assert run.changes["commit_step"].max() >= upto


@pytest.mark.parametrize(
    ("place", "fault", "shows"),
    [
        ("api lifecycle.submit: commit", "answer lost", lambda run: (run.steps["error"] != "").any()),
        ("api lifecycle.submit: commit", "not done", lambda run: (run.steps["error"] != "").any()),
        ("settle.settle: INSERT attempt", "answer lost", lambda run: (run.steps["kind"] == "task_failed").any()),
        ("submit_events: wake", "lost", lambda run: run.wakeups["lost"].sum() == 1),
        ("submit_events: wake", "again within the task", lambda run: len(run.messages) == 3),
        (
            "submit_events: wake",
            AFTER_THE_END,
            lambda run: run.messages["delivered_s"].max() > run.events["finished_s"][0],
        ),
        (
            "process_events_batch: handle",
            "paused past the rescue",
            lambda run: "superseded" in set(run.attempts["outcome"]),
        ),
        ("relay_notifications: publish", "again", lambda run: run.notifications["received"][0] == 2),
    ],
)
def test_each_fault_shows_in_the_frames_and_breaks_nothing(place, fault, shows):
    tried = attempt(case(small(), place, fault).scenario)
    assert shows(tried.run)
    assert tried.landed
    assert (tried.broken, tried.unknown) == ({}, {})


def test_pauses_straddle_task_lease_and_tick(base):
    lengths = pauses(base, "worker-1")
    assert lengths["up to its lease"] < base.pipeline.lease_s < lengths["past its lease"]
    assert lengths["past the rescue"] > base.pipeline.lease_s + base.beat.rescue_every_s
    assert lengths["past its task"] > base.handler.service_time.mean_s
    assert "past its lease" not in pauses(base, "beat")


def test_all_cases_come_once_in_whatever_order_and_have_time_to_end(base, found):
    every = list(cases_of("recovers", base, found))
    assert sorted(one.key for one in spread(every)) == sorted(one.key for one in every)
    assert len({one.key for one in every}) == len(every)
    first = {one.fault for one in spread(every)[:40]}
    assert len(first) > 6
    waits = [one for one in every if one.fault != AFTER_THE_END]
    assert min(one.scenario.horizon_s for one in waits) >= bound_s(base)

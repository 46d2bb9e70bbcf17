"""Transactions taken apart: locks, deadlocks, timeouts, pools, isolation, images and latencies, in simulated time."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hammer import Bench, bench
from sim_worlds import burst
from sqlalchemy.exc import TimeoutError as PoolTimeout
from statement_worlds import run_apart


def in_turn(at: Bench, node: str, first: int, second: int, wait_s: float = 0.0) -> None:
    """Start a thread that writes two rows one after the other in one transaction."""

    def body() -> None:
        at.kernel.sleep(wait_s)
        with at.store.begin() as connection:
            at.add(connection, first)
            at.kernel.sleep(0.5)
            at.add(connection, second)

    at.start(node, body)


# --- locks


def test_a_writer_waits_in_simulated_time_for_the_one_before_it(statement_url: str) -> None:
    with bench(statement_url) as at:
        in_turn(at, "a", 1, 2)
        in_turn(at, "b", 1, 3, wait_s=0.1)
        at.kernel.run(10.0)
        assert at.versions() == [3, 2, 2, 1]
        (waiter,) = [step for step in at.steps(kind="statement") if step["waited_s"] > 0]
        assert (waiter["thread"], waiter["waited_s"]) == ("b/t", pytest.approx(0.4, abs=0.01))


@pytest.mark.server
@pytest.mark.parametrize("later", ["a", "b"])
def test_of_two_who_wait_for_each_other_the_last_to_come_is_the_victim(postgresql_url: str, later: str) -> None:
    with bench(postgresql_url) as at:
        in_turn(at, "a", 1, 2, wait_s=0.01 if later == "a" else 0.0)
        in_turn(at, "b", 2, 1, wait_s=0.01 if later == "b" else 0.0)
        at.kernel.run(10.0)
        assert at.raised == {"DeadlockDetected": 1}
        (victim,) = [step for step in at.steps(kind="statement") if step["error"]]
        assert (victim["thread"], victim["error"]) == (f"{later}/t", "DeadlockDetected")
        # The other one goes on with both.
        assert at.versions()[:2] == [2, 2]


def test_who_waits_for_a_lock_too_long_is_told_so_by_the_driver(statement_url: str) -> None:
    told = "OperationalError" if statement_url == "sqlite://" else "LockNotAvailable"
    with bench(statement_url, lock_timeout="200ms") as at:
        in_turn(at, "a", 1, 2)
        in_turn(at, "b", 1, 3, wait_s=0.1)
        at.kernel.run(10.0)
        assert at.raised == {told: 1}
        (refused,) = [step for step in at.steps() if step["error"]]
        assert refused["waited_s"] == pytest.approx(0.2)
        assert at.versions() == [2, 2, 1, 1]


def test_on_sqlite_patience_ends_after_thirty_seconds() -> None:
    def hold() -> None:
        with at.store.begin() as connection:
            at.add(connection, 1)
            at.kernel.sleep(40.0)

    with bench("sqlite://") as at:
        at.start("a", hold)
        in_turn(at, "b", 2, 3, wait_s=0.1)
        at.kernel.run(60.0)
        (refused,) = [step for step in at.steps() if step["error"]]
        assert (refused["thread"], refused["waited_s"]) == ("b/t", pytest.approx(30.0))


# --- isolation


@pytest.mark.parametrize(
    ("isolation", "sees", "writes"),
    [("read_committed", [1, 2], True), ("snapshot", [1, 1], False)],
)
def test_what_a_transaction_sees_of_another_and_whether_it_may_write_then(
    statement_url: str, isolation: str, sees: list[int], writes: bool
) -> None:
    seen: list[int] = []

    def reader() -> None:
        with at.store.begin() as connection:
            seen.append(at.read(connection, 1))
            at.kernel.sleep(1.0)
            seen.append(at.read(connection, 1))
            at.add(connection, 1)

    def writer() -> None:
        at.kernel.sleep(0.5)
        with at.store.begin() as connection:
            at.add(connection, 1)

    with bench(statement_url, isolation=isolation) as at:
        at.start("a", reader)
        at.start("b", writer)
        at.kernel.run(10.0)
        assert seen == sees
        told = "OperationalError" if statement_url == "sqlite://" else "SerializationFailure"
        assert at.raised == ({} if writes else {told: 1})
        assert at.versions()[0] == (3 if writes else 2)


def test_a_stale_count_is_written_back_between_read_and_write_under_read_committed(statement_url: str) -> None:
    from sqlalchemy import update

    from tem_sim.pipeline.tables import processing_state

    def careless() -> None:
        with at.store.begin() as connection:
            version = at.read(connection, 1)
            at.kernel.sleep(0.1)
            stale = update(processing_state).where(processing_state.c.event_id == 1).values(version=version + 1)
            connection.execute(stale)

    with bench(statement_url) as at:
        at.start("a", careless)
        at.start("b", careless)
        at.kernel.run(10.0)
        assert at.versions()[0] == 2


# --- pools, latencies


def test_a_full_pool_makes_wait_and_then_give_up(statement_url: str) -> None:
    gave_up: list[float] = []
    said: list[str] = []

    def hold(hold_s: float) -> None:
        began_s = at.kernel.now
        try:
            with at.store.begin() as connection:
                at.read(connection, 1)
                at.kernel.sleep(hold_s)
        except PoolTimeout as error:
            said.append(str(error))
            gave_up.append(at.kernel.now - began_s)

    with bench(statement_url, pool={"size": 2, "timeout": "1s"}) as at:
        for number, hold_s in enumerate((0.5, 3.0, 3.0, 0.1)):
            at.start("a", lambda hold_s=hold_s: hold(hold_s), f"t{number}")
        at.start("b", lambda: hold(0.1))
        at.kernel.run(20.0)
        # The third has the place of the first, the fourth finds none in time; another node has a pool of its own.
        assert gave_up == [pytest.approx(1.0)]
        assert said[0].startswith("QueuePool limit of size 2 overflow 0 reached")
        assert len({step["thread"] for step in at.steps(kind="statement")}) == 4
        assert len(at.steps(kind="connect")) == 3


def test_each_node_has_its_own_latencies(statement_url: str) -> None:
    far = {"statement_latency": "50ms", "commit_latency": "20ms", "connect_latency": "300ms"}
    took: dict[str, float] = {}

    def work(node: str) -> None:
        began_s = at.kernel.now
        with at.store.begin() as connection:
            at.add(connection, {"near": 1, "far": 2}[node])
        took[node] = at.kernel.now - began_s

    with bench(statement_url, nodes={"far": far}) as at:
        for node, wait_s in (("near", 0.0), ("far", 1.0)):
            at.start(node, lambda node=node, wait_s=wait_s: (at.kernel.sleep(wait_s), work(node)))
        at.kernel.run(10.0)
        assert took == {"near": pytest.approx(0.004), "far": pytest.approx(0.37)}


# --- death


def test_the_server_rolls_back_what_a_killed_thread_had_open_and_none_of_its_code_runs(statement_url: str) -> None:
    after: list[str] = []

    def doomed() -> None:
        try:
            with at.store.begin() as connection:
                at.add(connection, 1)
                at.kernel.sleep(10.0)
        finally:
            with at.store.begin() as connection:
                at.add(connection, 2)
            after.append("ran on")

    with bench(statement_url) as at:
        at.kernel.node("a").connections_close_after_s = 2.0
        at.start("a", doomed)
        in_turn(at, "b", 1, 3, wait_s=0.1)
        at.kernel.call_later(0.5, at.kernel.node("a").kill)
        at.kernel.run(20.0)
        assert after == []
        assert at.versions() == [2, 1, 2, 1]
        (waiter,) = [step for step in at.steps(kind="statement") if step["waited_s"] > 0]
        assert waiter["waited_s"] == pytest.approx(0.4 + 2.0, abs=0.02)
        assert [step["thread"] for step in at.steps(kind="rollback")] == ["a/t"]


def test_a_thread_that_is_killed_alone_gives_its_place_and_its_locks_back(statement_url: str) -> None:
    with bench(statement_url, pool={"size": 1, "timeout": "5s"}) as at:
        in_turn(at, "a", 1, 2)
        child = at.kernel.node("a").threads[-1]
        at.start("a", lambda: in_turn_now(at, 1, 3), "next")
        at.kernel.call_later(0.2, child.kill)
        at.kernel.run(20.0)
        assert at.versions() == [2, 1, 2, 1]
        assert at.raised == {}


def in_turn_now(at: Bench, first: int, second: int) -> None:
    with at.store.begin() as connection:
        at.add(connection, first)
        at.add(connection, second)


# --- images


def images(url: str) -> list[Any]:
    """Return what each change of a small run with failures did to which row."""
    done = run_apart(
        url,
        arrivals=burst(6),
        pipeline={"batch_size": 2},
        workers={"count": 1, "concurrency": 1},
        handler={"failure_rate": 0.5},
    )
    changes = done.changes.itertuples()
    found = []
    for change in changes:
        pair = [json.loads(text) if text else {} for text in (change.before, change.after)]
        told = {
            name: [image.get(name) for image in pair]
            for name in ("status", "attempt_no", "retry_count", "lease_owner", "version", "outcome", "dedupe_key")
            if any(name in image for image in pair)
        }
        found.append((change.table, change.op, change.event_id, change.label, told))
    return found


@pytest.mark.server
def test_both_stores_show_the_same_images(postgresql_url: str) -> None:
    on_sqlite = images("sqlite://")
    assert len(on_sqlite) > 50

    def per_event(found: list[Any]) -> dict[int, list[Any]]:
        # In a batch PostgreSQL changes its rows one by one, and an event's own order is what both agree on.
        return {n: [change for change in found if change[2] == n] for n in {change[2] for change in found}}

    assert per_event(images(postgresql_url)) == per_event(on_sqlite)

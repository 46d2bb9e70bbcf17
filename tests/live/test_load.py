"""The load of a scenario on a real Event API: sent at its times, and again until it is answered."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from api_process import make_process, serving
from gateway_kit import RedisServer
from live_systems import eventually
from sqlalchemy import select

from tem_sim.live import load as load_module
from tem_sim.live.load import LoadGenerator
from tem_sim.live.logs import Log, lines
from tem_sim.live.process import Process
from tem_sim.pipeline.tables import event_table
from tem_sim.scenario.load import Load
from tem_sim.scenario.streams import Streams

SCENARIO: dict[str, Any] = {
    "scenario": "load",
    "arrivals": [{"kind": "burst", "at": "100ms", "events": 7}, {"kind": "constant", "rate": "20/s", "until": "500ms"}],
    "api": {"batch": 3, "retries": 20},
    "events": {"payload_bytes": 10},
    "users": {"count": 4},
}


class World:
    """An API's process, and the load that it is to get."""

    def __init__(self, folder: Path, redis: RedisServer, pipeline: dict[str, Any] | None = None, **more: Any) -> None:
        process = make_process(folder, f"sqlite:///{folder}/store.db", redis.url, pipeline=pipeline)
        config = process.config.model_copy(update={"scenario_dict": {**SCENARIO, **more}})
        self.process: Process = process
        self.log = folder / "load.jsonl"
        self.load = LoadGenerator(config, Streams(3), Log(self.log, "system"))
        self.expected = Load(config.scenario, Streams(3))

    def play(self, within_s: float = 60.0, during: Callable[[], None] = lambda: None) -> None:
        """Post everything, and do something meanwhile."""
        asyncio.run(self._play(within_s, during))

    async def _play(self, within_s: float, during: Callable[[], None]) -> None:
        posting = self.load.begin()
        await asyncio.to_thread(during)
        until = time.monotonic() + within_s
        while not self.load.idle:
            assert time.monotonic() < until, "the load is not idle"
            await asyncio.sleep(0.02)
        posting.cancel()
        with suppress(asyncio.CancelledError):
            await posting

    def stored(self) -> dict[int, Any]:
        """Return the events of the store by the numbers of their arrivals."""
        with self.process.store.begin() as connection:
            return {row.payload["number"]: row for row in connection.execute(select(event_table))}

    def posted(self) -> list[dict[str, Any]]:
        return [line for line in lines(self.log) if line["event"] == "posted"]


@pytest.fixture
def retrying_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_module, "CLIENT_RETRY_S", 0.1)


def test_all_that_arrives_is_posted_those_of_one_instant_in_batches(tmp_path: Path, api_redis: RedisServer) -> None:
    world = World(tmp_path, api_redis)
    with serving(world.process):
        world.play()
    found = world.stored()
    assert sorted(found) == list(range(1, 18))
    for number, row in found.items():
        assert (row.user_id, row.kind) == (world.expected.user_id(number), world.expected.kind(number))
        assert row.payload == {"number": number, "pad": "x" * 10}
    # One of the constant rate arrives at the instant of the burst.
    assert sorted(line["events"] for line in world.posted()) == [1] * 9 + [2, 3, 3]
    assert world.load.submissions(found) == {
        "submissions_offered": 17,
        "submissions_accepted": 17,
        "submissions_rejected": 0,
        "submissions_repeated": 0,
        "submissions_refused": 0,
    }


@pytest.mark.usefixtures("retrying_soon")
def test_while_nobody_listens_it_is_sent_again_until_somebody_does(tmp_path: Path, api_redis: RedisServer) -> None:
    # An API takes its time to come up.
    world = World(tmp_path, api_redis, api={"batch": 3, "retries": 10_000})

    def serve_after_a_while() -> None:
        assert eventually(world.posted)
        with serving(world.process):
            while not world.load.idle:
                time.sleep(0.02)

    world.play(during=serve_after_a_while)
    assert len(world.stored()) == 17
    assert max(line["tries"] for line in world.posted()) > 1
    assert sum(count for _, count in world.load.sent_per_s()) > 17


@pytest.mark.usefixtures("retrying_soon")
def test_what_is_sent_again_is_what_was_sent_whatever_fault_has_begun_since(
    tmp_path: Path, api_redis: RedisServer
) -> None:
    world = World(tmp_path, api_redis, api={"batch": 3, "retries": 10_000})

    def change_once_all_are_sent() -> None:
        assert eventually(lambda: sum(line["events"] for line in world.posted() if line["tries"] == 1) == 17)
        world.load.change((2,), 1.0, lambda _number, one: {**one, "kind": "other"})
        with serving(world.process):
            while not world.load.idle:
                time.sleep(0.02)

    world.play(during=change_once_all_are_sent)
    assert {number: row.kind for number, row in world.stored().items()} == {
        number: world.expected.kind(number) for number in range(1, 18)
    }
    assert world.load.change((2,), None, None) == 0


@pytest.mark.usefixtures("retrying_soon")
def test_who_is_never_answered_gives_up(tmp_path: Path, api_redis: RedisServer) -> None:
    world = World(tmp_path, api_redis, api={"batch": 3, "retries": 2})
    world.play()
    assert world.load.submissions(world.stored())["submissions_rejected"] == 17
    assert {line["tries"] for line in world.posted()} == {1, 2, 3}


@pytest.mark.usefixtures("retrying_soon")
def test_who_is_still_waiting_for_an_answer_when_the_load_ends_asks_no_more(
    tmp_path: Path, api_redis: RedisServer
) -> None:
    world, wrong = World(tmp_path, api_redis), list[dict[str, Any]]()

    async def story() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, about: wrong.append(about))
        posting = world.load.begin()
        assert await asyncio.to_thread(eventually, lambda: len(world.posted()) > 12)
        posting.cancel()
        with suppress(asyncio.CancelledError):
            await posting
        over = len(world.posted())
        await asyncio.sleep(0.3)
        assert len(world.posted()) == over
        gc.collect()

    asyncio.run(story())
    assert wrong == []


def test_who_is_told_to_wait_since_too_much_waits_comes_back(tmp_path: Path, api_redis: RedisServer) -> None:
    shedding = {"shedding": {"above": 8, "retry_after": "100ms"}}
    world = World(tmp_path, api_redis, pipeline=shedding, api={"batch": 3, "retries": 2})
    with serving(world.process):
        world.play()
    found = world.stored()
    counts = world.load.submissions(found)
    assert 8 < len(found) < 17
    assert counts["submissions_refused"] > 0
    assert counts["submissions_rejected"] == 17 - len(found)


@pytest.mark.usefixtures("retrying_soon")
def test_a_lost_answer_is_asked_for_again_and_makes_nothing_new(tmp_path: Path, api_redis: RedisServer) -> None:
    world = World(tmp_path, api_redis)
    world.load.lose_answers((0,), 0.5, Streams(1).stream("loss"))
    with serving(world.process):
        world.play()
    lost = world.load.lose_answers((0,), None, None)
    assert lost > 0
    counts = world.load.submissions(world.stored())
    assert (counts["submissions_accepted"], counts["submissions_rejected"]) == (17, 0)
    assert counts["submissions_repeated"] >= lost


def test_what_a_fault_changes_is_changed_for_good_and_what_it_adds_comes_after_all(
    tmp_path: Path, api_redis: RedisServer
) -> None:
    world = World(tmp_path, api_redis, events={"duplicate_submits": 1.0})
    world.load.change((2,), 0.5, lambda number, one: {**one, "user_id": 1})
    struck = [n for n in range(1, 21) if Streams(3).uniform("fault-event", 2, n) < 0.5]
    with serving(world.process):
        world.play(during=lambda: world.load.add(3))
    found = world.stored()
    assert sorted(found) == list(range(1, 21))
    users = {number: row.user_id for number, row in found.items()}
    assert users == {n: 1 if n in struck else world.expected.user_id(n) for n in range(1, 21)}
    assert world.load.change((2,), None, None) == len(struck)
    assert world.load.submissions(found)["submissions_repeated"] == 20
    assert [line for line in lines(world.log) if line["event"] == "refused"] == []

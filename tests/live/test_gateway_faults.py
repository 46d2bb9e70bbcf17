"""What the gateway stands on fails: Redis, the store, its own process. No notification is lost, none is shown twice."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from gateway_kit import (
    PATIENCE_S,
    GatewayProcess,
    RedisServer,
    World,
    client_of,
    gateway_in,
    gateway_process,
    redis_server,
    run,
    status_of,
    until,
)
from sqlalchemy import text
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tem_sim.live.gateway import keeper, server, subscription
from tem_sim.pipeline.store import make_engine

pytestmark = pytest.mark.server


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "own-redis") as running:
        yield running


def test_what_was_published_to_nobody_while_redis_was_away_comes_after_it_is_back(
    world: World, redis: RedisServer
) -> None:
    async def story() -> None:
        async with gateway_in(world), client_of(world, 1) as one, client_of(world, 2) as two:
            world.tell(1, 1)
            await until(lambda: one.got == [1], "it works")
            for round_no in (1, 2):
                noticed = len(world.log("unsubscribed"))
                redis.kill()
                await until(lambda n=noticed: len(world.log("unsubscribed")) > n, "it notices")
                first = 10 * round_no
                assert world.tell(1, first, first + 1) == world.tell(2, first + 2) == 0
                await asyncio.to_thread(redis.start)
                await until(lambda: world.owed() == [], "what was missed is sent and acknowledged")
                world.tell(2, first + 3)
                await until(lambda n=first: two.got[-1] == n + 3, "and what is published now comes")
            await until(lambda: world.owed() == [], "all is acknowledged")
            assert (one.got, two.got) == ([1, 10, 11, 20, 21], [12, 13, 22, 23])
            # Three times, the first included; and the users' sockets knew nothing of it.
            assert len(world.log("resubscribed")) == 3
            assert len(world.log("connected")) == 2

    run(story())


def test_a_subscription_that_redis_ends_is_taken_up_again(world: World) -> None:
    async def story() -> None:
        async with gateway_in(world), client_of(world, 1) as client:
            for event_id in range(1, 6):
                world.redis.client_kill_filter(_type="pubsub")
                world.owe(1, event_id)
                await until(lambda n=event_id: len(client.got) == n, "it is sent all the same")
            assert client.got == [1, 2, 3, 4, 5]

    run(story())


def test_a_redis_that_says_nothing_is_left_and_what_was_missed_is_sent(
    world: World, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription, "ASK_EVERY_S", 0.1)
    monkeypatch.setattr(subscription, "SILENT_S", 0.5)

    async def story() -> None:
        async with gateway_in(world), client_of(world, 1) as client:
            # A Redis that is slow for a moment may have been left before.
            noticed = len(world.log("unsubscribed"))
            redis.signal(signal.SIGSTOP)
            try:
                await until(lambda: len(world.log("unsubscribed")) > noticed, "the silence is noticed")
                world.owe(1, 1)
            finally:
                redis.signal(signal.SIGCONT)
            await until(lambda: client.got == [1], "it comes")

    run(story())


def test_with_redis_away_from_the_start_users_are_served_from_the_outbox(world: World, redis: RedisServer) -> None:
    from tem_sim.live.gateway.server import Gateway
    from tem_sim.live.process import Process

    redis.kill()
    world.owe(1, 1, 2)

    async def story() -> None:
        process = Process("gateway", world.config)
        async with Gateway(process).running(), client_of(world, 1) as client:
            await until(lambda: client.got == [1, 2] and world.owed() == [], "what is owed is sent")
            world.owe(1, 3)
            assert not world.config.ready_file("gateway").exists()
            await asyncio.to_thread(redis.start)
            await until(lambda: client.got == [1, 2, 3], "and what came since")
            await until(world.config.ready_file("gateway").exists, "now it is ready")
        process.store.close()

    run(story())


def test_while_the_store_fails_acknowledgements_are_kept_and_sockets_stay(
    tmp_path: Path, redis: RedisServer, shared_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "STORE_RETRY_S", 0.2)
    world = World(tmp_path, shared_url, redis.url)

    def rename(before: str, after: str) -> None:
        with world.store.begin() as connection:
            connection.execute(text(f"ALTER TABLE {before} RENAME TO {after}"))

    async def story() -> None:
        async with gateway_in(world) as gateway, client_of(world, 1) as one:
            early, late = world.owe(1, 1, 2), world.owe(2, 3)
            rename("notification", "gone")
            world.publish(*early)
            await until(lambda: one.got == [1, 2], "what is published comes")
            async with client_of(world, 2, settled=False) as two:
                await until(lambda: len(world.log("store_failed")) > 2, "the store is asked again and again")
                assert gateway.keeper.acks_waiting == 2
                assert two.got == []
                rename("gone", "notification")
                await until(lambda: two.got == [3], "who came meanwhile gets what was missed")
                await until(lambda: world.owed() == [], "what was acknowledged meanwhile is written")
                await until(lambda: gateway.keeper.acks_waiting == 0, "and not again and again")
            world.publish(*late)
            # Until then it is on its way, and who connects meanwhile gets it, as a repeat.
            await until(lambda: world.log("received")[-1]["event_ids"] == [3], "it comes while nobody is there for it")
            world.owe(3, 4)
            rename("notification", "gone")
            failed = len(world.log("store_failed"))
            async with client_of(world, 2, settled=False) as again, client_of(world, 3, settled=False) as three:
                await until(lambda: len(world.log("store_failed")) > failed + 1, "now it is only read")
                rename("gone", "notification")
                await until(lambda: three.got == [4], "nobody's replay is forgotten")
                assert again.got == []
            assert one.got == [1, 2]
            assert one.socket.close_code is None

    run(story())
    world.close()


def test_what_is_acknowledged_right_before_it_stops_is_written(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "ACK_FLUSH_S", 600.0)
    # As long as the store takes.
    monkeypatch.setattr(server, "CLOSE_WITHIN_S", PATIENCE_S)

    async def story() -> None:
        async with gateway_in(world) as gateway, client_of(world, 1, settled=False) as client:
            world.tell(1, 1, 2)
            await until(lambda: client.got == [1, 2] and gateway.keeper.acks_waiting == 2, "it is acknowledged")
            assert world.owed() == [1, 2]

    run(story())
    assert world.owed() == []


def test_database_connections_that_are_terminated_cost_nothing(
    tmp_path: Path, redis: RedisServer, postgresql_url: str
) -> None:
    name = f"tem-gateway-{redis.port}"
    world = World(tmp_path, f"{postgresql_url}&application_name={name}", redis.url)
    admin = make_engine(postgresql_url)

    def terminate_all() -> int:
        kill = text("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = :name")
        world.store.engine.dispose()
        with admin.connect() as connection:
            return int(connection.execute(kill, {"name": name}).scalar_one())

    async def story() -> None:
        async with gateway_in(world), client_of(world, 1) as client:
            for event_id in range(1, 4):
                world.tell(1, event_id)
                await until(lambda: world.owed() == [], "it is acknowledged")
                assert terminate_all() >= 1
            world.tell(1, 4)
            await until(lambda: world.owed() == [], "it is acknowledged")
            assert client.got == [1, 2, 3, 4]

    run(story())
    admin.dispose()
    world.close()


def test_a_part_that_breaks_ends_it_for_its_supervisor_to_start_it_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise AssertionError("a bug")

    monkeypatch.setattr(keeper.outbox, "first_unacknowledged", broken)

    async def story() -> None:
        async with gateway_in(world), client_of(world, 1, settled=False):
            await asyncio.sleep(PATIENCE_S)

    with pytest.raises(ExceptionGroup) as raised:
        run(story())
    assert raised.value.subgroup(AssertionError) is not None


class Faithful:
    """A user's client as it should be: dials again, and shows by its key what it has not shown before."""

    def __init__(self, world: World, user_id: int) -> None:
        self._world = world
        self._user_id = user_id
        self.received: list[str] = []
        self.shown: list[int] = []

    async def run(self) -> None:
        while True:
            with suppress(ConnectionClosed, InvalidHandshake, OSError):
                await self._session()
            await asyncio.sleep(0.05)

    async def _session(self) -> None:
        async with connect(self._world.config.gateway_url, compression=None) as socket:
            await socket.send(json.dumps({"type": "hello", "token": self._world.token(self._user_id)}))
            async for frame in socket:
                message = json.loads(frame)
                if message["type"] == "notification":
                    assert message["user_id"] == self._user_id
                    if message["dedupe_key"] not in self.received:
                        self.shown.append(message["event_id"])
                    self.received.append(message["dedupe_key"])
                    await socket.send(json.dumps({"type": "ack", "event_id": message["event_id"]}))


@asynccontextmanager
async def faithful(world: World, users: range) -> AsyncIterator[dict[int, Faithful]]:
    clients = {user_id: Faithful(world, user_id) for user_id in users}
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(client.run()) for client in clients.values()]
        yield clients
        for task in tasks:
            task.cancel()


@pytest.mark.parametrize("end", ["SIGKILL", "SIGTERM"])
def test_a_gateway_that_dies_and_comes_again_costs_no_user_a_notification_and_shows_none_twice(
    tmp_path: Path, redis: RedisServer, shared_url: str, end: str
) -> None:
    world = World(tmp_path, shared_url, redis.url)
    users = range(1, 6)
    owed: Counter[int] = Counter()

    def publish_some(start: int) -> None:
        for number in range(start, start + 100):
            user_id = users[number % len(users)]
            world.tell(user_id, number)
            owed[user_id] += 1

    async def story(gateway: GatewayProcess) -> dict[int, Faithful]:
        async with faithful(world, users) as clients:
            for round_no in range(3):
                publishing = asyncio.create_task(asyncio.to_thread(publish_some, 1 + 1000 * round_no))
                await asyncio.sleep(0.1)
                if end == "SIGKILL":
                    await asyncio.to_thread(gateway.kill)
                else:
                    assert await asyncio.to_thread(gateway.stop) == 0
                await asyncio.to_thread(gateway.start)
                await publishing
            await until(lambda: world.owed() == [], "everything is acknowledged")
            # The last gateway may have had nothing to be told: what it wrote as it ended was all there was.
            await until(lambda: status_of(world) == {"connected": 5, "users": 5}, "all users are back")
            return clients

    with gateway_process(world) as gateway:
        clients = run(story(gateway))
    assert {user_id: len(client.shown) for user_id, client in clients.items()} == dict(owed)
    assert all(len(set(client.shown)) == len(client.shown) for client in clients.values())
    world.close()

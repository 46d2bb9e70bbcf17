"""A gateway to test on, its Redis and its store, notifications that are owed without a pipeline, and users' clients."""

from __future__ import annotations

import asyncio
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import select
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tem_sim.live.config import HOST, VARIABLE, Limits, LiveConfig, Ports
from tem_sim.live.own_redis import NoRedisError, OwnRedis
from tem_sim.live.ports import encoded
from tem_sim.live.process import Process
from tem_sim.live.system import free_ports, reserve
from tem_sim.live.tokens import issue
from tem_sim.pipeline.ports import Notification
from tem_sim.pipeline.store import open_store
from tem_sim.pipeline.tables import event_table, notification
from tem_sim.scenario.models import Scenario

if TYPE_CHECKING:
    from tem_sim.live.gateway.server import Gateway

PATIENCE_S = 60.0
# As much of any time that a loop does not look at its clock as that clock tells.
TICK_S = 0.02

_T = TypeVar("_T")


class _Brief(selectors.DefaultSelector):
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return super().select(TICK_S if timeout is None else min(timeout, TICK_S))


class SteadyLoop(asyncio.SelectorEventLoop):
    """A loop whose clock stands still while the loop does.

    A gateway that runs in the test's own loop, with limits of tenths of a second, takes a pause of the machine for a
    client that is too slow, or a Redis that is silent. By this clock it sees none.
    """

    _now = _seen = 0.0

    def __init__(self) -> None:
        self._seen = time.monotonic()
        super().__init__(_Brief())

    def time(self) -> float:
        seen = time.monotonic()
        self._now += min(seen - self._seen, TICK_S)
        self._seen = seen
        return self._now


def run(story: Coroutine[Any, Any, _T]) -> _T:
    """Run a story that must not depend on how fast the machine is."""
    with asyncio.Runner(loop_factory=SteadyLoop) as runner:
        return runner.run(story)


class Killable:
    """A child process that can be killed and started."""

    _process: subprocess.Popen[bytes] | None = None

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class RedisServer(Killable):
    """A Redis of the test's own."""

    def __init__(self, folder: Path) -> None:
        (self.port,) = free_ports(1)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self._own = OwnRedis(folder, self.port, "secret", durable=False)
        except NoRedisError as error:
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(str(error))
        self.url = self._own.url
        self._reserved = reserve(self.port)

    def close(self) -> None:
        self.kill()
        for port in self._reserved:
            port.close()

    def start(self) -> None:
        self._process = subprocess.Popen(self._own.command, stdout=subprocess.DEVNULL)
        wait_until(self._answers, "Redis answers")

    def _answers(self) -> bool:
        with suppress(RedisError), Redis.from_url(self.url, socket_timeout=1.0) as client:
            return bool(client.ping())
        return False


@contextmanager
def redis_server(folder: Path) -> Iterator[RedisServer]:
    """Yield a Redis that runs, and take it away."""
    server = RedisServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.close()


class World:
    """What a gateway works on. `owe` writes rows of the outbox, as a worker does in the transaction of PROCESSED."""

    def __init__(
        self,
        folder: Path,
        store_url: str,
        redis_url: str,
        users: Mapping[str, Any] | None = None,
        limits: Mapping[str, Any] | None = None,
    ) -> None:
        scenario = {
            "scenario": "gateway",
            "arrivals": {"kind": "burst", "events": 1},
            "users": {"resend_after": "off", **(users or {})},
        }
        api, gateway, downstream = free_ports(3)
        self.config = LiveConfig(
            name=f"tem-test-{os.getpid()}-{gateway}",
            folder=folder,
            scenario_dict=Scenario.model_validate(scenario).resolved(),
            luck_seed=1,
            store_url=store_url,
            redis_url=redis_url,
            secret="s" * 32,
            ports=Ports(api=api, gateway=gateway, downstream=downstream),
            limits=Limits(**(limits or {})),
        )
        self._reserved = reserve(api, gateway, downstream)
        # The one that runs in the test's own loop, if one does.
        self.gateway: Gateway | None = None
        self.config.save()
        self.store = open_store(store_url)
        self.redis = Redis.from_url(redis_url, socket_timeout=5.0)

    def close(self) -> None:
        self.store.close()
        self.redis.close()
        for port in self._reserved:
            port.close()

    def notes(self, user_id: int, *event_ids: int) -> list[Notification]:
        return [Notification(i, user_id, f"event-{i}-processed", 1_700_000_000.0 + i) for i in event_ids]

    def owe(self, user_id: int, *event_ids: int) -> list[Notification]:
        notes = self.notes(user_id, *event_ids)
        with self.store.begin() as connection:
            for note in notes:
                made = {"kind": "normal", "payload": {}, "created_at": note.created_at, "user_id": user_id}
                event = {"id": note.event_id, "idempotency_key": f"event-{note.event_id}", **made}
                about = {"dedupe_key": note.dedupe_key, "created_at": note.created_at, "user_id": user_id}
                connection.execute(event_table.insert(), event)
                connection.execute(notification.insert(), {"event_id": note.event_id, **about})
        return notes

    def publish(self, *notes: Notification) -> int:
        """Publish as the relay does; return how many subscribers heard the last one, 0 while Redis is away."""
        batch = self.redis.pipeline(transaction=False)
        for note in notes:
            batch.publish(self.config.channel, encoded(note))
        with suppress(RedisError):
            return int(batch.execute()[-1])
        return 0

    def tell(self, user_id: int, *event_ids: int) -> int:
        return self.publish(*self.owe(user_id, *event_ids))

    def owed(self) -> list[int]:
        with self.store.begin() as connection:
            unacked = select(notification.c.event_id).where(notification.c.acked_at.is_(None))
            return sorted(connection.execute(unacked).scalars())

    def log(self, event: str, node: str = "gateway") -> list[dict[str, Any]]:
        from tem_sim.live.logs import lines

        return [line for line in lines(self.config.log_file(node)) if line["event"] == event]

    def token(self, user_id: int, **how: Any) -> str:
        return issue(self.config.secret, user_id=user_id, **how)


@asynccontextmanager
async def gateway_in(world: World) -> AsyncIterator[Gateway]:
    """Run a gateway in the test's own loop, and yield it once it is subscribed."""
    from tem_sim.live.gateway.server import Gateway

    process = Process("gateway", world.config)
    gateway = Gateway(process)
    async with gateway.running():
        await until(world.config.ready_file("gateway").exists, "the gateway is ready")
        world.gateway = gateway
        yield gateway
    world.gateway = None
    process.store.close()
    world.config.ready_file("gateway").unlink()


class GatewayProcess(Killable):
    """A gateway as a child process."""

    def __init__(self, world: World) -> None:
        self._world = world

    def start(self) -> None:
        ready = self._world.config.ready_file("gateway")
        ready.unlink(missing_ok=True)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tem_sim.live.node", "gateway"],
            env={**os.environ, VARIABLE: str(self._world.config.file)},
        )
        wait_until(ready.exists, "the gateway is ready")

    def stop(self) -> int:
        assert self._process is not None
        self.signal(signal.SIGTERM)
        return self._process.wait(PATIENCE_S)


@contextmanager
def gateway_process(world: World) -> Iterator[GatewayProcess]:
    """Yield a gateway that is ready, and take it away."""
    process = GatewayProcess(world)
    try:
        process.start()
        yield process
    finally:
        process.kill()


class Client:
    """A user's client on one socket: keeps what it gets, and acknowledges it unless told not to."""

    def __init__(self, socket: ClientConnection, acks: bool = True) -> None:
        self.socket = socket
        self.acks = acks
        self.messages: list[dict[str, Any]] = []

    @property
    def got(self) -> list[int]:
        return [message["event_id"] for message in self.messages if message["type"] == "notification"]

    async def say(self, **message: Any) -> None:
        await self.socket.send(json.dumps(message))

    async def read(self) -> None:
        """Read until the socket is closed."""
        with suppress(ConnectionClosed):
            async for frame in self.socket:
                message = json.loads(frame)
                self.messages.append(message)
                if message["type"] == "notification" and self.acks:
                    await self.say(type="ack", event_id=message["event_id"])


@asynccontextmanager
async def client_of(
    world: World, user_id: int, *, acks: bool = True, reads: bool = True, settled: bool = True, **options: Any
) -> AsyncIterator[Client]:
    """Connect a user, wait for the welcome, and read in the background.

    A client that is `settled` has been sent what its user had missed: what is published from then on comes by the
    channel alone, once. Else it may come from the outbox first, be acknowledged, and come once more.
    """
    async with connect(world.config.gateway_url, **{"compression": None, **options}) as socket:
        client = Client(socket, acks)
        await client.say(type="hello", token=world.token(user_id))
        client.messages.append(json.loads(await socket.recv()))
        assert client.messages[0]["type"] == "welcome", client.messages
        reading = asyncio.create_task(client.read()) if reads else None
        try:
            if settled and (gateway := world.gateway) is not None:
                await until(lambda: not gateway.keeper.replays_waiting, "it is sent what was missed")
            yield client
        finally:
            if reading is not None:
                reading.cancel()


async def until(true: Callable[[], Any], what: str, within_s: float = PATIENCE_S) -> None:
    """Wait until something is true; fail when it does not become so."""
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, f"not within {within_s:g} s: {what}"
        await asyncio.sleep(0.02)


def wait_until(true: Callable[[], Any], what: str, within_s: float = PATIENCE_S) -> None:
    """Wait until something is true, outside of a loop."""
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, f"not within {within_s:g} s: {what}"
        time.sleep(0.02)


def status_of(world: World) -> dict[str, int]:
    """Return what the gateway says of itself."""
    import httpx

    answer = httpx.get(f"http://{HOST}:{world.config.ports.gateway}/status", timeout=PATIENCE_S)
    assert answer.headers["content-type"] == "application/json"
    return dict(answer.json())

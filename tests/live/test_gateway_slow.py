"""Clients that do not keep up, or are gone: bounded, found out, and served in full when they come back."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from contextlib import suppress
from typing import Any

import pytest
from gateway_kit import Client, World, client_of, gateway_in, run, until
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tem_sim.live.config import HOST
from tem_sim.live.gateway import keeper
from tem_sim.live.gateway.server import Gateway
from tem_sim.pipeline.ports import Notification

pytestmark = pytest.mark.server


def most_held(gateway: Gateway) -> int:
    return max((len(connection) for connection in gateway.hub), default=0)


ROOM_FOR_50 = {"limits": {"held_per_socket": 50, "slow_after_s": 1.5}}
# It is sent this and that meanwhile, which is no sign of its own progress.
AND_BUSY = {**ROOM_FOR_50, "users": {"heartbeat": "400ms", "resend_after": "600ms"}}


@pytest.mark.parametrize("world", [ROOM_FOR_50, AND_BUSY], indirect=True, ids=["idle", "busy"])
def test_who_never_acknowledges_is_held_little_for_closed_and_then_served_in_full(world: World) -> None:
    missed = world.owe(1, *range(1, 1001))

    async def story() -> None:
        async with gateway_in(world) as gateway, client_of(world, 2) as other:
            async with client_of(world, 1, acks=False) as slow:
                new = world.owe(1, *range(1001, 1101))
                world.publish(*missed, *new)
                world.tell(2, 5000)
                most = [most_held(gateway)]
                await until(lambda: most.append(most_held(gateway)) or other.got, "the other user waits for nobody")
                await until(lambda: most.append(most_held(gateway)) or slow.socket.close_code, "it is closed")
                assert other.got == [5000]
                assert max(most) == 50
                assert [line["held"] for line in world.log("too_slow")] == [50]
                assert len(set(slow.got)) == 50
                assert (slow.socket.close_code, slow.messages[-1]["code"]) == (1013, 1013)
            async with client_of(world, 1) as back:
                await until(lambda: world.owed() == [], "all of it is acknowledged", within_s=60)
                assert sorted(set(back.got)) == list(range(1, 1101))

    run(story())


@pytest.mark.parametrize("world", [{"limits": {"held_per_socket": 10, "slow_after_s": 0.6}}], indirect=True)
def test_who_is_slow_but_moves_on_is_not_closed_and_gets_everything(world: World) -> None:
    world.owe(1, *range(1, 101))

    async def story() -> list[int]:
        async with gateway_in(world), client_of(world, 1, acks=False) as client:
            for number in range(100):
                await until(lambda n=number: len(client.got) > n, "the next comes")
                await client.say(type="ack", event_id=client.got[number])
                await asyncio.sleep(0.02)
            await until(lambda: world.owed() == [], "all of it is acknowledged")
            return client.got

    assert run(story()) == list(range(1, 101))


@pytest.mark.parametrize("world", [{"limits": {"held_per_socket": 10}}], indirect=True)
def test_what_is_acknowledged_while_the_store_is_read_hides_nothing_that_comes_after_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, reading = keeper.outbox.first_unacknowledged, threading.Event()

    def read_slowly(*what: Any) -> list[Notification]:
        found = read(*what)
        reading.set()
        time.sleep(0.5)
        return found

    world.owe(1, *range(1, 101))

    async def story() -> None:
        async with gateway_in(world), client_of(world, 1, acks=False) as client:
            await until(lambda: len(client.got) == 10, "there is room for no more")
            monkeypatch.setattr(keeper.outbox, "first_unacknowledged", read_slowly)
            world.redis.client_kill_filter(_type="pubsub")
            await until(reading.is_set, "after a gap it looks for what was missed")
            client.acks = True
            for event_id in client.got[:10]:
                await client.say(type="ack", event_id=event_id)
            await until(lambda: sorted(client.got) == list(range(1, 101)), "the rest comes by itself")

    run(story())


@pytest.mark.parametrize(
    "world",
    [{"limits": {"held_per_socket": 1_000_000, "slow_after_s": 1.0}, "users": {"heartbeat": "off"}}],
    indirect=True,
)
def test_who_does_not_read_at_all_is_cut_off_though_no_goodbye_gets_through(world: World) -> None:
    """So much is published that the machine's own buffers are full, and the gateway's writing stands still."""
    notes = [Notification(i, 1, f"{i:02000}", 0.0) for i in range(1, 5_001)]

    async def story() -> None:
        async with gateway_in(world) as gateway, client_of(world, 2) as other:
            deaf = socket.socket()
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect((HOST, world.config.ports.gateway))
            deaf.setblocking(False)
            async with connect(world.config.gateway_url, sock=deaf, compression=None, max_queue=1) as silent:
                await silent.send(json.dumps({"type": "hello", "token": world.token(1)}))
                await silent.recv()
                silent.transport.pause_reading()
                await asyncio.to_thread(world.publish, *notes)
                await until(lambda: gateway.hub.users == 1, "it is cut off")
                world.tell(2, 100_000)
                await until(lambda: other.got == [100_000], "the other is served")
                silent.transport.abort()
            assert [line["user_id"] for line in world.log("too_slow")] == [1]

    run(story())


@pytest.mark.parametrize("world", [{"users": {"heartbeat": "300ms"}}], indirect=True)
def test_a_socket_whose_client_is_gone_without_a_word_is_found_out(world: World) -> None:
    async def story() -> None:
        async with gateway_in(world) as gateway, client_of(world, 2) as other:
            async with client_of(world, 1, reads=False) as gone:
                # As if the network had swallowed it: nothing is read, so no ping is answered.
                gone.socket.transport.pause_reading()
                world.tell(1, 1)
                await until(lambda: gateway.hub.users == 1, "it is found out")
                gone.socket.transport.abort()
            (line,) = world.log("disconnected")
            assert (line["user_id"], line["code"], line["reason"]) == (1, 1011, "keepalive ping timeout")
            assert world.owed() == [1]
            async with client_of(world, 1) as back:
                await until(lambda: back.got == [1], "what it did not get comes again")
            assert other.socket.close_code is None

    run(story())


def test_who_acknowledges_more_than_was_sent_is_sent_away(world: World) -> None:
    async def flood(client: Client) -> None:
        with suppress(ConnectionClosed):
            while True:
                await client.say(type="ack", event_id=7)

    async def story() -> tuple[int | None, str]:
        async with gateway_in(world), client_of(world, 1) as loud, client_of(world, 2) as other:
            await flood(loud)
            world.tell(2, 1)
            await until(lambda: other.got == [1], "others are served")
            await until(lambda: loud.messages[-1]["type"] == "error", "it is told why")
            return loud.socket.close_code, loud.messages[-1]["message"]

    assert run(story()) == (4400, "more acknowledgements than notifications")


@pytest.mark.parametrize("world", [{"limits": {"slow_after_s": 60.0}, "users": {"heartbeat": "off"}}], indirect=True)
def test_stopping_does_not_wait_for_a_client_that_does_not_answer(world: World) -> None:
    async def story() -> float:
        async with gateway_in(world):
            silent = await connect(world.config.gateway_url, compression=None)
            await silent.send(json.dumps({"type": "hello", "token": world.token(1)}))
            await silent.recv()
            silent.transport.pause_reading()
            began = asyncio.get_running_loop().time()
        took_s = asyncio.get_running_loop().time() - began
        silent.transport.resume_reading()
        with pytest.raises(ConnectionClosed):
            await silent.recv()
        return took_s

    assert run(story()) < 10

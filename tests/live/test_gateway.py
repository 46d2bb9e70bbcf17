"""The gateway delivers a user's notifications to that user, until they are acknowledged."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from gateway_kit import Client, RedisServer, World, client_of, gateway_in, run, status_of, until
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tem_sim.live.ports import encoded
from tem_sim.pipeline.ports import Notification

pytestmark = pytest.mark.server


def test_what_is_published_reaches_its_user_and_nobody_else_and_is_acknowledged(
    tmp_path: Path, redis: RedisServer, shared_url: str
) -> None:
    world = World(tmp_path, shared_url, redis.url)

    async def story() -> tuple[Client, Client, Client]:
        async with (
            gateway_in(world),
            client_of(world, 1) as one,
            client_of(world, 1) as tab,
            client_of(world, 2) as two,
        ):
            assert world.tell(1, 11, 12) == 1
            world.tell(2, 21)
            world.tell(3, 31)
            await until(lambda: world.owed() == [31], "all is acknowledged that has somebody to")
            await until(lambda: tab.got == [11, 12], "the other tab has it too")
            return one, tab, two

    one, tab, two = run(story())
    assert (one.got, tab.got, two.got) == ([11, 12], [11, 12], [21])
    assert one.messages[0] == {"type": "welcome", "user_id": 1, "heartbeat_s": 20.0}
    assert one.messages[1] == {
        "type": "notification",
        "event_id": 11,
        "dedupe_key": "event-11-processed",
        "created_at": 1_700_000_011.0,
        "user_id": 1,
    }
    world.close()


def test_who_connects_gets_what_was_missed_once(world: World) -> None:
    world.owe(1, *range(1, 8))
    world.owe(2, 9)

    async def story() -> list[int]:
        async with gateway_in(world):
            async with client_of(world, 1) as client:
                await until(lambda: world.owed() == [9], "all of it is acknowledged")
            async with client_of(world, 1) as again:
                world.tell(1, 10)
                await until(lambda: again.got, "what is new comes")
                assert again.got == [10]
            return client.got

    assert run(story()) == list(range(1, 8))


def test_what_is_not_acknowledged_comes_again_on_the_next_socket(world: World) -> None:
    world.owe(1, 1, 2)

    async def story() -> None:
        async with gateway_in(world):
            async with client_of(world, 1, acks=False) as forgetful:
                await until(lambda: forgetful.got == [1, 2], "it is sent")
                await forgetful.say(type="ack", event_id=2)
                await until(lambda: world.owed() == [1], "one of them is acknowledged")
            async with client_of(world, 1) as client:
                await until(lambda: client.got == [1], "the other comes again")

    run(story())


def test_a_notification_without_a_key_is_shown_and_not_held(world: World) -> None:
    """Without an outbox nobody can tell whether it came before, and there is nothing to acknowledge."""

    async def story() -> None:
        async with gateway_in(world) as gateway, client_of(world, 1) as client:
            world.publish(Notification(5, 1, None, 0.0), Notification(5, 1, None, 0.0))
            await until(lambda: client.got == [5, 5], "it is sent as often as it is published")
            assert client.messages[-1]["dedupe_key"] is None
            await until(lambda: sum(map(len, gateway.hub)) == 0, "nothing is held")

    run(story())


def test_an_acknowledgement_counts_only_for_what_was_sent_on_this_socket(world: World) -> None:
    world.owe(1, 1)
    world.owe(2, 2)
    world.owe(3, 3)

    async def story() -> None:
        async with (
            gateway_in(world),
            client_of(world, 1, acks=False) as one,
            client_of(world, 3, acks=False) as stranger,
        ):
            await until(lambda: (one.got, stranger.got) == ([1], [3]), "each has its own")
            for event_id in (1, 2, 99, -1, 2**70):
                await stranger.say(type="ack", event_id=event_id)
            await one.say(type="ack", event_id=2)
            await stranger.say(type="ack", event_id=3)
            await until(lambda: world.owed() == [1, 2], "the stranger's own counts, and nothing else that it said")
            await one.say(type="ack", event_id=1)
            await until(lambda: world.owed() == [2], "and may acknowledge it")

    run(story())


def test_what_nobody_can_read_on_the_channel_is_passed_over(world: World) -> None:
    async def story() -> None:
        async with gateway_in(world), client_of(world, 1) as client:
            for text in ("", "{}", "[1]", "[[], [], [], []]", "\x00", '[1, [2], "k", 0]', "nonsense"):
                world.redis.publish(world.config.channel, text)
            world.redis.publish(world.config.channel, b"\xff\xfe")
            world.redis.publish(f"{world.config.channel}-other", encoded(world.notes(1, 7)[0]))
            world.tell(1, 8)
            await until(lambda: client.got, "what comes after it arrives")
            assert client.got == [8]
            assert len(world.log("unreadable")) == 8

    run(story())


@pytest.mark.parametrize("world", [{"users": {"resend_after": "400ms"}}], indirect=True)
def test_what_stays_unacknowledged_is_sent_again_on_the_same_socket_until_it_is(world: World) -> None:
    async def story() -> list[int]:
        async with gateway_in(world), client_of(world, 1, acks=False) as client:
            world.tell(1, 1, 2)
            await until(lambda: client.got[:2] == [1, 2], "both come")
            await client.say(type="ack", event_id=2)
            await until(lambda: len(client.got) >= 4, "one comes again, and again")
            await client.say(type="ack", event_id=1)
            await until(lambda: world.owed() == [], "both are acknowledged")
            count = len(client.got)
            await asyncio.sleep(1.0)
            assert len(client.got) == count
            return client.got

    got = run(story())
    assert got == [1, 2] + [1] * (len(got) - 2)


@pytest.mark.parametrize("world", [{"users": {"resend_after": "400ms"}}], indirect=True)
def test_what_was_acknowledged_on_another_socket_is_not_sent_again(world: World) -> None:
    async def story() -> None:
        async with (
            gateway_in(world) as gateway,
            client_of(world, 1, acks=False) as silent,
            client_of(world, 1) as other,
        ):
            world.tell(1, 1)
            await until(lambda: silent.got == other.got == [1], "both sockets have it")
            await until(lambda: sum(map(len, gateway.hub)) == 0, "the gateway has learnt that it is acknowledged")
            assert silent.got == [1]

    run(story())


def test_it_says_who_is_connected(world: World) -> None:
    async def story() -> None:
        async with gateway_in(world):
            assert await asyncio.to_thread(status_of, world) == {"connected": 0, "users": 0}
            async with client_of(world, 1), client_of(world, 1), client_of(world, 2):
                assert await asyncio.to_thread(status_of, world) == {"connected": 3, "users": 2}
            await until(lambda: len(world.log("disconnected")) == 3, "they are gone")
            assert await asyncio.to_thread(status_of, world) == {"connected": 0, "users": 0}
            with pytest.raises(InvalidStatus, match="404"):
                await connect(f"{world.config.gateway_url}/elsewhere")

    run(story())
    assert [line["user_id"] for line in world.log("connected")] == [1, 1, 2]


@pytest.mark.parametrize("origin", [None, "http://127.0.0.1:{port}", "http://localhost:{port}"])
def test_the_api_s_own_page_and_programs_are_let_in(world: World, origin: str | None) -> None:
    async def story() -> None:
        said = origin and origin.format(port=world.config.ports.api)
        async with gateway_in(world), client_of(world, 1, origin=said):
            pass

    run(story())


def test_pages_of_other_sites_are_not(world: World) -> None:
    async def story() -> None:
        async with gateway_in(world):
            for origin in ("http://evil.example", "null", f"https://127.0.0.1:{world.config.ports.api}"):
                with pytest.raises(InvalidStatus, match="403"):
                    await connect(world.config.gateway_url, origin=origin)

    run(story())


@pytest.mark.parametrize("world", [{"users": {"heartbeat": "200ms"}}], indirect=True)
def test_there_is_never_a_longer_silence_than_it_promised(world: World) -> None:
    async def story() -> None:
        async with gateway_in(world), client_of(world, 1) as client:
            assert client.messages[0]["heartbeat_s"] == 0.2
            await until(lambda: client.messages[1:3] == [{"type": "heartbeat"}] * 2, "a sign of life")

    run(story())


def test_when_it_is_told_to_stop_it_says_so(world: World) -> None:
    async def story() -> tuple[int | None, str | None]:
        async with gateway_in(world):
            socket = await connect(world.config.gateway_url)
            await socket.send(json.dumps({"type": "hello", "token": world.token(1)}))
            await socket.recv()
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        return socket.close_code, socket.close_reason

    assert run(story()) == (1001, "the gateway stops")

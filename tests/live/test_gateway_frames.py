"""What a stranger or a broken client may send to the gateway: it is refused with a reason, and nobody else notices."""

from __future__ import annotations

import asyncio
import json
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import jwt
import pytest
from gateway_kit import PATIENCE_S, RedisServer, SteadyLoop, World, client_of, gateway_in, run, status_of, until
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tem_sim.live.config import HOST
from tem_sim.live.gateway import server
from tem_sim.live.tokens import issue

pytestmark = pytest.mark.server


async def answers(socket: ClientConnection) -> list[dict[str, Any]]:
    """Return all that is said until the socket is closed."""
    said: list[dict[str, Any]] = []
    with suppress(ConnectionClosed):
        async with asyncio.timeout(PATIENCE_S):
            while True:
                said.append(json.loads(await socket.recv()))
    return said


async def fate(world: World, *frames: str | bytes) -> tuple[int | None, list[dict[str, Any]]]:
    """Send these frames on a new socket; return how it was closed, and what was said before."""
    async with connect(world.config.gateway_url, compression=None, max_size=None) as socket:
        try:
            for frame in frames:
                await socket.send(frame)
        except ConnectionClosed:
            pass
        said = await answers(socket)
        return socket.close_code, said


def refusals(world: World, *cases: tuple[str | bytes, ...]) -> list[tuple[int | None, list[dict[str, Any]]]]:
    async def story() -> list[tuple[int | None, list[dict[str, Any]]]]:
        async with gateway_in(world), client_of(world, 1) as other:
            found = [await fate(world, *frames) for frames in cases]
            world.tell(1, 1)
            await until(lambda: other.got == [1] and world.owed() == [], "others are served as ever")
            return found

    return run(story())


def hello(token: str) -> str:
    return json.dumps({"type": "hello", "token": token})


def test_a_token_that_proves_nothing_is_refused_with_the_reason(world: World) -> None:
    good = world.token(1)
    header, body, signature = good.split(".")
    claims = {"sub": "1", "aud": "tem-sim-live", "exp": 4e9, "op": False}
    tokens = {
        "expired": world.token(1, valid_s=-60.0),
        "other secret": issue("x" * 32, user_id=1),
        "tampered": f"{header}.{body}.{'A' * len(signature)}",
        "unsigned": jwt.encode(claims, None, "none"),
        "operator": issue(world.config.secret, user_id=None, operator=True),
        "empty": "",
        "long": "a" * 3000,
        "NUL": "\x00",
        "deep": "W1tb" * 400 + ".e30.x",
        "nonsense": "é💥.é.é",
    }
    found = dict(zip(tokens, refusals(world, *((hello(token),) for token in tokens.values())), strict=True))
    assert {name: code for name, (code, _) in found.items()} == dict.fromkeys(tokens, 4401)
    said = {name: messages[0] for name, (_, messages) in found.items()}
    assert all(message["type"] == "error" and message["code"] == 4401 for message in said.values())
    assert said["expired"]["message"] == "the token is no longer valid"
    assert said["operator"]["message"] == "an operator's token names no user, whom notifications are for"
    assert said["tampered"]["message"] == "not a token of this system"


def test_what_is_no_message_of_the_protocol_is_refused(world: World) -> None:
    first = hello(world.token(2))
    bad = [
        b'{"type":"hello","token":"binary"}',
        "",
        "\x00",
        "null",
        "[]",
        "1e999",
        '"hello"',
        "{" * 2000,
        "[" * 4000,
        '{"type":"ack","event_id":"1"}',
        '{"type":"ack","event_id":1.5}',
        '{"type":"ack","event_id":true}',
        '{"type":"ack","event_id":null}',
        '{"type":"ack","event_id":[1]}',
        '{"type":"ack"}',
        '{"type":"ack","event_id":1,"more":1}',
        '{"type":"hello","token":1}',
        '{"type":"hello","token":"\\ud800"}',
        '{"type":"welcome","user_id":1}',
        '{"type":{"a":1}}',
        '{"event_id":1}',
    ]
    before, after = bad, [first, *bad]
    found = refusals(world, *((frame,) for frame in before), *((first, frame) for frame in after))
    assert [code for code, _ in found] == [4400] * len(found)
    assert all(said[-1]["type"] == "error" and said[-1]["code"] == 4400 for _, said in found)
    assert all("ud800" not in said[-1]["message"] for _, said in found)


def test_an_acknowledgement_is_no_first_message_and_hello_no_second(world: World) -> None:
    first = hello(world.token(2))
    found = refusals(world, ('{"type":"ack","event_id":1}',), (first, first), (first, hello(world.token(1))))
    assert [(code, said[-1]["message"]) for code, said in found] == [
        (4400, "the first message must be a hello, with a token"),
        (4400, "the hello was said before"),
        (4400, "the hello was said before"),
    ]


def test_a_frame_that_is_too_big_is_not_read(world: World) -> None:
    first = hello(world.token(2))
    found = refusals(world, (hello("a" * 5_000),), (first, "x" * 5_000))
    assert [code for code, _ in found] == [1009, 1009]


def test_a_frame_that_only_says_that_it_is_huge_is_not_waited_for(world: World) -> None:
    async def story() -> int | None:
        async with gateway_in(world), connect(world.config.gateway_url) as socket:
            socket.transport.write(struct.pack("!BBQ", 0x81, 0x80 | 127, 2**40) + bytes(4))
            assert await answers(socket) == []
            return socket.close_code

    assert run(story()) == 1009


def test_who_says_nothing_is_asked_to_leave(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HELLO_WITHIN_S", 0.3)
    ((code, said),) = refusals(world, ())
    assert (code, said) == (4408, [{"type": "error", "code": 4408, "message": "no hello within 0.3 s"}])


def test_a_socket_does_not_outlive_its_token(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "LEEWAY_S", 0.0)
    ((code, said),) = refusals(world, (hello(world.token(2, valid_s=0.5)),))
    assert (code, said[-1]["message"]) == (4401, "the token is no longer valid")


@pytest.mark.parametrize("world", [{"limits": {"sockets": 3, "sockets_per_user": 1}}], indirect=True)
def test_there_is_room_for_so_many_sockets_and_no_more(world: World) -> None:
    async def story() -> list[tuple[int | None, str]]:
        found = []
        async with gateway_in(world), client_of(world, 1), connect(world.config.gateway_url):
            for user_id in (1, 2):
                code, said = await fate(world, hello(world.token(1)))
                found.append((code, said[-1]["message"]))
                async with client_of(world, user_id + 1):
                    code, said = await fate(world)
                    found.append((code, said[-1]["message"]))
                # When they are gone there is room again.
                await until(lambda n=user_id: len(world.log("disconnected")) == 3 * n, "they are gone")
        return found

    mine = (4429, "this user has 1 sockets, as many as are allowed")
    all_of_them = (4429, "the gateway has 3 sockets, as many as are allowed")
    assert run(story()) == [mine, all_of_them] * 2


def test_what_is_no_websocket_at_all_does_it_no_harm(world: World) -> None:
    junk = [
        b"\x00" * 4096,
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /" + b"a" * 20_000,
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 500 + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ]

    async def story() -> None:
        async with gateway_in(world), client_of(world, 1) as client:
            for data in junk:
                reader, writer = await asyncio.open_connection(HOST, world.config.ports.gateway)
                writer.write(data)
                await writer.drain()
                writer.write_eof()
                await asyncio.wait_for(reader.read(), PATIENCE_S)
                writer.close()
            world.tell(1, 1)
            await until(lambda: client.got == [1], "users are served")
            assert await asyncio.to_thread(status_of, world) == {"connected": 1, "users": 1}

    run(story())


# --- no sequence of frames whatever

TYPES = st.sampled_from(["hello", "ack", "welcome", "notification", "error", "", None, 1, ["ack"]])
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 30), st.integers(), st.floats(), st.text(max_size=20), st.just([[[]]])
)
MESSAGES = st.dictionaries(st.sampled_from(["token", "event_id", "user_id", "x"]), VALUES, max_size=3)
FRAMES = st.one_of(
    st.builds(lambda kind, rest: json.dumps({"type": kind, **rest}), TYPES, MESSAGES),
    st.builds(lambda event_id: json.dumps({"type": "ack", "event_id": event_id}), st.integers(0, 25)),
    st.builds(lambda event_id: json.dumps({"type": "ack", "event_id": event_id}), st.integers(0, 25)),
    st.just("HELLO"),
    st.text(max_size=50),
    st.binary(max_size=50),
)
# A frame as it is on the wire: first byte, claimed length, content; masked with zeros, as a client must.
RAW = st.builds(
    lambda first, size, data: struct.pack("!BBH", first, 0x80 | 126, size) + bytes(4) + data,
    st.integers(0, 255),
    st.integers(0, 200),
    st.binary(max_size=100),
)


def test_no_sequence_of_frames_breaks_it_or_touches_what_is_another_s(tmp_path: Path, redis: RedisServer) -> None:
    world = World(tmp_path, f"sqlite:///{tmp_path}/store.db", redis.url)
    # What is owed to the attacker's victim, and to the attacker.
    world.owe(1, *range(1, 11))
    world.owe(2, *range(11, 21))
    with asyncio.Runner(loop_factory=SteadyLoop) as runner:
        serving = gateway_in(world)
        gateway = runner.run(serving.__aenter__())

        async def attack(frames: list[str | bytes], raw: list[bytes]) -> None:
            # Where it has announced more than it sends, nobody answers its leaving.
            async with connect(world.config.gateway_url, compression=None, close_timeout=0.05) as socket:
                reading = asyncio.create_task(answers(socket))
                try:
                    for frame in frames:
                        await socket.send(hello(world.token(2)) if frame == "HELLO" else frame)
                    for data in raw:
                        socket.transport.write(data)
                except ConnectionClosed:
                    pass
                await asyncio.sleep(0.01)
                await socket.close()
                said = await reading
            assert all(message["user_id"] == 2 for message in said if "user_id" in message)
            assert socket.close_code != 1011

        @settings(max_examples=200)
        @given(st.lists(FRAMES, max_size=6), st.lists(RAW, max_size=3))
        def any_sequence(frames: list[str | bytes], raw: list[bytes]) -> None:
            runner.run(attack(frames, raw))

        async def afterwards() -> None:
            await until(lambda: not gateway.hub.connected, "the attackers are gone")
            await until(lambda: not gateway.keeper.acks_waiting, "what they have acknowledged is written")
            assert set(range(1, 11)) <= set(world.owed())
            async with client_of(world, 1) as victim:
                await until(lambda: sorted(victim.got) == list(range(1, 11)), "the victim has all of its own")
            assert [line for line in world.log("log") if line["level"] in ("ERROR", "CRITICAL")] == []

        try:
            any_sequence()
            runner.run(afterwards())
        finally:
            runner.run(serving.__aexit__(None, None, None))
            world.close()

"""A live system for whoever wants one to try things on: what it is asked to be, what it is reached by, its end."""

from __future__ import annotations

import shlex
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tem_sim.live.config import HOST, Pool, Ports
from tem_sim.live.system import System, free_ports
from tem_sim.live.tokens import issue
from tem_sim.pipeline.store import parse_url

if TYPE_CHECKING:
    from redis import Redis

    from tem_sim.live.config import LiveConfig
    from tem_sim.live.ending import Told
    from tem_sim.scenario.models import Scenario

# What runs where no scenario is named. It has to name arrivals, which nobody plays here.
DEFAULT = """\
scenario: live
about: Two workers, and nothing that goes wrong but what you do to it.
arrivals: {kind: burst, at: 0s, events: 1}
workers: {count: 2, concurrency: 2}
"""
# The user whose page is shown.
DEMO_USER = 1
_DELETED_AT_ONCE = 500


class WishError(ValueError):
    """Something that the user asked for cannot be had; the message says what to ask for instead."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a system should be. What is None is the system's own: a file, a Redis, free ports, logs that go with it."""

    scenario: Scenario
    store_url: str | None = None
    redis_url: str | None = None
    pool: Pool = "prefork"
    api_port: int | None = None
    gateway_port: int | None = None
    logs: Path | None = None

    def refuse_what_cannot_be(self) -> None:
        """Raise `WishError` or `StoreError` before anything is started."""
        if self.store_url is not None:
            parse_url(self.store_url)
        if self.redis_url is not None:
            refuse_no_redis(self.redis_url)
        for option, port in (("--api-port", self.api_port), ("--gateway-port", self.gateway_port)):
            if port is not None:
                _refuse_taken(option, port)
        if self.api_port is not None and self.api_port == self.gateway_port:
            raise WishError(f"--gateway-port: must be another than --api-port (got {self.gateway_port})")


@contextmanager
def up(wish: Wish, told: Told) -> Iterator[System]:
    """Start what is wished for, and leave nothing of it behind but a store or logs that the wish names.

    When the process is told to end before all is ready, `ToldToEnd` comes out of it. Raises
    `WishError`, `StoreError` or `NoRedisError` for what cannot be, `SystemBrokeError` for a part that does not come up.
    """
    from tem_sim.live.schema import migrate

    with told.at_once():
        wish.refuse_what_cannot_be()
    system = System(
        wish.scenario,
        store_url=wish.store_url,
        redis_url=wish.redis_url,
        pool=wish.pool,
        logs=wish.logs,
        ports=_ports(wish),
        between=told.check,
    )
    try:
        with told.at_once():
            migrate(system.config.store_url)
        with system:
            yield system
    finally:
        system.close()
        if wish.redis_url is not None:
            forget_keys(wish.redis_url, system.config.name)


@dataclass(frozen=True, slots=True)
class Access:
    """What one needs to use a system: where its parts are, and tokens for them."""

    api: str
    openapi: str
    page: str
    gateway: str
    metrics: str
    store: str
    redis: str
    logs: str
    config: str
    user_token: str
    operator_token: str
    curl: str

    @classmethod
    def of(cls, config: LiveConfig, own_redis: bool) -> Access:
        """Return what leads into a system of this config. Passwords are told of its own Redis only."""
        token = issue(config.secret, user_id=DEMO_USER)
        return cls(
            api=config.api_url,
            openapi=f"{config.api_url}/openapi.json",
            page=f"{config.api_url}/#token={token}",
            gateway=config.gateway_url,
            metrics=f"{config.api_url}/metrics",
            store=parse_url(config.store_url).render_as_string(),
            redis=config.redis_url if own_redis else _without_password(config.redis_url),
            logs=str((config.folder / "logs").resolve()),
            config=str(config.file),
            user_token=token,
            operator_token=issue(config.secret, user_id=None, operator=True),
            curl=_curl(config.api_url, token),
        )


def _curl(api_url: str, token: str) -> str:
    words = ["curl", "-sS", f"{api_url}/events", "-H", f"Authorization: Bearer {token}"]
    words += ["-H", "Idempotency-Key: first", "-H", "Content-Type: application/json"]
    return shlex.join([*words, "-d", '{"kind": "normal", "payload": {"order": 17}}'])


# --- ports


def _ports(wish: Wish) -> Ports:
    free = free_ports(3, besides=[wish.api_port, wish.gateway_port])
    return Ports(api=wish.api_port or free[0], gateway=wish.gateway_port or free[1], downstream=free[2])


def _refuse_taken(option: str, port: int) -> None:
    with socket.socket() as trial:
        # As servers do: connections that are long closed do not count.
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((HOST, port))
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise WishError(f"{option}: {why} (got {port}); give another, or none for one that is free") from error


# --- a Redis that is not its own


def refuse_no_redis(url: str) -> None:
    from redis.exceptions import RedisError

    try:
        with _client(url) as client:
            client.ping()
    except (RedisError, OSError) as error:
        why = f"cannot use {_without_password(url)}: {error}"
        raise WishError(f"--redis: {why}; start it, or leave --redis out for one of its own") from error


def forget_keys(url: str, name: str) -> None:
    """Delete what a system of this name has left in a Redis that goes on. Others' keys have other prefixes."""
    from redis.exceptions import RedisError

    try:
        with _client(url) as client:
            keys = list(client.scan_iter(f"{name}:*", count=_DELETED_AT_ONCE))
            for start in range(0, len(keys), _DELETED_AT_ONCE):
                client.delete(*keys[start : start + _DELETED_AT_ONCE])
    except (RedisError, OSError):
        # It is away, and so are they, or they are there when it is back, under a name that nobody will have again.
        return


def _client(url: str) -> Redis:
    from redis import Redis

    try:
        return Redis.from_url(url, socket_timeout=5.0, socket_connect_timeout=2.0)
    except ValueError as error:
        raise WishError(f"--redis: {error} (got {_without_password(url)})") from error


def _without_password(url: str) -> str:
    before, at, after = url.rpartition("@")
    if not at:
        return url
    scheme, _, user = before.partition("://")
    return f"{scheme}://{user.partition(':')[0]}:***@{after}"

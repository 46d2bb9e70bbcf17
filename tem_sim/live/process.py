"""What each process of a live system has for itself: its log, its connections, and its view of the pipeline."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from tem_sim.live.config import LiveConfig
from tem_sim.live.logs import Log

if TYPE_CHECKING:
    from redis import Redis

    from tem_sim.pipeline.settings import Settings
    from tem_sim.pipeline.store import Store
    from tem_sim.pipeline.tasks import Pipeline

# How long to wait for Redis, to connect and for each answer: without, a client hangs for as long as Redis does.
SOCKET_TIMEOUT_S = 2.0


@dataclass
class Process:
    """The node that this process is. Connections are opened when first used: by whom it forks, never before."""

    name: str
    config: LiveConfig

    @cached_property
    def log(self) -> Log:
        """The node's log."""
        return Log(self.config.log_file(self.name), self.name)

    @cached_property
    def settings(self) -> Settings:
        """The pipeline's settings."""
        return self.config.scenario.settings()

    @cached_property
    def store(self) -> Store:
        """The store, whose tables are there already."""
        from tem_sim.live.timed_store import TimedStore
        from tem_sim.pipeline.store import make_engine

        application = f"{self.config.name}/{self.name}"
        return TimedStore(make_engine(self.config.store_url, pre_ping=True, application=application), self.log)

    @cached_property
    def redis(self) -> Redis:
        """A client of Redis that gives up on what does not answer."""
        from redis import Redis

        return Redis.from_url(
            self.config.redis_url, socket_timeout=SOCKET_TIMEOUT_S, socket_connect_timeout=SOCKET_TIMEOUT_S
        )

    @cached_property
    def pipeline(self) -> Pipeline:
        """The pipeline with this process's ports."""
        from tem_sim.live.celery_app import make_app, wake_task
        from tem_sim.live.failpoints import failpoints
        from tem_sim.live.handler import DownstreamHandler
        from tem_sim.live.ports import CeleryBroker, RedisPublisher, WallClock
        from tem_sim.pipeline.tasks import Pipeline
        from tem_sim.scenario.streams import Streams

        return Pipeline(
            store=self.store,
            settings=self.settings,
            clock=WallClock(),
            chance=Streams(self.config.luck_seed),
            broker=CeleryBroker(wake_task(make_app(self.config)), self.log),
            publisher=RedisPublisher(self.redis, self.config.channel, self.log),
            handler=DownstreamHandler(self.config, self.log),
            failpoints=failpoints(self.config),
        )

    def warm_up(self) -> None:
        """Import and connect what the first piece of work would have to: nobody should wait for that in a run.

        What is away now is connected to when it is used.
        """
        from contextlib import suppress

        from sqlalchemy.exc import SQLAlchemyError

        from tem_sim.live.ports import CeleryBroker
        from tem_sim.pipeline.ports import Unavailable

        with suppress(SQLAlchemyError), self.pipeline.store.engine.connect():
            pass
        broker = self.pipeline.broker
        assert isinstance(broker, CeleryBroker)
        with suppress(Unavailable):
            broker.connect()

    def is_ready(self) -> None:
        """Tell the supervisor that this process does its work from now on."""
        self.log.note("ready")
        file = self.config.ready_file(self.name)
        written = file.with_name(f".{file.name}.{os.getpid()}")
        written.write_text(str(os.getpid()), encoding="utf-8")
        # At once and whole: the supervisor may look at any moment.
        written.replace(file)

"""What the API's routes work with, one per process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Protocol

from fastapi import Depends, Request
from prometheus_client import CollectorRegistry

from tem_sim.live.api.calls import StoreCalls
from tem_sim.live.api.metrics import HoldingMetrics, RequestMetrics
from tem_sim.live.api.probes import Probe
from tem_sim.live.api.standing import Standings
from tem_sim.live.celery_app import MAINTENANCE
from tem_sim.live.ids import Ids
from tem_sim.pipeline.isolation_level import IsolationLevel
from tem_sim.pipeline.ports import QUEUE
from tem_sim.pipeline.store import Store, make_engine

if TYPE_CHECKING:
    from redis import Redis

    from tem_sim.live.process import Process


class _Closes(Protocol):
    def close(self) -> None: ...


class Service:
    """The pipeline, a view of the store to read from, and who is asked for health and metrics.

    Each read is of one snapshot, and on SQLite waits for no writer.
    """

    def __init__(self, process: Process) -> None:
        self.name = process.name
        self.config = process.config
        self.limits = process.config.limits
        self.log = process.log
        self.pipe = process.pipeline
        self.new_id = Ids()
        self.reader = Store(
            make_engine(
                self.config.store_url,
                isolation=IsolationLevel.SNAPSHOT,
                pre_ping=True,
                application=f"{self.config.name}/{self.name}",
            )
        )
        self.calls = StoreCalls(self.log)
        self.probes: dict[str, Probe[object]] = {
            "store": Probe(lambda: _look(self.reader)),
            "redis": Probe(lambda: _ping(process.redis)),
        }
        self._standing = Probe(Standings(self.reader, self.pipe.clock.now))
        self._queues = Probe(lambda: _lengths(process.redis, self.config.name))
        self.registry = CollectorRegistry()
        self.metrics = RequestMetrics(self.registry)
        self.registry.register(HoldingMetrics(self._standing, self._queues))

    def close(self) -> None:
        """Let go of threads and connections; who is waiting for the store is not waited for."""
        parts: list[_Closes] = [self.calls, self._standing, self._queues, *self.probes.values()]
        for part in [*parts, self.reader, self.pipe.store]:
            part.close()


def _look(store: Store) -> None:
    """Look into a table: on SQLite a statement that needs none would not open the file."""
    with store.begin() as connection:
        connection.exec_driver_sql("SELECT event_id FROM processing_state LIMIT 1").first()


def _ping(redis: Redis) -> None:
    redis.ping()


def _lengths(redis: Redis, prefix: str) -> dict[str, int]:
    """Return how many messages wait in each queue."""
    batch = redis.pipeline(transaction=False)
    for queue in (QUEUE, MAINTENANCE):
        batch.llen(f"{prefix}:{queue}")
    return dict(zip((QUEUE, MAINTENANCE), batch.execute(), strict=True))


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Serving = Annotated[Service, Depends(_service)]

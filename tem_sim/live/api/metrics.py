"""What Prometheus is told: requests as they are counted here, and what the store and Redis hold at each scrape."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from tem_sim.live.api.probes import Probe
from tem_sim.live.api.standing import Standing
from tem_sim.pipeline.states import Cause, State

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

# From well below what a request takes to what it is given up after.
_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class RequestMetrics:
    """Counts requests."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            *("tem_api_requests", "Requests answered, by method, route and code."),
            labelnames=("method", "route", "code"),
            registry=registry,
        )
        self._seconds = Histogram(
            *("tem_api_request_duration_seconds", "How long requests took, by route."),
            labelnames=("route",),
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self.in_progress = Gauge("tem_api_requests_in_progress", "Requests not answered yet.", registry=registry)

    def count(self, method: str, route: str, code: int, took_s: float) -> None:
        """Count one."""
        self._requests.labels(method, route, str(code)).inc()
        self._seconds.labels(route).observe(took_s)


class HoldingMetrics(Collector):
    """Tells what the store and Redis hold; of one that cannot be asked it only tells that."""

    def __init__(self, store: Probe[Standing], queues: Probe[dict[str, int]]) -> None:
        self._store = store
        self._queues = queues

    def collect(self) -> Iterator[Metric]:
        """Ask both."""
        standing = self._store.try_ask()
        yield GaugeMetricFamily("tem_store_up", "Whether the store answers.", value=standing is not None)
        if standing is not None:
            yield from _of_store(standing)
        lengths = self._queues.try_ask()
        yield GaugeMetricFamily("tem_redis_up", "Whether Redis answers.", value=lengths is not None)
        if lengths is not None:
            waiting = GaugeMetricFamily("tem_queue_length", "Messages that wait in a queue.", labels=["queue"])
            for queue, length in lengths.items():
                waiting.add_metric([queue], length)
            yield waiting


def _of_store(standing: Standing) -> Iterator[Metric]:
    events = GaugeMetricFamily("tem_events", "Events by state.", labels=["state"])
    for state in State:
        events.add_metric([state], standing.states[state])
    yield events
    moves = CounterMetricFamily("tem_transitions", "Moves of events, by cause.", labels=["cause"])
    for cause in Cause:
        moves.add_metric([cause], standing.causes[cause])
    yield moves
    retries, expired = standing.causes[Cause.RETRY], standing.causes[Cause.RESCUE] + standing.causes[Cause.CRASHED]
    yield CounterMetricFamily("tem_retries", "Failed events queued again.", value=retries)
    yield CounterMetricFamily("tem_leases_expired", "Events taken back from lost workers.", value=expired)
    for name, text, value in (
        ("leases_overdue", "Events whose lease is over, and that nobody took back yet.", standing.overdue_leases),
        ("oldest_due_age_seconds", "How long ago the FAILED event that is due longest was due.", standing.due_age_s),
        ("oldest_queued_age_seconds", "How long the QUEUED event that waits longest has.", standing.queued_age_s),
        ("outbox_unpublished", "Notifications that no gateway was given yet.", standing.unpublished),
        ("outbox_unacknowledged", "Notifications that their users' clients do not have yet.", standing.unacknowledged),
    ):
        yield GaugeMetricFamily(f"tem_{name}", text, value=value)

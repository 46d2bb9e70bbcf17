"""One measurement: how much was done, and what it took."""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field


@dataclass(slots=True)
class Measurement:
    """`count` attempts (or customers, or rows) took this much CPU time, user and system, and this much wall time."""

    name: str
    count: int
    cpu_s: float
    wall_s: float
    peak_mb: float = 0.0
    more: dict[str, float] = field(default_factory=dict)

    @property
    def us_each(self) -> float:
        """CPU microseconds per attempt."""
        return self.cpu_s / self.count * 1e6

    def to_json(self) -> dict[str, object]:
        """Return the fields, ready for `json.dumps`."""
        return asdict(self)


@dataclass(slots=True)
class Watch:
    """What passed inside a `with timed()` block, in seconds."""

    cpu_s: float = 0.0
    wall_s: float = 0.0


@contextmanager
def timed() -> Iterator[Watch]:
    """Measure the block. Garbage of what came before is collected first; the collector stays on, as it is for users."""
    watch = Watch()
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    yield watch
    watch.cpu_s, watch.wall_s = time.process_time() - cpu, time.perf_counter() - wall


def peak_mb() -> float:
    """Return this process's peak resident memory in MB (10^6 bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6

"""The numbers that sum a run up, each with its unit and its definition in one line."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from html import escape
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tem_sim.analysis.backlog import span_recovery
from tem_sim.analysis.counted import database_per_event, rejected_submissions
from tem_sim.analysis.delivery import deliveries, duplicate_effects
from tem_sim.analysis.duty import full_tick_share, scheduler_lag_s
from tem_sim.analysis.history import history
from tem_sim.analysis.latency import latencies, percentile
from tem_sim.analysis.rules import rules
from tem_sim.analysis.stays import longest_stay_s
from tem_sim.analysis.storm import (
    WASTED,
    amplification,
    extinct_rate,
    index_of_dispersion,
    retry_peak_per_s,
    storm_factor,
    wasted_work,
)
from tem_sim.analysis.stuck import OPEN, in_flight

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.frames import Run


class Metric(NamedTuple):
    """One number of a run; NaN where it does not exist."""

    of: Callable[[Run], float]
    unit: str
    about: str


class Metrics(dict[str, float]):
    """A run's metrics by name; a notebook shows each with its unit and what it is."""

    def __repr__(self) -> str:
        return "\n".join(f"{name:24} {value:>12}  {about}" for name, value, about in self._rows())

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td style='text-align:left'><b>{name}</b></td><td>{value}</td>"
            f"<td style='text-align:left'>{escape(about)}</td></tr>"
            for name, value, about in self._rows()
        )
        return f"<table>{rows}</table>"

    def _rows(self) -> Iterator[tuple[str, str, str]]:
        """Yield each metric's name, its value with its unit, and what it is."""
        for name, value in self.items():
            unit = "" if METRICS[name].unit == "1" else f" {METRICS[name].unit}".replace(" 1/", "/")
            digits = ",.0f" if abs(value) >= 1000 or value.is_integer() else ".3g"
            yield name, "n/a" if math.isnan(value) else f"{value:{digits}}{unit}", METRICS[name].about


def metrics(run: Run) -> Metrics:
    """Return every metric of the run, in display order; NaN where one does not exist."""
    return Metrics((name, float(metric.of(run))) for name, metric in METRICS.items())


def _in_state(*states: str) -> Callable[[Run], float]:
    return lambda run: int(run.events["status"].isin(states).sum())


def _latency(percent: float, column: str = "processed_s") -> Callable[[Run], float]:
    return lambda run: percentile(latencies(run)[column].dropna().to_numpy(), percent)


def _fate(name: str) -> Callable[[Run], float]:
    return lambda run: int((_deliveries(run)["fate"] == name).sum())


def _deliveries(run: Run) -> pd.DataFrame:
    return deliveries(run, rules(run).settings.outbox)


def lost_events(run: Run) -> int:
    """Return how many events the log saw submitted and the store no longer has."""
    past = history(run)
    return int((~np.isin(past.ids[past.event[past.first]], run.events["event_id"].to_numpy())).sum())


METRICS: dict[str, Metric] = {
    "events": Metric(lambda run: len(run.events), "1", "events accepted"),
    "attempts": Metric(lambda run: len(run.attempts), "1", "claims, whatever became of them"),
    "retries": Metric(lambda run: int((run.attempts["attempt_no"] > 1).sum()), "1", "attempts after an event's first"),
    "processed": Metric(_in_state("PROCESSED"), "1", "events PROCESSED at the end"),
    "extinct": Metric(_in_state("EXTINCT"), "1", "events EXTINCT at the end"),
    "in_flight": Metric(_in_state(*OPEN), "1", "events QUEUED, PROCESSING or FAILED at the end"),
    "amplification": Metric(amplification, "1", "attempts / events"),
    "retry_peak_per_s": Metric(retry_peak_per_s, "1/s", "most retries started in any 1 s bin"),
    "storm_factor": Metric(storm_factor, "1", "retry peak / mean retry rate from the first retry to the last"),
    "index_of_dispersion": Metric(
        index_of_dispersion, "1", "variance / mean of the retries per second; 1 for a random stream"
    ),
    "drain_s": Metric(
        lambda run: span_recovery(run)[0],
        "s",
        "last fault's end until the backlog is first back at its level before",
    ),
    "recovery_s": Metric(
        lambda run: span_recovery(run)[1],
        "s",
        "last fault's end until the backlog last leaves the time above its band",
    ),
    "latency_p50_s": Metric(_latency(50), "s", "submit to PROCESSED, median; from 2 events on"),
    "latency_p95_s": Metric(_latency(95), "s", "submit to PROCESSED, 95th percentile; from 20 events on"),
    "latency_p99_s": Metric(_latency(99), "s", "submit to PROCESSED, 99th percentile; from 100 events on"),
    "latency_p999_s": Metric(_latency(99.9), "s", "submit to PROCESSED, 99.9th percentile; from 1,000 events on"),
    "delivery_p95_s": Metric(
        _latency(95, "delivered_s"), "s", "submit to the user's socket, 95th percentile; from 20 on"
    ),
    "extinct_rate": Metric(extinct_rate, "1", "part of the events that ended EXTINCT"),
    "lost_events": Metric(lost_events, "1", "events that were accepted and are gone from the store"),
    "rejected_submissions": Metric(rejected_submissions, "1", "events that clients offered and the API never took"),
    "queue_age_peak_s": Metric(
        lambda run: longest_stay_s(run, "QUEUED", "RETRY"), "s", "the longest that a row waited QUEUED for a worker"
    ),
    "scheduler_lag_p95_s": Metric(
        scheduler_lag_s, "s", "retry due to requeued by the scheduler, 95th percentile; from 20 retries on"
    ),
    "full_tick_share": Metric(full_tick_share, "1", "part of the scheduler's ticks with work that met requeue_limit"),
    "statements_per_event": Metric(database_per_event, "1", "statements that the database was asked, per event"),
    "stuck_rows": Metric(
        lambda run: int(in_flight(run)["stuck"].sum()),
        "1",
        "rows in flight for longer than lease and sweep allow",
    ),
    "duplicate_effects": Metric(duplicate_effects, "1", "side effects applied again for an event that had its own"),
    "lost_notifications": Metric(_fate("lost"), "1", "PROCESSED events whose user was not told and will not be"),
    "duplicate_notifications": Metric(
        lambda run: int((_deliveries(run)["shown"] - 1).clip(lower=0).sum()),
        "1",
        "times a user was told again",
    ),
    "wasted_attempts": Metric(
        lambda run: int(run.attempts["outcome"].isin(WASTED).sum()),
        "1",
        "attempts that failed, or whose work was lost",
    ),
    "wasted_worker_s": Metric(
        lambda run: float(wasted_work(run)["worker_s"].sum()), "s", "worker time in wasted attempts"
    ),
}

"""Metrics for people: a value with its unit, or why there is none."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tem_sim.analysis.metrics import METRICS

if TYPE_CHECKING:
    from tem_sim.frames import Run


def value_text(name: str, value: float) -> str:
    """Return a metric's value with its unit, `n/a` for NaN."""
    if math.isnan(value):
        return "n/a"
    unit = METRICS[name].unit
    if unit == "s":
        return duration(value)
    return plain(value) + ("" if unit == "1" else unit.replace("1/", "/"))


def plain(value: float) -> str:
    """Return a number as people write it: whole ones in full, others to three digits: `10,000`, `5.53`, `0.012`."""
    if not math.isfinite(value):
        return str(value)
    return f"{value:,.0f}" if float(value).is_integer() else _digits(value)


def duration(seconds: float) -> str:
    """Return a duration to about three digits: `850 µs`, `20.3 ms`, `75.2 s`, `12 min 5 s`, `3 h 20 min`."""
    size = abs(seconds)
    if size >= 7200:
        minutes = round(seconds / 60)
        return f"{minutes // 60:,} h {minutes % 60} min"
    if size >= 600:
        whole = round(seconds)
        return f"{whole // 60} min {whole % 60} s"
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if size * factor >= 1 or not size:
            return f"{_digits(seconds * factor)} {unit}"
    return f"{_digits(seconds * 1e6)} µs"


def _digits(value: float) -> str:
    """Return three digits, and from 100 on all that are before the point: `:.3g` alone would write 1e+03 for 999.7."""
    return f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:.3g}"


def seconds_text(seconds: float) -> str:
    """Return seconds for a table whose unit is seconds: three digits, and whole from 100 on."""
    return f"{seconds:.0f}" if seconds >= 99.95 or float(seconds).is_integer() else f"{seconds:.3g}"


def why_missing(name: str, run: Run) -> str:
    """Say why a metric has no value in this run."""
    if run.events.empty:
        return "no events"
    if name.startswith("latency"):
        return f"too few: {int((run.events['status'] == 'PROCESSED').sum()):,} events PROCESSED"
    if name.startswith("delivery"):
        return f"too few: {int(run.notifications['delivered_s'].notna().sum()):,} events shown to their user"
    if name in _ABOUT_RETRIES:
        return _why_no_number_of_retries(name, run)
    if name == "statements_per_event":
        return "the run did not count them"
    if name in ("drain_s", "recovery_s"):
        return _why_no_recovery(run)
    return METRICS[name].about


_ABOUT_RETRIES = ("storm_factor", "index_of_dispersion", "scheduler_lag_p95_s", "full_tick_share")


def _why_no_number_of_retries(name: str, run: Run) -> str:
    if name == "scheduler_lag_p95_s":
        return f"too few: {int((run.transitions['cause'] == 'retry').sum()):,} retries requeued"
    if not (run.attempts["attempt_no"] > 1).any():
        return "no retries"
    return "all retries within one second" if name == "index_of_dispersion" else "the scheduler requeued nothing"


def _why_no_recovery(run: Run) -> str:
    landed = run.faults[run.faults["landed"] > 0]
    if landed.empty:
        return "no fault landed"
    if bool((landed["end_s"].fillna(run.end_s) >= run.end_s).any()):
        return "the faults last to the run's end"
    return "the backlog never came back to its level before the fault"

"""A sweep small enough to be run many times in a test: 20 events meet an outage of 4 s, in four cells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from tem_sim.sweeps.run import sweep
from tem_sim.sweeps.sweep import Sweep

TINY = """\
scenario: tiny
horizon: 2m
seeds: 2
arrivals: {kind: poisson, rate: 20/s, until: 1s}
pipeline: {backoff: {growth: exponential, base: 1s, jitter: full, max_retries: 8}}
workers: {count: 1, concurrency: 4}
users: {count: 3}
faults: [{kind: outage, at: 0s, for: 4s}]
thresholds: {amplification: max<9, latency_s: {threshold: p(50)<1s, strict: false}}
matrix:
  pipeline.backoff.base: [1s, 2s]
  pipeline.backoff.jitter: [none, full]
"""


# The same without its matrix, and half of it.
ONE = TINY.partition("matrix:")[0]
TWO = TINY.replace("[none, full]", "[full]")


def tiny(folder: Path, *settings: str, text: str = TINY, **more: Any) -> Sweep:
    """Run the tiny sweep in this process."""
    file = folder / "tiny.yaml"
    file.write_text(text, encoding="utf-8")
    return sweep(file, settings, **{"jobs": 1, **more})


def lasting(found: Sweep) -> pd.DataFrame:
    """Return the rows without how long they took, which is all that may differ."""
    return found.rows.drop(columns="seconds")

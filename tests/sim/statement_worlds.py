"""Worlds whose transactions are taken apart, on each store that can do so."""

from __future__ import annotations

from typing import Any

import pandas as pd
from sim_worlds import scenario

from tem_sim.frames import Run
from tem_sim.sim.world import simulate

LEASED = {"lease": "5s", "sweep_after": "5s", "batch_size": 5}


def run_apart(url: str, **sections: Any) -> Run:
    """Simulate the base scenario with these sections under interleave: statement, leased and swept."""
    sections["store"] = {"interleave": "statement", **sections.get("store", {})}
    sections["pipeline"] = {**LEASED, **sections.get("pipeline", {})}
    sections.setdefault("arrivals", {"kind": "poisson", "rate": "10/s", "until": "8s"})
    return simulate(scenario(**sections), store=url)


def errors(of: Run, kind: str = "statement") -> pd.Series[Any]:
    """Return the errors that steps of a kind were answered with, by step."""
    told = of.steps.loc[(of.steps["kind"] == kind) & (of.steps["error"].astype(str) != "")]
    return told.set_index("step")["error"].astype(str)


def gauge(of: Run, name: str) -> float:
    """Return the last value of a sample, 0 where there is none."""
    values = of.samples.loc[of.samples["name"] == name, "value"]
    return float(values.iloc[-1]) if len(values) else 0.0


def is_whole(of: Run) -> bool:
    """Whether every event was taken in, is PROCESSED, and was shown to its user once."""
    told = of.notifications
    return bool(
        gauge(of, "submissions_accepted") == gauge(of, "submissions_offered") == len(of.events)
        and (of.events["status"] == "PROCESSED").all()
        and len(told) == len(of.events)
        and (told["shown"] == 1).all()
    )

"""Where to find every formula, each with its source in its docstring; what stands in for a simulation, and checks it.

The formulas live with their subject: a policy's own numbers in `retry_theory`, outages in `outage_theory`, piles of
retries in `burst_theory`, steady queues in `queue_theory`, collapse in `mean_field`. `studies.validation` holds the
simulator against them.
"""

from tem_sim.analysis.burst_theory import (
    expected_max,
    expected_tick_burst,
    mean_largest_tick_share,
    uniform_shares,
)
from tem_sim.analysis.mean_field import (
    Downstream,
    collapses,
    downstream_of,
    hidden_capacity_per_s,
    mean_field,
    regime,
    tipping_outage_s,
)
from tem_sim.analysis.outage_theory import Estimates, equal_points, extinct_in_outage
from tem_sim.analysis.queue_theory import (
    MMc,
    RetryQueue,
    drain_s,
    erlang_b,
    erlang_c,
    little_rows,
    little_time_s,
)
from tem_sim.analysis.retry_theory import (
    Horizon,
    attempts_per_event,
    decorrelated_mass_at_cap,
    decorrelated_mean_s,
    delay_moments,
    layered_attempts,
    p_extinct,
    retry_horizon,
)

__all__ = [
    "Downstream",
    "Estimates",
    "Horizon",
    "MMc",
    "RetryQueue",
    "attempts_per_event",
    "collapses",
    "decorrelated_mass_at_cap",
    "decorrelated_mean_s",
    "delay_moments",
    "downstream_of",
    "drain_s",
    "equal_points",
    "erlang_b",
    "erlang_c",
    "expected_max",
    "expected_tick_burst",
    "extinct_in_outage",
    "hidden_capacity_per_s",
    "layered_attempts",
    "little_rows",
    "little_time_s",
    "mean_field",
    "mean_largest_tick_share",
    "p_extinct",
    "regime",
    "retry_horizon",
    "tipping_outage_s",
    "uniform_shares",
]

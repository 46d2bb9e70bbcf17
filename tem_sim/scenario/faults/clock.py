"""What goes wrong with a clock."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tem_sim.scenario.faults.base import CLOCKED, Window
from tem_sim.scenario.quantities import Drift, SignedDuration


class ClockSkew(Window):
    """A node's clock is off by a constant, and by a drift that grows."""

    kind: Literal["clock_skew"] = "clock_skew"
    target: str = Field(description="Whom it strikes: a node, `workers`, or `*` for every node with a clock.")
    skew_s: SignedDuration = Field(0.0, alias="skew", description="How far ahead the clock is; negative for behind.")
    drift: Drift = Field(0.0, description="How fast it runs away besides: `50ppm`, or a number of seconds per second.")

    shade: ClassVar[str] = "rosybrown"
    strikes: ClassVar[tuple[str, ...]] = CLOCKED

    def describe(self) -> str:
        """Say the fault in one line."""
        drift = f", drifting {self.drift * 1e6:+g} ppm" if self.drift else ""
        return f"the clock of {self.target} is off by {self.skew_s:+g} s{drift} {self.when()}"

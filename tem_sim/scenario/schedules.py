"""Who goes on when several threads could: by latencies, by a strategy, or by a schedule that is data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from tem_sim.scenario.base import Broken, Model, broken_rules
from tem_sim.scenario.quantities import Count, PositiveCount


class RandomSchedule(Model):
    """Each statement, commit and connection takes its latency, and whose is over goes on."""

    strategy: Literal["random"] = "random"


class WalkSchedule(Model):
    """At each step any of the threads that could go on, all equally likely."""

    strategy: Literal["walk"] = "walk"


class PctSchedule(Model):
    """The thread of the highest priority, priorities drawn by lot (PCT); at some steps the running thread's is lowered.

    A bug that needs `changes` + 1 orderings to come about is hit with a probability of at least
    1 / (threads · `within` ^ `changes`) in each run (Burckhardt et al. 2010).
    """

    strategy: Literal["pct"] = "pct"
    changes: Count = Field(2, description="At how many steps the running thread is put last.")
    within: PositiveCount = Field(1000, description="Those steps are among the first so many.")


class BoundedSchedule(Model):
    """Each thread as long as it can go on, but for a few steps at which another one is preferred.

    Which steps and which thread is drawn by lot: one schedule per run, and no search of them all.
    """

    strategy: Literal["bounded"] = "bounded"
    deviations: Count = Field(2, description="At how many steps, at most, another thread goes on.")
    within: PositiveCount = Field(
        1000, description="Those steps are among the first so many at which another one could."
    )


def _of_steps(given: object) -> object:
    """Refuse deviations at what is no step; what is no mapping at all is refused later."""
    keys = given if isinstance(given, Mapping) else ()
    wrong = [str(key) for key in keys if not str(key).isdecimal()]
    if wrong:
        rule = (
            f"must have whole numbers >= 0, the steps, as its keys, such as {{12: worker-2/0}}; not {', '.join(wrong)}"
        )
        raise broken_rules("schedule", [Broken((), rule, None)])
    return given


class ReplaySchedule(Model):
    """The schedule that a run has noted: each thread as long as it can go on, but at the steps named here."""

    strategy: Literal["replay"] = "replay"
    deviations: Annotated[dict[int, str], BeforeValidator(_of_steps)] = Field(
        default_factory=dict, description="Step to the thread that goes on there: `{12: worker-2/0}`."
    )


Schedule = Annotated[
    RandomSchedule | WalkSchedule | PctSchedule | BoundedSchedule | ReplaySchedule, Field(discriminator="strategy")
]

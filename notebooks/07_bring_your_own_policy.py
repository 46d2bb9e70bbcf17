# %% [markdown]
# # Bring your own policy
#
# **The question.** Our retries follow a rule of our own. How does it compare with what other systems do, before we
# ship it?
#
# **The answer.** Three ways in, one protocol behind them: compose it of a growth, a jitter and a cap; take another
# system's by its name; or write a function or a class, and name it in a scenario. All are drawn, checked and
# simulated alike. Two rules are tried here. One, a floor of five seconds with jitter on top, is quicker than plain
# full jitter over the same outage, no harder on the downstream, and needs fewer attempts. The other was meant to be
# much the same and turns out to have no jitter at all in its first retry.
#
# Composed, and by name:

# %%
from tem_sim import jitter_study
from tem_sim.pipeline.backoff import Backoff, Exponential, Full
from tem_sim.plots.jitter import jitter_panels

full = Backoff(Exponential(2.0), Full(), cap_s=60.0, max_retries=5, name="full")
panels = jitter_panels(jitter_study([full, "aws-full", "celery-autoretry"], n=10_000))

# %% [markdown]
# Other systems' policies come with their quirks: Celery's draws whole seconds, and gives up after three retries
# unless it is told otherwise. `tem-sim policies` lists them, each with its source. A policy says what it does:

# %%
from tem_sim import delay_table
from tem_sim.pipeline.backoff import describe

describe(full)

# %%
import pandas as pd

pd.DataFrame(delay_table(full, 5)).round(2)


# %% [markdown]
# ## A rule of your own
#
# The quickest way in is a function of the retry number and a source of chance:


# %%
def patient(retry, rng):
    """Wait at least as long as the outage of a deploy takes, then spread."""
    return 5.0 + rng.uniform(0, min(60.0, 2.0 * 2 ** (retry - 1)))


# %% [markdown]
# A class can say more. Whoever says how each delay is distributed (`spread`) gets the rest of the protocol from
# `Drawn`: draws one by one and by the million, exact moments, chains, giving up.

# %%
from dataclasses import dataclass

from tem_sim.pipeline.backoff import Drawn
from tem_sim.pipeline.spread import Uniform


@dataclass(frozen=True)
class Floored(Drawn):
    """Full jitter that never retries sooner than a floor: U(floor, max(floor, min(cap, base·2^(k−1))))."""

    base_s: float = 2.0
    floor_s: float = 3.0
    cap_s: float = 60.0
    max_retries: int | None = 10
    budget_s: float | None = None
    name: str = "floored"

    @property
    def formula(self):
        return f"U({self.floor_s:g}, max({self.floor_s:g}, min({self.cap_s:g}, {self.base_s:g}·2^(k−1))))"

    def spread(self, retry, previous_s=None):
        high_s = max(self.floor_s, min(self.cap_s, self.base_s * 2.0 ** (retry - 1)))
        return Uniform(self.floor_s, high_s - self.floor_s)


floored = Floored()
describe(floored)

# %% [markdown]
# Is it what it claims to be? Its delays against its own law, with the same test that the built-in ones have to pass:

# %%
from tem_sim.analysis.delay_fit import delay_fit
from tem_sim.plots.jitter import delay_ecdf

fit = delay_fit(floored, retries=5)
assert not fit.table["refused"].any()
ax = delay_ecdf(floored, retries=5)

# %% [markdown]
# The first two retries wait exactly three seconds: where the floor is above what the growth allows, nothing is left
# to jitter. That may not be what was meant. A picture shows it at once; a list of means would not.
#
# ## In the pipeline
#
# A scenario names code by its import path, `module:name`. A notebook's own cells are the module `__main__`; for the
# command line put the class into a file, and name that. Here they meet a downstream of limited capacity, in one
# outage, under five seeds; each run is held against one without the outage.

# %%
from tem_sim import bakeoff
from tem_sim.scenario.variants import scenario_with
from tem_sim.studies.knobs import small_storm

storm = scenario_with(
    small_storm(),
    "arrivals=[{kind: poisson, rate: 6/s, from: 0s, until: 20s}]",
    "handler.capacity={servers: 1, queue: 10, timeout: 400ms}",
    "beat.relay_every=5s",
    "pipeline.backoff.max_retries=10",
)
entrants = {
    "no jitter": "{growth: exponential, base: 2s, cap: 60s, max_retries: 10}",
    "patient": "{import: '__main__:patient', max_retries: 10}",
    "floored": "{import: '__main__:Floored', max_retries: 10}",
}
race = bakeoff(storm, entrants, seeds=5, jobs=1)
race

# %%
from tem_sim.plots.bakeoff import pareto

ax = pareto(race.table)

# %%
from IPython.display import Markdown

table = race.table.set_index("policy")
ours, plain = table.loc["patient"], table.loc["this scenario"]
assert (table["extinct_share"] == 0).all()
assert "patient" in plain["beaten_by"]
assert table["attempts_per_event"].idxmin() == "patient"

Markdown(
    f"""
No policy loses an event. The function of two lines is on the front: {ours["added_latency_s"]:.1f} s of added latency
where the scenario's own full jitter has {plain["added_latency_s"]:.1f}, a peak of {ours["peak_per_s"]:.0f} calls a
second after the outage instead of {plain["peak_per_s"]:.0f}, and {ours["attempts_per_event"]:.1f} attempts per event
instead of {plain["attempts_per_event"]:.1f}. It does not spend its first retries on a downstream that cannot be back
yet. **Read the crosses, not the dots:** with five seeds the others overlap.
"""
)

# %% [markdown]
# ## Try next
#
# * `Floored(base_s=6.0)`, or draw above the floor instead of up to the cap: when is the first retry spread as well?
# * A library's own object is a policy, too: `Backoff.from_object(tenacity.wait_random_exponential(max=60))`, likewise
#   Celery tasks, urllib3's `Retry`, stamina, backoff, botocore. [docs/bring_your_own.md](../docs/bring_your_own.md)
#   has the list.
# * `bakeoff(storm)` without a list: every preset there is, some minutes.

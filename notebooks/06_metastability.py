# %% [markdown]
# # Metastability: the storm that outlives its cause
#
# **The question.** The outage is over and the downstream has room to spare. Can the retries alone keep it down? From
# which load and which length of outage on? And what would have prevented it?
#
# **The answer.** Yes. Calls that have waited too long are given up by their callers and served all the same, for
# nobody; each is then retried. Once that is all the downstream does, the retries sustain themselves, for good. It
# takes a load well below capacity and an outage that is long enough. Below the *hidden capacity*, capacity divided by
# attempts per event, it cannot happen at all: fewer retries are what buys safety.

# %%
from pathlib import Path

from tem_sim import attempts_per_second, load, simulate

scenarios = Path("../scenarios") if Path("../scenarios").is_dir() else Path("scenarios")
run = simulate(load(scenarios / "metastable.yaml", ["horizon=40s"]))
ax = attempts_per_second(run)

# %% [markdown]
# 12 events a second arrive on average, and the dashed line is what the downstream can serve. The outage lasts from
# second 15 to
# 23. What follows is not the backlog of the outage being worked off; it goes on for as long as one looks.

# %%
from IPython.display import Markdown

LATE_S = (28, 40)
done = run.events.loc[run.events["status"] == "PROCESSED", "finished_s"]
arriving = run.events["submitted_s"].between(2, 15).sum() / 13
before, after = done.between(2, 15).sum() / 13, done.between(*LATE_S).sum() / 12
tried, served = (run.attempts[name].between(*LATE_S).sum() / 12 for name in ("started_s", "effect_s"))
assert before > 0.95 * arriving
assert after < 0.2 * before
assert served > 15

Markdown(
    f"""
Before the outage {before:.1f} events a second were PROCESSED, as many as arrived in those seconds ({arriving:.1f}).
From second {LATE_S[0]} to {LATE_S[1]}, when it is long over, it is **{after:.1f}**. The downstream is not idle then: it
serves {served:.0f} calls a second, all that it can, out of {tried:.0f} that are tried, and nearly every one for a
caller who has given up.
"""
)

# %% [markdown]
# ## Two ways to live
#
# The same system, one server instead of two to save time, at a load of 0.55. As a path through the plane of *backlog*
# and *retries in flight*: without an outage it stays in its corner. A short outage throws it out and it finds its way
# back. A long one throws it across the ridge, and it settles somewhere else.

# %%
from tem_sim.plots.metastability import phase_portrait
from tem_sim.scenario.variants import scenario_with
from tem_sim.studies.metastability import phase_paths

small = scenario_with(
    load(scenarios / "metastable.yaml"),
    "handler.capacity={servers: 1, queue: 50, timeout: 1s}",
    "workers.concurrency=32",
    "beat.relay_every=5s",
    "faults[0].at=3s",
)
paths = phase_paths(small, load=0.55, outages_s=(2.0, 8.0), persist_s=20)
ax = phase_portrait(paths)

# %% [markdown]
# ## Where the edge is
#
# Three loads, two outages, five seeds. Each run is judged beside a control run of the same load and luck without an
# outage, in a window long after the outage: collapsed is what does less than half of the control's useful work in
# both halves of it.

# %%
from tem_sim import metastability
from tem_sim.plots.metastability import collapse_map

study = metastability(small, loads=(0.4, 0.55, 0.7), outages_s=(2.0, 5.0), seeds=5, persist_s=15, jobs=1)
ax = collapse_map(study.table)

# %%
study

# %%
cells = study.table.set_index(["load", "outage_s"])
assert cells.loc[(0.4, 2.0), "collapsed"] == 0
assert cells.loc[(0.7, 5.0), "collapsed"] == 5
assert cells.loc[(0.55, 5.0), "collapsed"] > cells.loc[(0.55, 2.0), "collapsed"]
assert study.hidden_capacity_per_s == study.capacity_per_s / 5

Markdown(
    f"""
At a load of 0.7 an outage of 5 s is enough ({cells.loc[(0.7, 5.0), "collapsed"]:.0f} of 5 runs), at 0.4 one of 2 s is
not ({cells.loc[(0.4, 2.0), "collapsed"]:.0f} of 5). **None of these loads is near capacity.** With five seeds the
intervals are wide: 0 of 5 leaves room for {cells.loc[(0.4, 2.0), "p_high"]:.0%}. The blue line is where the mean field
tips, a calculation without chance. The hidden capacity is {study.hidden_capacity_per_s:g} events a second, a load of
{study.hidden_capacity_per_s / study.capacity_per_s:g}: with four retries an event may cost five calls, and below
that load even five calls for each fit in.
"""
)

# %% [markdown]
# ## What would have prevented it
#
# The load of 0.55 and the outage of 5 s again, with one thing changed at a time. Up again is a run that does, from
# second 13 to 21, at least half of what arrives.

# %%
import pandas as pd

from tem_sim import replicate
from tem_sim.analysis.statistics import wilson
from tem_sim.plots.intervals import intervals
from tem_sim.scenario.variants import variants, with_outage

SEEDS, RATE_PER_S = 5, 5.5
collapsing = scenario_with(
    with_outage(small, 5.0), f"arrivals=[{{kind: poisson, rate: {RATE_PER_S}/s}}]", "horizon=21s"
)
changes = {
    "as it is": [],
    "full jitter": "pipeline.backoff.jitter=full",
    "one retry instead of four": "pipeline.backoff.max_retries=1",
    "a budget: one retry per ten events": "pipeline.retry_budget={ratio: 0.1, floor: 0.1/s, burst: 5}",
    "a queue of 8 instead of 50": "handler.capacity.queue=8",
}


def goodput(run):
    """Return what was PROCESSED per second in the last eight seconds."""
    done = run.events.loc[run.events["status"] == "PROCESSED", "finished_s"]
    return {"goodput_per_s": (done >= 13).sum() / 8}


remedies = replicate(variants(collapsing, changes), SEEDS, measure=goodput, jobs=1)
up = {name: int((remedies.values(name, "goodput_per_s") >= RATE_PER_S / 2).sum()) for name in changes}
shares = pd.DataFrame([wilson(runs, SEEDS) for runs in up.values()]).assign(change=list(up))
ax = intervals(shares, by="change", value="estimate", title=f"share of runs that are up again, of {SEEDS}")

# %%
assert up["as it is"] <= 1
assert up["full jitter"] == up["as it is"]
assert all(up[name] == SEEDS for name in list(changes)[2:])

Markdown(
    """
Jitter does not help: the retries that keep it down are spread evenly already, there are simply too many of them. What
helps is *fewer retries* for each event, or *fewer calls that are served for nobody*: a queue that is no longer than
what can be served before callers give up. A budget keeps four retries for the single event that needs them and takes
them away from the crowd.
"""
)

# %% [markdown]
# ## Try next
#
# * A finer map, with more seeds: `metastability(small, loads=(0.3, 0.4, 0.5, 0.6, 0.7, 0.8), outages_s=(1, 2, 4, 8),
#   seeds=10)`; some minutes on two cores, with a bar.
# * `handler.capacity.timeout=5s`: callers with more patience than the queue is long. Does it still collapse?
# * Your own: `tem-sim init`, then a `handler.capacity` with your downstream's servers, queue and timeout.

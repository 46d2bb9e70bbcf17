# %% [markdown]
# # The simulation against the real thing
#
# **The question.** All other notebooks believe the simulator. How far is it from Celery, Redis, a database and
# WebSockets, when the same faults are inflicted on real processes?
#
# **The answer.** It is asked here on a small storm, in seconds, and any machine may answer it: calibrate once, predict
# from many seeds, run live under others, and look which numbers fall where they were predicted. For what falls outside
# there is a suspect. What a quiet machine said of three larger scenarios stands in
# [docs/conformance.md](../docs/conformance.md).
#
# The storm as the simulator sees it by itself: 60 events arrive while the downstream is away for 12 s.

# %%
from pathlib import Path

from tem_sim import attempts_per_second, load, simulate

scenarios = Path("../scenarios") if Path("../scenarios").is_dir() else Path("scenarios")
storm = load(scenarios / "live_retry_storm.yaml", ["arrivals.events=60", "workers.count=1", "faults[0].for=12s"])
ax = attempts_per_second(simulate(storm))

# %% [markdown]
# A live run takes as long as the scenario says, and half a minute is long for a notebook. So all of it is done at a
# quarter of the time: every duration of the scenario times 0.25, every rate divided by it. The latencies of the
# infrastructure are not scaled. They are what they are, and that is why they have to be measured.

# %%
from tem_sim.scenario.time_scale import scaled

SCALE = 0.25
small = scaled(storm, SCALE)
small.faults[0].describe(), f"first wait {small.pipeline.backoff.base_s:g} s", small.api == storm.api

# %% [markdown]
# ## Calibrate
#
# A live run without the outage: Redis, an API, a gateway, a worker, a scheduler, each a process of its own on loopback.
# It tells how long a transaction, a send, a request and a notification take here and today. It is not the run that
# is predicted, nor has it its seed.

# %%
# Differs each time: measured on the machine that it runs on.
from tem_sim.live.calibrate import calibrate

measured = calibrate(storm, time_scale=SCALE, starts=0)
measured

# %% [markdown]
# ## Predict, run, compare
#
# 40 simulated runs say where one more should fall; two live runs are that one more, under seeds of their own. Predicted
# is the median of the simulated runs with the interval that holds one more with a probability of 95 %. `same_luck` is
# what a live run has more than the simulated run of its own seed, with the same arrivals, service times and jitter.

# %%
# Differs each time: live runs.
from tem_sim.conformance.conform import conform

found = conform(storm, runs=2, seeds=40, calibration=measured, time_scale=SCALE, jobs=1)
found

# %% [markdown]
# Both over time: the band is where the simulated runs are, a line is a live run.

# %%
# Differs each time: live runs.
import matplotlib.pyplot as plt

from tem_sim.plots.conformance import conformance_timelines

_ = conformance_timelines(found.timelines, plt.figure(figsize=(8, 5.2), layout="constrained"))

# %% [markdown]
# Whatever the numbers say on this machine, two things hold on any: nothing is lost or done out of turn in the live
# runs, by the same checks that judge simulated ones, and every event of theirs ends as it does in the simulation.

# %%
assert not found.unsafe
assert len(found.table) == 12
assert all(values["processed"] == 60 for values in found.values)
[(run.mode, run.name, int((run.events["status"] == "PROCESSED").sum())) for run in found.runs]

# %% [markdown]
# ## What it is good for
#
# A prediction that was held against the real thing can be trusted a step further: to a policy that was not run live, to
# a load that this machine could not carry. How far, the table says: where a metric is inside, and its interval narrow
# enough to be of use, the simulator knows what it is made of. Where one is outside, the note below the table names
# the assumption that would mend it, which is where to measure next.

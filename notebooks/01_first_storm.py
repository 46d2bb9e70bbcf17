# %% [markdown]
# # First storm
#
# **The question.** A downstream that every event needs goes away for half a minute. Whatever arrives meanwhile fails,
# is booked for a retry, and comes back. What do those retries do to the downstream, and when is the pipeline over it?
#
# **The answer.** With jitter the retries come as waves, each one lower and wider than the last, and the backlog is
# gone within about a minute of the outage's end. Without jitter they come as walls. A downstream that can serve a
# wall is done with it sooner; one that cannot times its callers out, serves them for nothing, and is kept busy for
# minutes after the outage that started it.
#
# What runs below is the pipeline's own retry code (its tables, its worker task, its scheduler) under simulated time.
# 2,000 events arrive at second 1, while the downstream is away.

# %%
from pathlib import Path

from tem_sim import attempts_per_second, load, simulate

scenarios = Path("../scenarios") if Path("../scenarios").is_dir() else Path("scenarios")
storm = simulate(load(scenarios / "retry_storm.yaml", ["arrivals.events=2000"]))
ax = attempts_per_second(storm)

# %% [markdown]
# Every colour is an attempt number. The grey needle is the first try of all events; each retry k waits somewhere
# between 0 and 2·2^(k−1) seconds, at most 60 (*full jitter*), so each wave is wider and lower than the one before.
# The dashed line is what the workers could get served; during the outage calls are refused, which is quicker, so
# attempts may run above it.
#
# ## The verdict, then the numbers

# %%
from tem_sim.report.outcome import judge

outcome = judge(storm)
outcome

# %%
outcome.metrics

# %%
from IPython.display import Markdown

numbers = outcome.metrics
assert outcome.word == "PASS"
assert numbers["processed"] == numbers["events"]
assert numbers["drain_s"] < 70

Markdown(
    f"""
Nobody was lost, and it was not cheap: **{numbers["amplification"]:.1f} attempts per event**, up to
{numbers["retry_peak_per_s"]:,.0f} retries in one second, {numbers["storm_factor"]:.0f} times the mean rate. The backlog
was gone **{numbers["drain_s"]:.0f} s after the outage ended**: longer than the outage itself, because the events that
failed last had been told to wait longest.
"""
)

# %% [markdown]
# Every run is plain pandas. `storm.attempts` has a row per attempt, `storm.events` one per event, times in seconds.

# %%
storm.attempts.groupby("attempt_no")["delay_s"].describe()[["count", "mean", "max"]].round(2).head(6)

# %% [markdown]
# ## Where the rows are meanwhile
#
# FAILED is the waiting room. It empties as due times come, not when the downstream is back; no event knows that it
# is.

# %%
from tem_sim import rows_by_state

ax = rows_by_state(storm)

# %% [markdown]
# ## Walls and waves
#
# Is that the jitter's doing? The same storm without it: same events, same luck, one setting changed.

# %%
from tem_sim.plots.comparison import retries_by_run

walls = simulate(load(scenarios / "retry_storm.yaml", ["arrivals.events=2000", "pipeline.backoff.jitter=none"]))
ax = retries_by_run({"full jitter": storm, "no jitter": walls})

# %%
without = judge(walls).metrics
assert without["drain_s"] < numbers["drain_s"]
assert without["amplification"] < numbers["amplification"]

Markdown(
    f"""
The walls look worse and end better: {without["amplification"]:.1f} attempts per event instead of
{numbers["amplification"]:.1f}, and drained after {without["drain_s"]:.0f} s instead of {numbers["drain_s"]:.0f} s. This
downstream serves whatever comes, so a wall does no harm, and full jitter's short waits early on are only more attempts
into a closed door. **One run of one downstream is no verdict on jitter.**
"""
)

# %% [markdown]
# ## The same, where it hurts
#
# Now a downstream with a limit: one server, a queue of 10, callers that give up after 400 ms. A call whose caller
# has given up is served all the same, for nobody. Ten seeds, each with and without jitter, under the same luck.

# %%
from tem_sim import METRICS, replicate
from tem_sim.scenario.variants import scenario_with, variants
from tem_sim.studies.knobs import small_storm

MEASURES = ["amplification", "retry_peak_per_s", "drain_s", "latency_p95_s", "duplicate_effects"]
limited = scenario_with(
    small_storm(),
    "arrivals[0].events=125",
    "handler.capacity={servers: 1, queue: 10, timeout: 400ms}",
    "beat.relay_every=1s",
)
study = replicate(
    variants(limited, {"no jitter": "pipeline.backoff.jitter=none", "full jitter": "pipeline.backoff.jitter=full"}),
    seeds=10,
    measure=lambda run: {name: METRICS[name].of(run) for name in MEASURES},
    jobs=1,
)
study

# %%
import matplotlib.pyplot as plt

from tem_sim.plots.intervals import intervals

fig, panels = plt.subplots(3, figsize=(8, 4.6), layout="constrained")
titles = {
    "drain_s": "drain time after the outage (s)",
    "latency_p95_s": "submit to PROCESSED, 95th percentile (s)",
    "duplicate_effects": "calls served for nobody, and made again",
}
for ax, (name, title) in zip(panels, titles.items(), strict=True):
    intervals(study.table([name]), ax, title=title)

# %%
paired = study.compare("no jitter", "full jitter", MEASURES).set_index("measure")
drain = paired.loc["drain_s"]
assert paired["significant"].all()
assert (paired["high"] < 0).all()

Markdown(
    f"""
Here jitter wins by every measure. The backlog is gone {-drain["difference"]:.0f} s sooner (95 % interval
{-drain["high"]:.0f} to {-drain["low"]:.0f} s, ten paired seeds): {drain["variant_mean"]:.0f} s instead of
{drain["baseline_mean"]:.0f} s after an outage of 20 s. Without it each wall meets a downstream that can serve a small
part of it in time; the rest times out, is served for nobody, and comes back together.
"""
)

# %% [markdown]
# ## Try next
#
# * Move the sliders yourself: `from tem_sim import explore; explore()` draws the storm anew whenever one is let go
#   (in JupyterLab or an editor; it needs `pip install 'tem-sim[notebook]'`).
# * `["pipeline.backoff.cap=10s"]` on the first storm: what does a lower cap cost, and what does it save?
# * Notebook 02 takes jitter apart; notebook 05 finds the smallest policy that outlives an outage; notebook 06 has the
#   storms that never end.

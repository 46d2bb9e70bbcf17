# %% [markdown]
# # Sizing a policy: how large must it be to outlive an outage?
#
# **The question.** Our policy waits 2, 4, 8, 16 s with full jitter and then gives up. The downstream has outages of
# half a minute. How many of the events that one catches will be EXTINCT, and what is the smallest change that saves
# them? What does that cost?
#
# **The answer.** Nearly half of them. Three more retries save all but one in some thousands, and cost latency: an
# event that has failed often has been told to wait long, and the outage may well be over before it looks again. The
# formula that says so and the whole pipeline agree.

# %%
from tem_sim import outage_survival
from tem_sim.pipeline.backoff import Backoff, Exponential, Full
from tem_sim.plots.survival import extinct_by_outage

ours = Backoff(Exponential(2.0), Full(), max_retries=4, name="ours")
ax = extinct_by_outage(outage_survival(ours, ["5s", "10s", "20s", "30s", "60s", "2m", "5m"], tick="1s"))

# %% [markdown]
# Of the events that an outage catches, the share that ends EXTINCT, against its length. The line is on paper: an
# event is lost when the time left in the outage is more than all its waits together, P(U(0, D) + S < D). The dots are
# 20,000 events each, drawn.
#
# ## The smallest policy that will do
#
# At most one in a thousand is to be lost in an outage of 30 s. Each of the policy's three sizes is sought by itself,
# with the other two held.

# %%
from tem_sim import size

sizing = size("30s", p_extinct=0.001, base="2s", max_retries=4, jitter="full", tick="1s")
sizing

# %%
from IPython.display import Markdown

options = sizing.table.set_index("change")
given, best = options.loc["as given"], options.loc["max_retries"]
assert given["expected_share"] > 0.4
assert best["recommended"]
assert best["max_retries"] == 7
assert best["expected_share"] < 0.001
assert "cap" not in options.index

Markdown(
    f"""
**{best["max_retries"]:.0f} retries instead of {given["max_retries"]:.0f}.** The share of EXTINCT events falls from
{given["expected_share"]:.0%} to {best["expected_share"]:.2%}, and those that get through do so
{best["after_mean_s"]:.0f} s after the outage's end on average, 95 % of them within {best["after_p95_s"]:.0f} s. A
longer base would save them, too ({options.loc["base", "base_s"]:g} s instead of {given["base_s"]:g}), with fewer
attempts and more waiting ({options.loc["base", "after_mean_s"]:.0f} s on average). A cap only shortens waits, so no cap
can help.

To paste into a scenario:

```yaml
{sizing.yaml}```
"""
)

# %% [markdown]
# ## Full jitter begins again at 0
#
# Why is one in thousands still lost with a horizon of minutes? Because full jitter may draw short waits all the way
# down: its horizon begins at 0 s. Compared by how far their retries reach, with seven retries each:

# %%
from tem_sim.pipeline.backoff import Decorrelated, Equal, NoJitter
from tem_sim.plots.survival import retry_horizons

kinds = {"none": NoJitter(), "equal": Equal(), "full": Full(), "decorrelated": Decorrelated()}
seven = {name: Backoff(Exponential(2.0), jitter, max_retries=7) for name, jitter in kinds.items()}
survival = outage_survival(seven, ["30s", "2m"], n=1_000, tick="1s")
ax = retry_horizons(survival)

# %%
longest = survival.horizons.set_index("policy")["survives_s"]
assert longest["none"] > longest["equal"] > longest["full"]

Markdown(
    f"""
With the same seven retries the longest outage that costs at most one event in a thousand is {longest["full"]:.0f} s
under full jitter, {longest["equal"]:.0f} s under equal jitter and {longest["none"]:.0f} s without any. What spreads the
storm shortens the reach: **size the policy after choosing the jitter, not before.**
"""
)

# %% [markdown]
# ## Does the whole pipeline agree?
#
# The formula knows no workers, no queue, no batches. So: the pipeline under simulated time, five outages of 30 s,
# events arriving all through them, under both policies. (The scheduler's ticks fall half-way between whole seconds,
# as the formula's do on average. A tick at the very end of the outage would make that half a second shorter, and the
# share smaller.)

# %%
from tem_sim import replicate
from tem_sim.analysis.statistics import wilson
from tem_sim.scenario.loader import loads
from tem_sim.scenario.variants import variants

outage = loads("""
scenario: half_a_minute
horizon: 10m
arrivals: {kind: poisson, rate: 8/s, from: 10s, until: 40s}
pipeline: {batch_size: 5, backoff: {growth: exponential, base: 2s, jitter: full, max_retries: 4}}
handler: {service_time: 20ms, fail_time: 10ms}
beat: {retry_every: 1s, phase: 500ms, relay_every: 10s}
users: {count: 10}
faults: [{kind: outage, at: 10s, for: 30s}]
""")


def fate(run):
    """Count the events that the outage made EXTINCT, and how long after its end the others got through."""
    done = run.events[run.events["status"] == "PROCESSED"]
    return {
        "events": len(run.events),
        "extinct": (run.events["status"] == "EXTINCT").sum(),
        "after_s": (done["finished_s"] - 40.0).mean(),
        "after_p95_s": (done["finished_s"] - 40.0).quantile(0.95),
    }


policies = variants(outage, {"as given": [], "max_retries": "pipeline.backoff.max_retries=7"})
study = replicate(policies, seeds=5, measure=fate, jobs=1)
study

# %%
import pandas as pd

made = study.rows.groupby("variant", sort=False)[["events", "extinct"]].sum().astype(int)
shares = pd.DataFrame(
    [
        (name, *wilson(row["extinct"], row["events"]), options.loc[name, "expected_share"])
        for name, row in made.iterrows()
    ],
    columns=["policy", "simulated", "low", "high", "events", "on paper"],
).set_index("policy")
assert shares["on paper"].between(shares["low"], shares["high"]).all()
shares.round(5)

# %%
after = study.table(["after_s"]).set_index("variant")
on_paper = options.loc[after.index, "after_mean_s"]
assert (on_paper.between(after["low"], after["high"])).all()

Markdown(
    f"""
Both shares on paper lie in the intervals of what happened (Wilson, 95 %, {made["events"].iloc[0]:,} events per policy).
The price is as predicted, too: {after.loc["max_retries", "mean"]:.1f} s after the outage's end on average
([{after.loc["max_retries", "low"]:.1f}, {after.loc["max_retries", "high"]:.1f}], on paper
{on_paper["max_retries"]:.1f}). What the formula leaves out, queueing for a worker, makes retries a little later, and so
spares a few.
"""
)

# %% [markdown]
# ## Both at once is not always to be had
#
# Suppose that outages of two minutes are to be outlived, and that 95 % of the events are to be through one minute
# after. The solver says so when that cannot be.

# %%
both = size("2m", p_extinct=0.001, base="2s", max_retries=4, jitter="full", tick="1s", added_latency="60s")
assert both.policy is None
both.verdict

# %% [markdown]
# Then two things have to change: more retries *and* a cap, which makes the late ones come sooner. Given enough
# retries, a cap can be sought:

# %%
capped = size("2m", p_extinct=0.001, base="2s", cap="30s", max_retries=4, jitter="full", tick="1s", added_latency="60s")
assert capped.policy is not None
capped

# %% [markdown]
# ## Try next
#
# * `size("30s", jitter="equal", base="2s", max_retries=4)`: which changes are smaller under equal jitter?
# * `outage_survival(["aws-full", "sidekiq", "celery-autoretry"])`: what other systems' defaults outlive.
# * Retries cost attempts, and those cost a downstream that is already down. Notebook 06 is about the case where that
#   price is never paid off.

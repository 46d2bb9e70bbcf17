# %% [markdown]
# # Worker and broker failures: which switch saves what
#
# **The question.** Workers are killed while they hold events, Redis restarts and forgets its queue, the gateway is
# away while notifications are published. Does anything get lost, and which part of the pipeline is it that prevents
# it? What does that part cost?
#
# **The answer.** With all switches on, nothing is lost. Each one turned off loses one kind of thing, its own, and the
# others do not make up for it. The price of the lease is time: what a dead worker held waits about as long as the
# lease for somebody to notice. And one thing no switch prevents is a side effect that happens twice.
#
# The shipped scenario `worker_death` first: a worker is killed at a set time, then others at random.

# %%
from pathlib import Path

from tem_sim import load, rows_by_state, simulate

scenarios = Path("../scenarios") if Path("../scenarios").is_dir() else Path("scenarios")
run = simulate(load(scenarios / "worker_death.yaml"))
_ = rows_by_state(run).set_ylim(0, 40)

# %% [markdown]
# The pale area is cut off: it is events that are done, more than a thousand in the end. What matters stands below it.
# Each death leaves rows in PROCESSING that nobody works on; they stay there until their lease of 15 s is over and the
# rescue looks. The step at the end, when nothing arrives any more, is that and nothing else.

# %%
from tem_sim.report.outcome import judge

outcome = judge(run)
assert outcome.word == "PASS"
assert outcome.metrics["processed"] > 1000
outcome

# %% [markdown]
# ## A bad minute
#
# Now three kinds of failure in one short run: workers die at random, Redis restarts at second 7 and loses its
# messages, the gateway is away from second 8 on. Workers take one event per wake-up, so that a wake-up which is lost
# is missed. The same minute under six seeds, once with everything on and once without each of three switches.

# %%
from tem_sim import METRICS, replicate
from tem_sim.scenario.loader import loads
from tem_sim.scenario.variants import variants

bad_minute = loads("""
scenario: bad_minute
horizon: 40s
arrivals: {kind: poisson, rate: 12/s, from: 0s, until: 9s}
pipeline: {batch_size: 1, settle_every: 1, lease: 8s, sweep_after: 8s, backoff: {base: 1s, jitter: full}}
workers: {count: 3, concurrency: 2}
beat: {relay_every: 1s, rescue_every: 2s}
handler: {service_time: {kind: exponential, mean: 400ms}}
users: {count: 20}
faults:
  - {kind: worker_death, target: workers, rate: 0.3/s, from: 3s, until: 10s, restart_after: 3s}
  - {kind: broker_restart, at: 7s, for: 2s, messages: lost}
  - {kind: gateway_disconnect, at: 8s, for: 3s}
""")
switches = variants(
    bad_minute,
    {
        "everything on": [],
        "no lease": "pipeline.lease=off",
        "no sweep": "pipeline.sweep_after=off",
        "no outbox": "pipeline.outbox=false",
    },
)


def harm(run):
    """Count what came to no good end in one run."""
    left = run.events["status"].value_counts()
    return {
        "events": len(run.events),
        "left in PROCESSING": left["PROCESSING"],
        "left in QUEUED": left["QUEUED"],
        "users never told": METRICS["lost_notifications"].of(run),
        "side effects made twice": METRICS["duplicate_effects"].of(run),
    }


study = replicate(switches, seeds=6, measure=harm, jobs=1)
study

# %%
import matplotlib.pyplot as plt

from tem_sim.plots.intervals import intervals

HARMS = ["left in PROCESSING", "left in QUEUED", "users never told", "side effects made twice"]
fig, panels = plt.subplots(4, figsize=(8, 7.6), layout="constrained")
for ax, name in zip(panels, HARMS, strict=True):
    intervals(study.table([name]), ax, title=f"{name}, per run")

# %%
from IPython.display import Markdown

mean = study.table().pivot(index="variant", columns="measure", values="mean")
losses = mean[HARMS[:3]]
assert (losses.loc["everything on"] == 0).all()
assert [losses.columns[losses.loc[name] > 0].tolist() for name in list(switches)[1:]] == [[name] for name in HARMS[:3]]

Markdown(
    f"""
Each switch has its own column, and only that one. Of {mean.loc["everything on", "events"]:.0f} events in a bad minute

* without the **lease** {mean.loc["no lease", "left in PROCESSING"]:.1f} stay in PROCESSING for ever: their worker is
  dead, and nothing says so;
* without the **sweep** {mean.loc["no sweep", "left in QUEUED"]:.0f} stay in QUEUED for ever: the message that would
  have announced them died with Redis;
* without the **outbox** {mean.loc["no outbox", "users never told"]:.0f} are PROCESSED and their users never hear of it.

With everything on no event and no notification is lost, and {mean.loc["everything on", "side effects made twice"]:.1f}
side effects happen twice: the worker died between its call and its commit, and whoever took over called again. Where
that reads 0 it is no merit: those events were never taken up again at all.
"""
)

# %% [markdown]
# ## What the lease costs
#
# A short lease notices a death sooner. Three leases, five seeds, the same deaths: how long did an event that died with
# its worker wait from its first claim to the next?

# %%
from tem_sim.scenario.variants import scenario_with, variants_of

deaths = scenario_with(
    bad_minute,
    "workers.count=6",
    "pipeline.batch_size=5",
    "arrivals=[{kind: poisson, rate: 6/s, from: 0s, until: 10s}]",
    "faults=[{kind: worker_death, target: workers, rate: 0.7/s, from: 2s, until: 10s, restart_after: 1s}]",
)
LEASES_S = [4, 8, 16]


def waiting(run):
    """Return how long events that died with their worker waited for the next claim."""
    tries = run.attempts.sort_values(["event_id", "attempt_no"])
    waited_s = tries.groupby("event_id")["claimed_s"].shift(-1) - tries["claimed_s"]
    lost = tries["outcome"] == "lost"
    return {"deaths": lost.sum(), "waited_s": waited_s[lost].mean()}


leases = replicate(variants_of(deaths, "pipeline.lease", [f"{s}s" for s in LEASES_S]), 5, measure=waiting, jobs=1)
waited = leases.table(["waited_s"])
ax = intervals(waited, title="from the claim that was lost to the next one, by lease", unit="s")

# %%
extra = waited["mean"].to_numpy() - LEASES_S
assert (extra > 0).all()
assert (extra < 2).all()

Markdown(
    f"""
The lease itself, and {extra.mean():.1f} s on top, since the rescue looks every 2 s only. **Choose the lease a little
longer than the longest handler call, and no longer.** It is renewed between the events of a batch, but not within a
call: shorter than a call, it hands out work that is being done, and notebook 03 shows what comes of that.
"""
)

# %% [markdown]
# ## Try next
#
# * `pipeline.batch_size=20` in `bad_minute`: a death costs a whole batch, but every wake-up looks at more rows than
#   its own, so that even without the sweep hardly any is missed, as long as events keep coming.
# * `load(scenarios / "poison_event.yaml")`: events that kill their worker every time, and the budget that stops them.
# * `load(scenarios / "beat_stopped.yaml")`: the scheduler itself is away; nothing is lost, everything waits.

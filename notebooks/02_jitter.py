# %% [markdown]
# # Jitter: what it is worth, and what takes it away
#
# **The question.** Some thousand rows fail at the same moment. How many of them come back at the same moment, under
# each kind of jitter? Is one kind really better, or does it only wait longer? And does any of it arrive at the
# downstream?
#
# **The answer.** Without jitter all come back at once, every time. Full and decorrelated jitter spread best, also
# when every policy is made to wait equally long on average; proportional jitter of 10 % only halves the wall. But a
# scheduler that looks every T seconds releases all that fell due meanwhile in one go: a jitter narrower than T might
# as well not be there.
#
# No world around it yet: 10,000 rows fail at 0, every retry fails again, nobody is short of workers. What is left is
# the policy.

# %%
from tem_sim import jitter_study
from tem_sim.plots.jitter import jitter_panels

study = jitter_study(n=10_000)
panels = jitter_panels(study)

# %% [markdown]
# The count axis is logarithmic: a wall of 10,000 and a plain of 100 would not fit on another. All six policies grow
# alike, 10, 20, 40 s and so on; only the jitter differs.

# %%
study

# %% [markdown]
# ## Is that fair?
#
# Jitters differ in how long they wait: none, equal and full wait 1 : ¾ : ½ on average. Whoever waits longer has it
# easier to spread. So each policy is looked at twice: as configured, and *matched*, all its delays stretched by one
# factor so that its mean is that of no jitter.

# %%
import matplotlib.pyplot as plt

from tem_sim.plots.intervals import intervals

fig, panels = plt.subplots(2, figsize=(8, 5.4), layout="constrained", sharex=True)
for ax, means in zip(panels, ["as configured", "matched"], strict=True):
    rows = study.table[study.table["means"] == means].rename(columns={"peak_1s_low": "low", "peak_1s_high": "high"})
    title = f"most retries within 1 s, of 10,000 rows; delays {means}"
    intervals(rows, ax, by="policy", value="peak_1s", title=title, log=True)
    ax.set_xlim(500, 15_000)

# %%
from IPython.display import Markdown

peak = study.table.set_index(["means", "policy"])["peak_1s"]
assert peak["as configured"].idxmin() == "decorrelated"
assert set(peak["matched"].nsmallest(2).index) == {"full", "decorrelated"}
assert study.compared["significant"].all()

Markdown(
    f"""
As configured, decorrelated jitter has the lowest peak ({peak["as configured", "decorrelated"]:,.0f}) and full jitter
twice as much ({peak["as configured", "full"]:,.0f}). That is mostly waiting: decorrelated delays are the longest of
all, full ones the shortest. With the same mean delay they are close, {peak["matched", "decorrelated"]:,.0f} against
{peak["matched", "full"]:,.0f}; equal jitter has {peak["matched", "equal"]:,.0f}, additive
{peak["matched", "additive"]:,.0f}, proportional jitter of 10 % {peak["matched", "proportional"]:,.0f}. **Full jitter is
the one to begin with; make it wait longer if its early retries come too soon.**
"""
)

# %% [markdown]
# ## Are the delays what they are said to be?
#
# A jitter with a hole in the middle passes any test of its bounds. So the delays are held against their law: steps
# are drawn, the dashed lines are the formula. (The other policies' distances are in `study.fit`.)

# %%
from tem_sim.analysis.lineup import jitters
from tem_sim.plots.jitter import delay_ecdf

ax = delay_ecdf(jitters()["full"], retries=3)
assert not study.fit["refused"].any()

# %% [markdown]
# ## Does it help with more rows?
#
# The share of all rows that comes back within the fullest second, from a hundred rows to a hundred thousand.

# %%
from tem_sim.analysis.jitter_by_n import peak_by_n
from tem_sim.plots.jitter import peak_heat

by_n = peak_by_n()
ax = peak_heat(by_n)

# %%
share = by_n.table.pivot(index="policy", columns="n", values="peak_share")
assert (share.loc["none"] == 1).all()
assert share.loc["full", 1_000] / share.loc["full", 100_000] < 1.5

Markdown(
    f"""
From a thousand rows on the share hardly changes ({share.loc["full", 1_000]:.0%} to {share.loc["full", 100_000]:.0%}
under full jitter): a second's part of the delays is what it is, however many rows share it. **Jitter divides the peak
by a number; it does not bound it.** With a hundred times as many rows the peak is a hundred times as high, and only a
limit (on rows per tick, on calls in flight, on retries) bounds it.
"""
)

# %% [markdown]
# ## The scheduler's tick
#
# A retry does not start when it is due but when the scheduler next looks. Here are the rows that one tick releases,
# against its period: dots are drawn, lines are expected on paper, hollow dots are jitters narrower than the tick.

# %%
from tem_sim.analysis.tick_study import tick_study
from tem_sim.plots.jitter import tick_bursts

policies = {name: policy for name, policy in jitters().items() if name in ("none", "additive", "full")}
ticks = tick_study(policies, n=2_000, retries=1)
ax = tick_bursts(ticks)

# %%
from tem_sim.analysis.tick_law import tick_warning

tick_warning(policies["additive"], period_s=10.0)

# %% [markdown]
# And in the whole pipeline, with workers, batches and a database? The shipped scenario `jitter_vs_tick` has a jitter
# of 2 s under a tick of 10 s. The same with a tick of 250 ms:

# %%
from pathlib import Path

from tem_sim import load, simulate
from tem_sim.plots.comparison import retries_by_run

scenarios = Path("../scenarios") if Path("../scenarios").is_dir() else Path("scenarios")
small = ["arrivals.events=600"]
runs = {
    "tick of 10 s": simulate(load(scenarios / "jitter_vs_tick.yaml", small)),
    "tick of 250 ms": simulate(load(scenarios / "jitter_vs_tick.yaml", [*small, "beat.retry_every=250ms"])),
}
ax = retries_by_run(runs, bin_s=0.5)

# %%
from tem_sim.analysis.run_jitter import retry_peaks

released = {name: int(retry_peaks(run)["peak_tick"].iloc[0]) for name, run in runs.items()}
assert released["tick of 10 s"] == 600
assert released["tick of 250 ms"] < 200

Markdown(
    f"""
Under the slow tick **all {released["tick of 10 s"]} rows are released together**, again and again, and the policy's
2 s of jitter are nowhere to be seen. Under the fast one it is at most {released["tick of 250 ms"]}. `tem-sim validate`
warns of this, with the numbers. Choose the period a tenth of the narrowest jitter, or widen the jitter.
"""
)

# %% [markdown]
# ## Try next
#
# * `jitter_study(["aws-full", "celery-autoretry", "sidekiq"])`: other systems' policies by name; `tem-sim policies`
#   lists them.
# * `tick_study(policies, limit=100)`: a LIMIT per tick bounds the burst; the table says what it costs in waiting.
# * `jitter_study(n=1_000_000)`: takes some seconds.

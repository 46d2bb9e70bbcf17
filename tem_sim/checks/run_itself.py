"""About the run and not about the pipeline: whether what was asked for is what happened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tem_sim.checks.verdict import Verdict, count, verdict

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.frames import Run


def faults_landed(run: Run) -> Verdict:
    """Each fault that was asked for landed, and none struck unasked, before its time or after heal_at.

    What the pipeline does under a fault that never landed, this run cannot tell: unknown.
    """
    import pandas as pd

    asked = run.scenario.faults
    never = (
        run.faults[run.faults.groupby("fault_id")["landed"].transform("max") == 0] if len(run.faults) else run.faults
    )
    stray = pd.concat([_unasked(run, len(asked)), _untimely(run)], ignore_index=True)
    strikes = int((run.faults["landed"] > 0).sum())
    if len(stray):
        return verdict("faults_landed", "false", f"{count(len(stray), 'strike')} that nobody asked for", stray)
    if len(never):
        detail = f"{count(never['fault_id'].nunique(), 'fault')} of {len(asked):,} never landed"
        return verdict("faults_landed", "unknown", detail, never[["fault_id", "kind", "target", "detail"]])
    return verdict(
        "faults_landed", "true", f"{count(len(asked), 'fault')} asked for, {count(strikes, 'strike')} landed"
    )


def _unasked(run: Run, asked: int) -> pd.DataFrame:
    return run.faults[~run.faults["fault_id"].between(0, asked - 1)].assign(problem="no fault of the scenario")


def _untimely(run: Run) -> pd.DataFrame:
    """Find strikes before a fault's own time, and after all faults were over."""
    starts_s = {number: getattr(fault, "start_s", 0.0) for number, fault in enumerate(run.scenario.faults)}
    rows = run.faults[run.faults["landed"] > 0]
    early = rows[rows["start_s"] < rows["fault_id"].map(starts_s).fillna(0.0) - 1e-9].assign(problem="before its time")
    heal_s = run.scenario.heal_at_s
    late = rows[rows["start_s"] > (float("inf") if heal_s is None else heal_s)].assign(problem="after heal_at")
    import pandas as pd

    return pd.concat([early, late], ignore_index=True)

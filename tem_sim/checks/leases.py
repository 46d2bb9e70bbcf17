"""The check that a row has one holder at a time, and that nobody else finishes its attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tem_sim.analysis.history import Array, history, log_rows, tries
from tem_sim.analysis.rules import ROUNDING_S, rules
from tem_sim.checks.verdict import Verdict, count, verdict

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.frames import Run


def single_lease(run: Run) -> Verdict:
    """A claim takes the next attempt number, only its holder ends it, nobody takes a lease that still lives.

    Where clocks were declared to be off, a lease that was taken back early by no more than that cannot be
    judged.
    """
    import pandas as pd

    skew_s = rules(run).skew_s
    found = [
        _misnumbered(run),
        _ended_by_strangers(run),
        _claimed_by_others(run),
        _ended_otherwise(run),
        _taken_early(run, skew_s),
        _overlapping(run, skew_s),
    ]
    broken = pd.concat(found, ignore_index=True)
    unclear = pd.concat([_taken_early(run, 0.0), _overlapping(run, 0.0)], ignore_index=True)
    claims = count(int(history(run).has("cause", "claim").sum()), "claim")
    if len(broken):
        parts = ", ".join(f"{number:,} × {what}" for what, number in broken["problem"].value_counts().items())
        return verdict("single_lease", "false", f"of {claims}: {parts}", broken)
    if len(unclear):
        detail = f"{len(unclear):,} of {claims} overlap by no more than the declared clock skew of {skew_s:g} s"
        return verdict("single_lease", "unknown", detail, unclear)
    return verdict("single_lease", "true", f"each of {claims} was ended by its holder, or taken back after its lease")


def _problem(run: Run, mask: Array, problem: str) -> pd.DataFrame:
    rows = log_rows(run, mask)[["event_id", "attempt_no", "actor", "at_s"]]
    return rows.assign(problem=problem)


def _misnumbered(run: Run) -> pd.DataFrame:
    """Find claims that do not raise the attempt number by one, and other steps that change it."""
    past = history(run)
    before = np.where(past.first, 0, past.previous(past.attempt_no))
    wrong = past.attempt_no != before + past.has("cause", "claim")
    return _problem(run, wrong, "wrong attempt number")


def _ended_by_strangers(run: Run) -> pd.DataFrame:
    """Find ends of attempts by another actor than the one that claimed them."""
    past = history(run)
    ends = past.has("cause", *(cause for causes in _CAUSES_OF.values() for cause in causes))
    claimed = ~past.first & past.previous(past.has("cause", "claim"))
    own = claimed & (past.actor == past.previous(past.actor))
    return _problem(run, ends & ~own, "ended by another than its holder")


def _claimed_by_others(run: Run) -> pd.DataFrame:
    """Find claims by another actor than the worker that the attempt names."""
    past = history(run)
    claims = past.has("cause", "claim")
    at = tries(run).find(past.event[claims], past.attempt_no[claims])
    workers = np.append(run.attempts["worker"].astype(str).to_numpy(dtype=object), "")[at]
    actors = np.array(past.words["actor"], dtype=object)[past.actor[claims]]
    wrong = claims.copy()
    wrong[claims] = (at >= 0) & (workers != actors)
    return _problem(run, wrong, "claimed by another than its attempt says")


# The causes that may stand in the transition log beside the end of an attempt by its own worker.
_CAUSES_OF = {"ok": ("ok",), "error": ("error", "exhausted"), "expired": ("expired",), "released": ("release",)}


def _ended_otherwise(run: Run) -> pd.DataFrame:
    """Find ends by the log that the attempt's outcome contradicts, and outcomes that the log knows nothing of."""
    import pandas as pd

    past, attempts = history(run), run.attempts
    outcome = np.append(attempts["outcome"].astype(str).to_numpy(dtype=object), "")
    found, known = [], np.zeros(len(outcome), dtype=bool)
    for word, causes in _CAUSES_OF.items():
        ends = past.has("cause", *causes)
        at = tries(run).find(past.event[ends], past.attempt_no[ends])
        known[at] |= True
        wrong = ends.copy()
        wrong[ends] = (at >= 0) & (outcome[at] != word)
        found.append(_problem(run, wrong, "ended otherwise than its attempt says"))
    unheard = attempts["outcome"].isin(list(_CAUSES_OF)).to_numpy() & ~known[:-1]
    rows = attempts.loc[unheard, ["event_id", "attempt_no", "worker", "finished_s"]]
    same_names = rows.rename(columns={"worker": "actor", "finished_s": "at_s"})
    return pd.concat([*found, same_names.assign(problem="its end is not in the log")], ignore_index=True)


def _taken_early(run: Run, skew_s: float) -> pd.DataFrame:
    """Find leases that were taken back before they ran out."""
    past = history(run)
    lease_s = rules(run).settings.lease_s
    taken = past.has("cause", "rescue", "crashed")
    if lease_s is None:
        return _problem(run, taken, "taken back although leases never run out")
    early = past.at_s < past.previous(past.at_s) + lease_s - skew_s - ROUNDING_S
    return _problem(run, taken & early & ~past.first, "lease taken back before it ran out")


def _overlapping(run: Run, skew_s: float) -> pd.DataFrame:
    """Find attempts that were taken as valid although the next one had begun; a superseded one may go on."""
    tried, attempts, slack_s = tries(run), run.attempts, skew_s + rules(run).stale_s + ROUNDING_S
    outcome = attempts["outcome"].isin(["ok", "error"]).to_numpy()[tried.order]
    ended_s = attempts["finished_s"].to_numpy()[tried.order]
    claimed_s = attempts["claimed_s"].to_numpy()[tried.order]
    late = outcome[:-1] & ~tried.first[1:] & (claimed_s[1:] < ended_s[:-1] - slack_s)
    rows = attempts.iloc[tried.order[:-1][late]][["event_id", "attempt_no", "worker", "finished_s"]]
    same_names = rows.rename(columns={"worker": "actor", "finished_s": "at_s"})
    return same_names.assign(problem="overlaps the next attempt")

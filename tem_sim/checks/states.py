"""Checks of the state machine: nothing is lost, only legal edges are taken, and the end is the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tem_sim.analysis.counted import submissions
from tem_sim.analysis.history import Array, History, event_numbers, history, log_rows, tries
from tem_sim.checks.edges import image_edges
from tem_sim.checks.offences import summed, table
from tem_sim.checks.verdict import Verdict, count, no_offence, verdict
from tem_sim.pipeline.states import CAUSES, TERMINAL

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.frames import Run


def conservation(run: Run) -> Verdict:
    """Every accepted event is in one state, the log replays to it, and its attempts are numbered from 1 on.

    Where the clients counted what they offered, all of it was accepted, rejected or still under way at the end.
    """
    import pandas as pd

    problems = pd.concat([_misplaced_events(run), _broken_chains(run), _misnumbered_attempts(run)], ignore_index=True)
    sums = run.counts()
    open_rows = sums["QUEUED"] + sums["PROCESSING"] + sums["FAILED"]
    fine = (
        f"{count(sums['events'], 'event')} = {sums['PROCESSED']:,} PROCESSED + {sums['EXTINCT']:,} EXTINCT + "
        f"{open_rows:,} in flight; {count(sums['attempts'], 'attempt')} = "
        f"{sums['attempts'] - sums['retries']:,} first tries + {sums['retries']:,} retries"
    )
    broken = f"{problems['event_id'].nunique():,} of {count(sums['events'], 'event')} do not add up: " + ", ".join(
        f"{number:,} × {what}" for what, number in problems["problem"].value_counts().items()
    )
    said, adds_up = _offered(run)
    if not len(problems) and not adds_up:
        return verdict("conservation", "false", f"{said}, where the store has {count(sums['events'], 'event')}")
    return no_offence("conservation", problems, f"{fine}{said and '; ' + said}", broken)


def _offered(run: Run) -> tuple[str, bool]:
    """Say what became of the events that clients offered, if anybody counted, and whether it adds up.

    A request that is open at the end may have been stored and not answered yet: so many events more than those
    accepted may be in the store.
    """
    counted = submissions(run)
    if counted is None:
        return "", True
    offered, accepted, rejected = counted["offered"], counted["accepted"], counted["rejected"]
    under_way = offered - accepted - rejected
    said = f"{offered:,} offered = {accepted:,} accepted + {rejected:,} rejected"
    may_be_open = run.status != "complete" or run.end_s >= run.scenario.horizon_s
    if under_way:
        said += f" + {under_way:,} under way"
    spare = under_way if may_be_open else 0
    return said, under_way == spare >= 0 and accepted <= len(run.events) <= accepted + spare


def _problems(past: History, bad: Array, problem: str) -> pd.DataFrame:
    """Return a row for each event number that the mask or index picks."""
    import pandas as pd

    event_ids = past.ids[bad]
    return pd.DataFrame({"event_id": event_ids, "problem": np.full(len(event_ids), problem, dtype=object)})


def _misplaced_events(run: Run) -> pd.DataFrame:
    """Compare each event's row with its creation and its last transition in the log."""
    import pandas as pd

    past = history(run)
    numbers = event_numbers(run, run.events["event_id"].to_numpy())
    rows = np.bincount(numbers, minlength=len(past.ids))
    created = past.per_event(past.has("before", ""))
    # Codes of `after` and of `status` mean the same states: both have the schema's vocabulary.
    logged = np.full(len(past.ids), -1)
    logged[past.event[past.last]] = past.after[past.last]
    stored = np.full(len(past.ids), -1)
    stored[numbers] = run.events["status"].cat.codes.to_numpy()
    return pd.concat(
        [
            _problems(past, rows == 0, "has no row in the store"),
            _problems(past, rows > 1, "has several rows in the store"),
            _problems(past, created != 1, "not created exactly once"),
            _problems(past, (rows > 0) & (created > 0) & (logged != stored), "the log ends in another state"),
        ]
    )


def _broken_chains(run: Run) -> pd.DataFrame:
    """Find transitions that leave a state which the one before them did not enter."""
    past = history(run)
    entered = np.array([past.words["before"].index(word) for word in past.words["after"]], dtype=np.int8)
    gap = ~past.first & (past.before != entered[past.previous(past.after)])
    return _problems(past, past.event[gap], "the log does not follow on")


def _misnumbered_attempts(run: Run) -> pd.DataFrame:
    """Find events whose attempts are not numbered 1 … attempt_no, as many as the log has claims."""
    past, tried = history(run), tries(run)
    place = np.arange(len(tried.event)) - np.flatnonzero(tried.first)[np.cumsum(tried.first) - 1]
    misnumbered = np.zeros(len(past.ids), dtype=bool)
    misnumbered[tried.event[tried.attempt_no != place + 1]] = True
    had = np.bincount(tried.event, minlength=len(past.ids))
    last = np.zeros(len(past.ids), dtype=np.int64)
    last[event_numbers(run, run.events["event_id"].to_numpy())] = run.events["attempt_no"].to_numpy()
    claimed = past.per_event(past.has("cause", "claim"))
    return _problems(past, misnumbered | (had != last) | (had != claimed), "attempts, claims and attempt_no differ")


def legal_edges(run: Run) -> Verdict:
    """Every transition takes an edge of the state machine, for a reason that may take it.

    In a watched run so does every change of a row, and no statement tries an edge that the store has to refuse.
    """
    past = history(run)
    legal = np.zeros(len(past), dtype=bool)
    for (before, after), causes in CAUSES.items():
        edge = past.has("before", "" if before is None else str(before)) & past.has("after", str(after))
        legal |= edge & past.has("cause", *(str(cause) for cause in causes))
    illegal = log_rows(run, ~legal)
    if seen := image_edges(run):
        return verdict("legal_edges", "false", summed(seen), table(seen))
    return no_offence(
        "legal_edges",
        illegal,
        f"all of {count(len(past), 'transition')} take a legal edge",
        f"{len(illegal):,} of {count(len(past), 'transition')} take no legal edge",
    )


def terminal_states(run: Run) -> Verdict:
    """Nothing leaves PROCESSED, and nothing leaves EXTINCT but a replay by hand."""
    past = history(run)
    ends = tuple(str(state) for state in TERMINAL)
    from_end = past.has("before", *ends) | (~past.first & past.previous(past.has("after", *ends)))
    replayed = past.has("before", "EXTINCT") & past.has("cause", "replay")
    left = log_rows(run, from_end & ~replayed)
    ended = int((past.has("after", *ends)).sum())
    return no_offence(
        "terminal_states",
        left,
        f"{count(ended, 'end')}, none of them left again but by {count(int(replayed.sum()), 'replay')}",
        f"{count(len(left), 'transition')} left PROCESSED or EXTINCT, of {count(ended, 'end')}",
    )

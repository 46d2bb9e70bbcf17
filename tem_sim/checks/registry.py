"""All checks in the order in which they are shown. To add one: write it, and list it here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from tem_sim.checks.announcing import notify_after_commit, wake_after_commit
from tem_sim.checks.budgets import extinct_budget, retry_accounting
from tem_sim.checks.due_times import due_times, jitter_law
from tem_sim.checks.edges import row_shape
from tem_sim.checks.effects import effects
from tem_sim.checks.flow import littles_law, liveness, notifications
from tem_sim.checks.hygiene import attempts_settled, limits, transaction_hygiene
from tem_sim.checks.leases import single_lease
from tem_sim.checks.owners import attribution, fencing
from tem_sim.checks.progress import (
    ends_in_time,
    leases_reclaimed,
    no_livelock,
    queue_served,
    returns_to_rest,
    told_in_time,
)
from tem_sim.checks.retries import attempts_bounded, backoff_support, no_early_claim, retry_count
from tem_sim.checks.run_itself import faults_landed
from tem_sim.checks.states import conservation, legal_edges, terminal_states
from tem_sim.checks.turns import claimed_when_due, no_starvation
from tem_sim.checks.verdict import Kind, Verdict, Verdicts, verdict
from tem_sim.checks.writes import conserved_rows, lost_write

if TYPE_CHECKING:
    from tem_sim.frames import Run
    from tem_sim.scenario.models import Scenario

Check: TypeAlias = "Callable[[Run], Verdict]"

# Of every run.
CHECKS: dict[str, Check] = {
    "conservation": conservation,
    "legal_edges": legal_edges,
    "terminal_states": terminal_states,
    "attempts_bounded": attempts_bounded,
    "retry_count": retry_count,
    "no_early_claim": no_early_claim,
    "backoff_support": backoff_support,
    "single_lease": single_lease,
    "notifications": notifications,
    "littles_law": littles_law,
    "liveness": liveness,
}


# Of runs that were watched besides, by what each thread did and by the rows before and after each write.
WATCHED_CHECKS: dict[str, Check] = {
    "attribution": attribution,
    "fencing": fencing,
    "row_shape": row_shape,
    "retry_accounting": retry_accounting,
    "extinct_budget": extinct_budget,
    "due_times": due_times,
    "jitter_law": jitter_law,
    "wake_after_commit": wake_after_commit,
    "notify_after_commit": notify_after_commit,
    "attempts_settled": attempts_settled,
    "effects": effects,
    "lost_write": lost_write,
    "conserved_rows": conserved_rows,
    "transaction_hygiene": transaction_hygiene,
    "limits": limits,
    "no_starvation": no_starvation,
    "claimed_when_due": claimed_when_due,
    "faults_landed": faults_landed,
}
# Of runs whose faults end at `heal_at`: what is owed from then on.
HEALED_CHECKS: dict[str, Check] = {
    "ends_in_time": ends_in_time,
    "queue_served": queue_served,
    "leases_reclaimed": leases_reclaimed,
    "told_in_time": told_in_time,
    "no_livelock": no_livelock,
    "returns_to_rest": returns_to_rest,
}
ALL_CHECKS: dict[str, Check] = {**CHECKS, **WATCHED_CHECKS, **HEALED_CHECKS}

# What is no promise that nothing bad happens: that something good does, and that the run itself is sound.
_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("liveness", "no_starvation", "claimed_when_due", *HEALED_CHECKS), "liveness"),
    **dict.fromkeys(("littles_law", "faults_landed"), "meta"),
}


def run_checks(run: Run, only: Iterable[str] | None = None) -> Verdicts:
    """Judge the run by all checks, or by those named, in display order.

    All are those that its scenario calls for, see `checks_for`. A run without events is unknown to every check, one
    that was not watched to those of what was seen. A check that crashes is unknown, with its exception in the detail.
    Raises `ValueError` for a name that is no check.
    """
    wanted = set(_asked(run)) if only is None else set(only)
    if strangers := sorted(wanted - set(ALL_CHECKS)):
        raise ValueError(f"no such check: {', '.join(strangers)}; there are {', '.join(ALL_CHECKS)}")
    return Verdicts(_judge(name, run) for name in ALL_CHECKS if name in wanted)


def checks_for(scenario: Scenario) -> tuple[str, ...]:
    """Return the names of the checks by which runs of a scenario are judged when none is named."""
    watched = WATCHED_CHECKS if scenario.store.watched else ()
    healed = () if scenario.heal_at_s is None else HEALED_CHECKS
    return (*CHECKS, *watched, *healed)


def _asked(run: Run) -> tuple[str, ...]:
    from tem_sim.frames import RunError

    try:
        # Nobody watches real processes statement by statement, whatever the scenario asks of the simulator.
        return tuple(n for n in checks_for(run.scenario) if run.mode == "sim" or n not in WATCHED_CHECKS)
    except RunError:
        # A scenario that cannot be used here any more: each check will say so.
        return tuple(CHECKS)


def _judge(name: str, run: Run) -> Verdict:
    return replace(_answer(name, run), kind=_KINDS.get(name, "safety"))


def _answer(name: str, run: Run) -> Verdict:
    if run.events.empty and run.transitions.empty:
        return verdict(name, "unknown", "no event was submitted, so there is nothing to judge")
    try:
        return (CHECKS | WATCHED_CHECKS | HEALED_CHECKS)[name](run)
    except Exception as error:
        return verdict(name, "unknown", f"the check crashed: {type(error).__name__}: {error}")

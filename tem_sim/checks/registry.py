"""All checks in the order in which they are shown. To add one: write it, and list it here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from tem_sim.checks.flow import littles_law, liveness, notifications
from tem_sim.checks.leases import single_lease
from tem_sim.checks.retries import attempts_bounded, backoff_support, no_early_claim, retry_count
from tem_sim.checks.states import conservation, legal_edges, terminal_states
from tem_sim.checks.verdict import Verdict, Verdicts, verdict

if TYPE_CHECKING:
    from tem_sim.frames import Run

CHECKS: dict[str, Callable[[Run], Verdict]] = {
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


def run_checks(run: Run, only: Iterable[str] | None = None) -> Verdicts:
    """Judge the run by all checks, or by those named, in display order.

    A run without events is unknown to every check. A check that crashes is unknown, with its exception in
    the detail. Raises `ValueError` for a name that is no check.
    """
    wanted = set(CHECKS) if only is None else set(only)
    if strangers := sorted(wanted - set(CHECKS)):
        raise ValueError(f"no such check: {', '.join(strangers)}; there are {', '.join(CHECKS)}")
    return Verdicts(_judge(name, run) for name in CHECKS if name in wanted)


def _judge(name: str, run: Run) -> Verdict:
    if run.events.empty and run.transitions.empty:
        return verdict(name, "unknown", "no event was submitted, so there is nothing to judge")
    try:
        return CHECKS[name](run)
    except Exception as error:
        return verdict(name, "unknown", f"the check crashed: {type(error).__name__}: {error}")

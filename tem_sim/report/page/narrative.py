"""What a run comes to, in sentences: the numbers that decide, each with its unit; what did not happen is said, too."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tem_sim.checks.verdict import count
from tem_sim.report.numbers import duration, plain, why_missing

if TYPE_CHECKING:
    from tem_sim.report.outcome import Outcome

# What must be nought, in words for one and for many.
_HARM: dict[str, tuple[str, str]] = {
    "lost_events": ("event is gone from the store", "events are gone from the store"),
    "stuck_rows": ("row is stuck", "rows are stuck"),
    "duplicate_effects": ("side effect happened again", "side effects happened again"),
    "lost_notifications": ("user was never told", "users were never told"),
    "duplicate_notifications": ("time a user was told again", "times a user was told again"),
}


def narrative(outcome: Outcome) -> list[str]:
    """Return the run in sentences, most important first; empty for a run in which nothing was submitted."""
    if outcome.run.events.empty:
        return []
    told = (_harm(outcome), _storm(outcome), _recovery(outcome), _latency(outcome))
    return [sentence for sentence in told if sentence]


def _harm(outcome: Outcome) -> str:
    numbers = outcome.metrics
    found = [
        f"{numbers[name]:,.0f} {words[numbers[name] != 1]}" for name, words in _HARM.items() if numbers.get(name, 0) > 0
    ]
    total = f"{numbers['events']:,.0f} events"
    ends = [f"{numbers['extinct']:,.0f} of {total} were given up (EXTINCT)"] if numbers["extinct"] else []
    ends += [f"{numbers['in_flight']:,.0f} of {total} had not ended when the run did"] if numbers["in_flight"] else []
    fine = "no event was lost, stuck or done twice, and no user was left untold or told twice"
    return _sentence("; ".join([*ends, *(found or [fine])]))


def _storm(outcome: Outcome) -> str:
    numbers = outcome.metrics
    if not numbers["retries"]:
        return "No event was retried."
    steady = "" if math.isnan(numbers["storm_factor"]) else f", {plain(numbers['storm_factor'])} times their mean rate"
    return (
        f"{numbers['retries']:,.0f} of {count(int(numbers['attempts']), 'attempt')} were retries; the worst second "
        f"started {numbers['retry_peak_per_s']:,.0f} of them{steady}."
    )


def _recovery(outcome: Outcome) -> str:
    run, drain_s, recovery_s = outcome.run, outcome.metrics["drain_s"], outcome.metrics["recovery_s"]
    landed = run.faults[run.faults["landed"] > 0]
    if landed.empty:
        return ""
    if math.isnan(drain_s):
        return _sentence(f"no time to drain can be given: {why_missing('drain_s', run)}")
    ended = f"The last fault ended at {duration(float(landed['end_s'].fillna(run.end_s).max()))}"
    if not drain_s:
        back = "the backlog was no higher by then than before the first"
    else:
        back = f"{duration(drain_s)} later the backlog was back to what it was before the first"
    again = f", and {duration(recovery_s)} later for good" if recovery_s > drain_s else ""
    return f"{ended}; {back}{again}."


def _latency(outcome: Outcome) -> str:
    numbers = outcome.metrics
    shares = (("Half of", "latency_p50_s"), ("95 % of", "latency_p95_s"), ("99 % of", "latency_p99_s"))
    known = [(share, duration(numbers[name])) for share, name in shares if not math.isnan(numbers[name])]
    if not known:
        return _sentence(f"no latency can be given: {why_missing('latency_p50_s', outcome.run)}")
    (share, first), *others = known
    more = "".join(f", {share} them {seconds}" for share, seconds in others)
    told = numbers["delivery_p95_s"]
    users = "" if math.isnan(told) else f"; 95 % of the notifications shown were on screen within {duration(told)}"
    return f"{share} the events that were PROCESSED took at most {first} from their submit{more}{users}."


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."

"""When a retry is due: what was written as its time, by whose clock, and how the delays of a run are spread."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

from tem_sim.analysis.rules import ROUNDING_S, rules
from tem_sim.analysis.stream import stream
from tem_sim.checks.offences import NOT_WATCHED, Offence, judged, of_change, table
from tem_sim.checks.verdict import Verdict, count, verdict
from tem_sim.pipeline.spread import Uniform
from tem_sim.pipeline.states import Cause, State

if TYPE_CHECKING:
    from tem_sim.analysis.rules import Rules
    from tem_sim.analysis.stream import Change
    from tem_sim.frames import Run
    from tem_sim.pipeline.backoff import Policy

_DUE = ("status", "next_retry_at", "last_delay_s", "changed_at")
# Draws that a test of their distribution needs, and below which p it calls them of another.
KS_DRAWS = 1000
KS_P = 1e-6
# Workers that draw the same share of their range so often in a row share their chance.
SAME_DRAWS = 5


def due_times(run: Run) -> Verdict:
    """A retry is due its delay after the attempt's end, by the clock read then, and is queued no sooner than that.

    The delay lies within what the policy can draw, and whoever queues the row has a clock that says it is due. Nobody
    writes a time that its own clock does not show yet.
    """
    rule = rules(run)
    found: list[Offence] = []
    retries = 0
    for changes in stream(run).rows.values():
        failures = 0
        for change in changes:
            failures = _failures(change, failures)
            retries += change.moves and change.now("cause") == Cause.ERROR
            found += [of_change(run, change, problem, *_DUE) for problem in _untimely(run, change, failures, rule)]
    return judged("due_times", run, found, f"each of {count(retries, 'retry', 'retries')} was due when its delay says")


def _failures(change: Change, before: int) -> int:
    """Return the failures of this life after a change."""
    if not change.moves:
        return before
    if change.now("cause") == Cause.REPLAY:
        return 0
    return before + (change.now("cause") in (Cause.ERROR, Cause.EXHAUSTED))


def _untimely(run: Run, change: Change, failures: int, rule: Rules) -> Iterator[str]:
    if change.after is None or not change.moves:
        return
    # A clock that a fault sets back between its reading and the statement may show less by then.
    if not rule.skew_s and change.at_s > change.clock_s + ROUNDING_S:
        yield f"dated {change.at_s - change.clock_s:.6f} s ahead of its author's clock"
    if change.edge == (State.FAILED, State.QUEUED):
        due_s = change.was("next_retry_at")
        if due_s is None or due_s > change.at_s + ROUNDING_S:
            yield "queued before it was due, by its author's own clock"
    elif change.edge == (State.PROCESSING, State.FAILED):
        yield from _wrong_delay(run, change, failures, rule)


def _wrong_delay(run: Run, change: Change, failures: int, rule: Rules) -> Iterator[str]:
    due_s, record = change.now("next_retry_at"), _record(run, change)
    if due_s is None:
        yield "FAILED without a time of its next retry"
        return
    if record is None:
        return
    ended_s, began_s = record.now("finished_at"), record.now("started_at")
    low_s, high_s = rule.settings.policy.support(failures, change.was("last_delay_s"))
    slack_s = 2 * ROUNDING_S + 1e-9 * max(high_s, abs(due_s))
    delay_s = due_s - ended_s
    if not low_s - slack_s <= delay_s <= high_s + slack_s:
        yield f"due {delay_s:.6f} s after its failure, where retry {failures} takes {low_s:g} to {high_s:g} s"
    booked_s = record.now("delay_s")
    if booked_s is None or abs(booked_s - delay_s) > slack_s:
        yield "due at another time than its recorded delay says"
    if not rule.skew_s and (ended_s > change.clock_s + ROUNDING_S or (began_s is not None and ended_s < began_s)):
        yield "its attempt ended by another clock than its worker's"


def _record(run: Run, change: Change) -> Change | None:
    """Return the record of the attempt that a change ended."""
    same = stream(run).transactions[change.txn]
    return next((one for one in same if one.table == "attempt" and one.event_id == change.event_id), None)


class _Draw(NamedTuple):
    """Where in its range a delay lies, as a share, who drew it, how far rounding may move it, and if it is uniform."""

    share: float
    thread: str
    blur: float
    uniform: bool
    change: Change


def jitter_law(run: Run) -> Verdict:
    """Delays are spread over their range as the policy draws them, and no two workers draw the same.

    A Kolmogorov-Smirnov test of the shares of the range, where that is drawn uniformly, from 1,000 draws on; and for
    each pair of workers whether their draws are equal one by one, as after a fork that copied the generator.
    """
    if not stream(run).watched:
        return verdict("jitter_law", "unknown", NOT_WATCHED)
    draws = list(_draws(run))
    if not draws:
        return verdict("jitter_law", "true", "no delay was drawn from a range")
    found = _shared_chance(run, draws)
    p, tested = _uniformity(draws)
    if found:
        return verdict("jitter_law", "false", "workers draw the same jitter, one draw after the other", table(found))
    if p < KS_P:
        rows = table([of_change(run, draw.change, "its share of the range", *_DUE) for draw in draws])
        detail = f"{count(tested, 'draw')} are not spread as the policy says (Kolmogorov-Smirnov, p = {p:.2g})"
        return verdict("jitter_law", "false", detail, rows)
    told = f"Kolmogorov-Smirnov p = {p:.3f}" if tested else f"fewer than the {KS_DRAWS:,} that a test takes"
    return verdict("jitter_law", "true", f"{count(len(draws), 'draw')}, no two workers' alike; {told}")


def _draws(run: Run) -> Iterator[_Draw]:
    policy = rules(run).settings.policy
    failures: defaultdict[int, int] = defaultdict(int)
    for change in stream(run).states:
        failures[change.event_id] = _failures(change, failures[change.event_id])
        delay_s = change.now("last_delay_s")
        if change.edge != (State.PROCESSING, State.FAILED) or delay_s is None:
            continue
        retry, previous_s = failures[change.event_id], change.was("last_delay_s")
        low_s, high_s = policy.support(retry, previous_s)
        width_s = high_s - low_s
        # What rounding to the microsecond leaves of a narrow range is no draw any more; nor is what lies outside.
        if width_s > 1e4 * ROUNDING_S and low_s <= delay_s <= high_s:
            uniform = _is_uniform(policy, retry, previous_s)
            yield _Draw((delay_s - low_s) / width_s, change.thread, ROUNDING_S / width_s, uniform, change)


def _is_uniform(policy: Policy, retry: int, previous_s: float | None) -> bool:
    """Whether a delay is spread evenly over its range; a cap that comes after the jitter piles draws up at its end."""
    spread_of = getattr(policy, "spread", None)
    spread = None if spread_of is None else spread_of(retry, previous_s)
    return isinstance(spread, Uniform) and spread.low_s + spread.width_s <= spread.clip_s


def _uniformity(draws: list[_Draw]) -> tuple[float, int]:
    """Return p of the draws under the uniform law, and how many were tested; 1 where they are too few."""
    shares = [draw.share for draw in draws if draw.uniform]
    if len(shares) < KS_DRAWS:
        return 1.0, 0
    from scipy import stats

    return float(stats.kstest(shares, "uniform").pvalue), len(shares)


def _shared_chance(run: Run, draws: list[_Draw]) -> list[Offence]:
    """Find the draws of workers that are equal to another worker's, one after the other."""
    by_worker: defaultdict[str, list[_Draw]] = defaultdict(list)
    for draw in draws:
        by_worker[draw.thread].append(draw)
    found = []
    for one, other in combinations(sorted(by_worker), 2):
        pairs = list(zip(by_worker[one], by_worker[other], strict=False))
        same = [(a, b) for a, b in pairs if abs(a.share - b.share) <= 2 * (a.blur + b.blur)]
        if len(same) >= max(SAME_DRAWS, len(pairs) / 2):
            found += [of_change(run, b.change, f"the draw of {one} again", *_DUE) for _, b in same]
    return found

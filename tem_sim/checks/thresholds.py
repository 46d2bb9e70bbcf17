"""Runs held to their thresholds: kept, broken, or neither, since what would decide it is not known.

A metric is one number per run, so its avg, max or p(95) is over the seeds; of a single run they all are that number. A
distribution is many numbers per run, and those of all seeds are put together. What is not known, such as the drain time
of a backlog that never drained, may be anything: a threshold is kept or broken only if it is so whatever that is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tem_sim.analysis.latency import percentile
from tem_sim.analysis.metrics import metrics
from tem_sim.analysis.observations import OBSERVATIONS, Observed, together
from tem_sim.checks.verdict import Answer, count
from tem_sim.scenario.thresholds import KINDS, Comparison, Threshold, in_seconds

if TYPE_CHECKING:
    from tem_sim.analysis.history import Array
    from tem_sim.frames import Run

OPPOSITE: dict[Comparison, Comparison] = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """What thresholds ask of one run: its metrics, and the distributions that some threshold names."""

    seed: int
    span_s: float
    numbers: Mapping[str, float]
    observed: Mapping[str, Observed]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A threshold's verdict.

    `value` is what the aggregate comes to over the `n` values that are known, NaN where it has none; `missing` values
    are not known. `detail` is the finding in one line.
    """

    threshold: Threshold
    verdict: Answer
    value: float
    n: int
    missing: int
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OverSeeds:
    """A threshold's verdict over all seeds together, which is the one that counts, and over each alone."""

    pooled: Held
    by_seed: dict[int, Held]


def measured(run: Run, thresholds: Iterable[Threshold], numbers: Mapping[str, float] | None = None) -> Measured:
    """Measure what the thresholds ask of a run; `numbers` are its metrics, where the caller has them."""
    named = dict.fromkeys(threshold.metric for threshold in thresholds)
    return Measured(
        seed=run.seed,
        span_s=run.end_s,
        numbers=metrics(run) if numbers is None else numbers,
        observed={name: OBSERVATIONS[name](run) for name in named if name in OBSERVATIONS},
    )


def run_thresholds(run: Run, numbers: Mapping[str, float] | None = None) -> list[Held]:
    """Hold a run to the thresholds of its scenario, in their order."""
    thresholds = run.scenario.thresholds.listed()
    if not thresholds:
        return []
    found = measured(run, thresholds, numbers)
    return [hold(threshold, [found]) for threshold in thresholds]


def over_seeds(thresholds: Sequence[Threshold], runs: Sequence[Measured]) -> list[OverSeeds]:
    """Hold runs of one scenario under several seeds to thresholds, together and one by one."""
    return [
        OverSeeds(pooled=hold(threshold, runs), by_seed={run.seed: hold(threshold, [run]) for run in runs})
        for threshold in thresholds
    ]


def hold(threshold: Threshold, runs: Sequence[Measured]) -> Held:
    """Hold runs, all together, to one threshold."""
    values = _values(threshold, runs)
    known = values.known
    missing = len(values.least) - len(known)
    if threshold.aggregate == "value":
        verdict, value = _each(threshold, values, known)
    else:
        of = _aggregate(threshold, runs)
        verdict, value = _between(threshold, of(values.least), of(values.most)), of(known) if len(known) else math.nan
    detail = _detail(threshold, verdict, value, len(known), missing)
    return Held(threshold=threshold, verdict=verdict, value=value, n=len(known), missing=missing, detail=detail)


# --- from runs to the number that is compared


def _values(threshold: Threshold, runs: Sequence[Measured]) -> Observed:
    """Return the values of the metric, one per run or many; a rate is one value for all runs."""
    metric, kind = threshold.metric, KINDS[threshold.metric]
    if kind.name == "distribution":
        return together([run.observed[metric] for run in runs])
    if threshold.aggregate == "rate":
        over, under = kind.parts or (metric, "")
        whole = sum(run.numbers[under] if under else run.span_s for run in runs)
        share = math.fsum(run.numbers[over] for run in runs) / whole if whole else math.nan
        return Observed.exactly(np.array([share]))
    return Observed.exactly(np.array([run.numbers[metric] for run in runs]))


def _aggregate(threshold: Threshold, runs: Sequence[Measured]) -> Callable[[Array], float]:
    """Return the function from the values to the number that is compared; NaN from too few."""
    # Of many values of a run a percentile is given as everywhere else. Over seeds, of which there are never many, p(95)
    # of 10 is the largest: the stricter reading.
    lenient = KINDS[threshold.metric].name != "distribution"
    made: dict[str, Callable[[Array], float]] = {
        "avg": lambda values: float(values.mean()) if len(values) else math.nan,
        "min": lambda values: float(values.min(initial=math.inf)) if len(values) else math.nan,
        "max": lambda values: float(values.max(initial=-math.inf)) if len(values) else math.nan,
        "med": lambda values: _percentile(values, 50, lenient),
        "p": lambda values: _percentile(values, threshold.percent or 50, lenient),
        "count": lambda values: float(values.sum()),
        "rate": lambda values: float(values[0]),
    }
    return made[threshold.aggregate]


def _percentile(values: Array, percent: float, lenient: bool) -> float:
    if lenient and len(values):
        return float(np.percentile(values, percent, method="inverted_cdf"))
    return percentile(values, percent)


# --- from the number to a verdict


def _between(threshold: Threshold, least: float, most: float) -> Answer:
    """Judge an aggregate that lies somewhere between its bounds."""
    if math.isnan(least) or math.isnan(most):
        return "unknown"
    if threshold.comparison in ("==", "!=") and least <= threshold.bound <= most and least != most:
        return "unknown"
    answers = {threshold.holds(least), threshold.holds(most)}
    return "unknown" if len(answers) > 1 else "true" if answers == {True} else "false"


def _each(threshold: Threshold, values: Observed, known: Array) -> tuple[Answer, float]:
    """Judge `value`, which every run must keep to; return the value of the first run that does not, or of the last."""
    broken = [float(value) for value in known if not threshold.holds(float(value))]
    if broken:
        return "false", broken[0]
    value = float(known[-1]) if len(known) else math.nan
    return ("true" if len(known) == len(values.least) and len(known) else "unknown"), value


# --- in words


def _detail(threshold: Threshold, verdict: Answer, value: float, n: int, missing: int) -> str:
    if math.isnan(value):
        return _no_value(threshold, n)
    if verdict == "unknown":
        of = count(missing, "value is", "values are")
        return f"{threshold.asked} is {_text(threshold, value)} so far, but {of} not known"
    sign = threshold.comparison if verdict == "true" else OPPOSITE[threshold.comparison]
    shown, bound = (_text(threshold, number) for number in (value, threshold.bound))
    if shown == bound and value != threshold.bound:
        shown = repr(value)
    return f"{threshold.asked} {shown} {sign} {bound}"


def _no_value(threshold: Threshold, n: int) -> str:
    percent = 50 if threshold.aggregate == "med" else threshold.percent
    if n and percent is not None:
        needed = math.ceil(round(100 / (100 - percent), 6))
        return f"{threshold.asked} takes {count(needed, 'value')} and there {'is' if n == 1 else 'are'} {n}"
    return "has no value here"


def _text(threshold: Threshold, number: float) -> str:
    """Return a number with its unit, to four digits."""
    text = f"{number:,.0f}" if number.is_integer() and abs(number) < 1e15 else f"{number:,.4g}"
    return f"{text} s" if in_seconds(threshold.metric) and threshold.aggregate != "rate" else text

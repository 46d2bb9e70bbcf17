"""A check in words: one line per scenario, and one per finding."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from tem_sim.checks.verdict import count
from tem_sim.report.github import Annotation
from tem_sim.report.numbers import plain, value_text

if TYPE_CHECKING:
    from tem_sim.baseline.check import Checked, CheckedCase
    from tem_sim.baseline.judged import Finding, Judged
    from tem_sim.scenario.places import Places

FINDINGS: dict[Finding, str] = {
    "same": "the same",
    "equivalent": "equivalent",
    "better": "better",
    "no_worse": "no worse",
    "worse": "WORSE",
    "vanished": "VANISHED",
    "unsure": "not to be told",
    "absent": "no value",
}
# What a sentence about many metrics lists at most.
_SHOWN = 3


def sentence(checked: CheckedCase) -> str:
    """Return a scenario's verdict in one line: the word, the name, and what it rests on."""
    return f"{checked.word} {checked.name}: " + "; ".join(_clauses(checked))


def _clauses(checked: CheckedCase) -> Iterator[str]:
    if checked.case.broken:
        broken, runs = checked.case.broken, count(len(checked.case.runs), "run")
        yield f"{len(broken)} of {runs} broke, seed {broken[0].seed}: {broken[0].error}"
        return
    yield from _first([change(one) for one in checked.regressions], "worse")
    yield from (_of_check(name, seeds) for name, seeds in checked.checks.items())
    for answer, how in (("false", "is not met"), ("unknown", "cannot be judged")):
        for one in checked.unmet(answer):
            yield f"threshold {one.pooled.threshold.metric} {one.pooled.threshold} {how} ({one.pooled.detail})"
    if checked.word == "NO BASELINE":
        yield "the baseline does not know it; `tem-sim baseline save` records it"
    if checked.word == "INCONCLUSIVE":
        yield from _unsettled(checked)
    if checked.word == "OK":
        yield _fine(checked)


def _first(texts: list[str], what: str) -> Iterator[str]:
    yield from texts[:_SHOWN]
    if len(texts) > _SHOWN:
        yield f"{len(texts) - _SHOWN} more {what}"


def _of_check(name: str, seeds: tuple[int, ...]) -> str:
    if not seeds:
        return f"check {name} is meant to be broken and no seed breaks it"
    return f"check {name} is false under {count(len(seeds), 'seed')} (first {seeds[0]})"


def _unsettled(checked: CheckedCase) -> Iterator[str]:
    found = checked.drift
    if found is not None and not (found.same or found.other):
        yield "no seed in common with the baseline"
    open_ones = sorted(checked.unsettled, key=lambda one: one.seeds_needed or math.inf, reverse=True)
    yield from _first([f"{change(one)}: {settling(one)}" for one in open_ones], "not to be told")


def _fine(checked: CheckedCase) -> str:
    assert checked.drift is not None
    seeds = count(len(checked.drift.same) + len(checked.drift.other), "seed")
    if checked.drift.identical:
        return f"identical to the baseline, {seeds}"
    groups = {
        FINDINGS[finding]: [one.metric for one in checked.metrics if one.finding == finding] for finding in FINDINGS
    }
    told = [f"{len(names)} {how}" for how, names in groups.items() if names]
    better = [change(one) for one in checked.metrics if one.finding == "better"]
    return "; ".join([f"no regression, {seeds}: {', '.join(told)}", *_first(better, "better")])


def change(one: Judged) -> str:
    """Say how a metric changed: `amplification 6.29 → 6.95, +10.5 % [9.8, 11.2] at a tolerated 5 %`."""
    found = one.contrast
    if one.missing:
        total = one.missing + found.n
        return f"{one.metric} has no value under {one.missing} of {count(total, 'seed')} in which it had one"
    if not found.n:
        return f"{one.metric} has no value"
    before, now = numbers(one)
    return f"{one.metric} {before} → {now}, {effect_text(one)} at a tolerated {tolerated(one)}"


def numbers(one: Judged) -> tuple[str, str]:
    """Return the means before and now, with more digits where three would show the same."""
    means = (one.contrast.mean_a, one.contrast.mean_b)
    before, now = (value_text(one.metric, mean) for mean in means)
    if before == now and not one.contrast.same:
        before, now = (f"{mean:.6g}" for mean in means)
    return before, now


def effect_text(one: Judged) -> str:
    """Return the effect with its interval: `+10.5 % [9.8, 11.2]`, in the metric's unit where a share says nothing."""
    if one.finding == "same":
        return "the same"
    found = one.contrast
    scale, unit = (100.0, " %") if found.relative else (1.0, " s" if one.metric.endswith("_s") else "")
    low, high = sorted((found.low * scale, found.high * scale))
    around = "" if math.isnan(low) else f" [{_signed(low, '')}, {_signed(high, '')}]"
    return f"{_signed(found.effect * scale, '+')}{unit}{around}"


def _signed(value: float, sign: str) -> str:
    digits = 1 if abs(value) < 99.95 else 0
    text = f"{value:{sign},.{digits}f}"
    if value and float(text.replace(",", "")) == 0:
        text = f"{value:{sign}.2g}"
    return text.replace("-", "−")


def tolerated(one: Judged) -> str:
    """Return the minimal effect as people write it."""
    text = one.pairs.guard.min_effect
    return text.replace("%", " %").replace("  ", " ") if text.endswith("%") else text


def settling(one: Judged) -> str:
    """Say what would settle what is unsure."""
    if one.seeds_needed is None:
        at_it = "no number of seeds would settle it, as the effect lies at the tolerance"
        return at_it if one.contrast.n > 1 else "there is no pair"
    seeds = count(max(one.seeds_needed, one.contrast.n + one.missing + 1), "seed")
    alone = "its interval is above, but for one of so many metrics not by enough; " if one.suspect else ""
    return f"{alone}about {seeds} would settle it"


def share(value: float) -> str:
    """Return how many times fewer runs the pairs took, for a table."""
    return "–" if math.isnan(value) else "∞" if math.isinf(value) else plain(value)


def notices(checked: Checked, places: Mapping[str, Places]) -> Iterator[Annotation]:
    """Yield for GitHub what is not fine, at the scenario's line."""
    for case in checked.cases:
        if case.word == "OK" or case.name not in places:
            continue
        spot = places[case.name].name
        why = [sentence(case), *(case.drift.sentences() if case.drift else [])]
        yield Annotation(
            level="error",
            title=f"{case.word} {case.name}",
            message="\n".join(why),
            file=spot.file,
            line=spot.line,
            col=spot.col,
        )

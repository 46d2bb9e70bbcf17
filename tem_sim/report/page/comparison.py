"""Several runs side by side: in which settings they differ, and what each number came to."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from tem_sim.analysis.metrics import METRICS
from tem_sim.report.numbers import value_text
from tem_sim.report.page.blocks import Html, element, folded, paragraphs, table, wrap

if TYPE_CHECKING:
    from tem_sim.report.page.runs import Runs

# More than these are folded: two different scenarios differ in almost everything.
SHOWN_DIFFERENCES = 8
NAMED_DIFFERENCES = 3
# What is compared in words, by metric: the less, the better.
BETTER_WHEN_LESS = {
    "amplification": "fewest attempts per event",
    "retry_peak_per_s": "lowest retry peak",
    "drain_s": "soonest drained",
    "latency_p99_s": "lowest p99 latency",
    "extinct": "fewest events given up",
}
# Numbers that say how large a run was, not how well it went: no value of them is the best.
_SIZES = ("events", "attempts", "retries", "processed", "in_flight", "storm_factor")


def comparison(runs: Runs) -> Html:
    """Return the settings that differ and every metric of every run; the best of a row is marked."""
    said = paragraphs([difference_words(runs), *best_words(runs), _caution(runs)])
    return Html(said + _differences(runs) + _metrics(runs))


def difference_words(runs: Runs) -> str:
    """Say in a sentence in what the runs differ."""
    found = runs.differences
    if not found:
        return "The runs have the same settings and the same seed."
    named = [f"{one.path} ({' | '.join(one.values)})" for one in found[:NAMED_DIFFERENCES]]
    more = f", and {len(found) - len(named)} more settings" if len(found) > len(named) else ""
    return f"The runs differ in {', '.join(named)}{more}."


def best_words(runs: Runs) -> list[str]:
    """Say in a sentence which run did best, number by number; nothing where all did equally well."""
    parts = []
    for name, words in BETTER_WHEN_LESS.items():
        values = [outcome.metrics[name] for outcome in runs.outcomes]
        best = _best(values)
        if 0 < len(best) < len(values):
            winners = " and ".join(runs.letters[number] for number in best)
            told = ", ".join(
                f"{letter} {value_text(name, value)}" for letter, value in zip(runs.letters, values, strict=True)
            )
            parts.append(f"{words}: {winners} ({told})")
    return [_sentence("; ".join(parts))] if parts else []


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _best(values: list[float]) -> list[int]:
    """Return the places of the least value; a run without one, such as a drain that never came, is no winner."""
    known = [value for value in values if not math.isnan(value)]
    return [number for number, value in enumerate(values) if value == min(known)] if known else []


def _caution(runs: Runs) -> str:
    seeds = {run.seed for run in runs}
    luck = (
        "All runs have the same seed, so that arrivals and the handler's luck are the same where the settings that "
        "make them are"
        if len(seeds) == 1
        else "The runs have different seeds, so that part of a difference is luck"
    )
    return f"{luck}. Each is one run: these are observations without an interval, and a small difference may be chance."


def _differences(runs: Runs) -> str:
    rows = [(one.path, *one.values) for one in runs.differences]
    if not rows:
        return ""
    made = table(["setting", *runs.letters], rows, "What differs")
    return made if len(rows) <= SHOWN_DIFFERENCES else folded(f"{len(rows)} settings differ", made)


def _metrics(runs: Runs) -> str:
    rows = [_metric_row(name, [outcome.metrics[name] for outcome in runs.outcomes]) for name in METRICS]
    verdicts = ["verdict", *(element("b", outcome.word) for outcome in runs.outcomes), ""]
    right = range(1, len(runs) + 1)
    heads = ["metric", *runs.letters, "what it is"]
    return table(heads, [verdicts, *rows], "Every metric; the best of a row is bold", right, html=True)


def _metric_row(name: str, values: list[float]) -> list[str]:
    best = [] if name in _SIZES else _best(values)
    marked = best if len(best) < len(values) else []
    cells = [
        wrap("b", escape(value_text(name, value))) if number in marked else escape(value_text(name, value))
        for number, value in enumerate(values)
    ]
    return [escape(name), *cells, escape(METRICS[name].about)]

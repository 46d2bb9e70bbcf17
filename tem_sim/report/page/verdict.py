"""The head of a page: the verdict in words first, then the few numbers that decide, then what to mind."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from tem_sim.report.numbers import value_text, why_missing
from tem_sim.report.page.blocks import Html, element, facts_list, wrap
from tem_sim.report.page.comparison import best_words, difference_words
from tem_sim.report.page.narrative import narrative
from tem_sim.report.page.runs import facts_of
from tem_sim.report.page.thresholds import thresholds

if TYPE_CHECKING:
    from tem_sim.report.outcome import Outcome
    from tem_sim.report.page.runs import Runs

# The numbers on top, by metric, with the words that stand under them.
KEY_NUMBERS = {
    "amplification": "attempts per event",
    "retry_peak_per_s": "retries in the worst second",
    "drain_s": "to drain after the last fault",
    "latency_p50_s": "submit to PROCESSED, median",
    "latency_p99_s": "submit to PROCESSED, p99",
    "extinct": "events given up (EXTINCT)",
}


def verdict(runs: Runs) -> Html:
    """Return the head of the page, with what a program wants to know of it."""
    made = _many(runs) if runs.several else _one(runs.outcomes[0])
    return Html(wrap("header", made, class_="verdict"), {"runs": [facts_of(outcome) for outcome in runs.outcomes]})


def _one(outcome: Outcome) -> str:
    run = outcome.run
    about = str(run.scenario_dict.get("about") or "")
    head = element("h1", run.name) + _sentence(outcome) + (element("p", about, class_="about") if about else "")
    return head + _told(narrative(outcome)) + thresholds(outcome) + _numbers(outcome) + _warnings(outcome)


def _many(runs: Runs) -> str:
    parts = [element("h1", f"{len(runs)} runs compared")]
    parts += [
        wrap("div", runs.heading(number, "h2") + _sentence(outcome) + thresholds(outcome))
        for number, outcome in enumerate(runs.outcomes)
    ]
    parts.append(_told([difference_words(runs), *best_words(runs)]))
    return "".join([*parts, *(_warnings(outcome, letter) for letter, outcome in _lettered(runs))])


def _lettered(runs: Runs) -> list[tuple[str, Outcome]]:
    return list(zip(runs.letters, runs.outcomes, strict=True))


def _sentence(outcome: Outcome) -> str:
    word, _, rest = outcome.sentence().partition(" ")
    badge = element("strong", word, class_=f"badge {word.lower()}")
    return wrap("p", f"{badge} {escape(rest.partition(': ')[2] or rest)}.", class_="sentence")


def _told(sentences: list[str]) -> str:
    return wrap("ul", "".join(element("li", sentence) for sentence in sentences), class_="told") if sentences else ""


def _numbers(outcome: Outcome) -> str:
    values = {
        words: element("b", value_text(name, outcome.metrics[name])) + _why(name, outcome)
        for name, words in KEY_NUMBERS.items()
    }
    return facts_list(values).replace("<dl>", '<dl class="numbers">', 1)


def _why(name: str, outcome: Outcome) -> str:
    missing = value_text(name, outcome.metrics[name]) == "n/a"
    return element("small", why_missing(name, outcome.run)) if missing else ""


def _warnings(outcome: Outcome, letter: str = "") -> str:
    warnings = outcome.warnings()
    if not warnings:
        return ""
    title = "To mind" + (f", of {letter}" if letter else "")
    listed = "".join(element("li", warning) for warning in warnings)
    return wrap("aside", element("b", title) + wrap("ul", listed), class_="mind", aria_label=title)

"""What a page's numbers rest on, and the words it uses."""

from __future__ import annotations

from dataclasses import fields
from html import escape
from typing import TYPE_CHECKING

from tem_sim.analysis.backlog import BAND_SIGMAS, LOOK_BACK_S
from tem_sim.analysis.metrics import METRICS
from tem_sim.analysis.rules import worst_skew_s
from tem_sim.pipeline.settings import Settings
from tem_sim.report.page.blocks import Html, element, wrap

if TYPE_CHECKING:
    from tem_sim.frames import Run
    from tem_sim.report.page.runs import Runs

_ALWAYS = (
    "Each run is one seed: its numbers are what happened in it, not estimates, so they have no interval. Another seed "
    "gives other numbers; for how far they spread, run several.",
    "Nothing is cut: no warm-up is left out, and events and attempts that had not ended when the run did are counted "
    "as such. Latencies are those of the events that got there.",
    "Attempts are counted in the second in which their handler call began, from the run's start on. A second without "
    "any counts as nought, and nothing is smoothed.",
    "A percentile p is an observed value, the smallest that p % do not exceed, and is given from 1/(1−p) observations "
    "on (20 for p95, 100 for p99).",
    f"The level before a fault, L, is the highest backlog in the {LOOK_BACK_S:g} s before it. Drained means back at L "
    f"for the first time; recovered means above L + {BAND_SIGMAS:g}·√(L + 1) for the last time.",
)
_SIMULATED = (
    "The pipeline is the real code on a real database; time is simulated. Workers, broker, scheduler, downstream, "
    "network and users behave as the scenario says, which is a model: what it leaves out did not happen here."
)
_LIVE = (
    "The pipeline ran for real: Celery workers, Redis, a database and sockets, on one machine, whose timing no seed "
    "repeats. Times are by that machine's clock; what each process adds, such as starting, is in them."
)
_SKEWED = "Clocks were skewed on purpose: times are those of whoever wrote them, as in a real log, and may contradict."

# What is also a metric is defined there, once.
_WORDS: dict[str, str] = {
    "event": "one thing that a client submitted and that is to be handled once",
    "attempt": "one claim of an event by a worker, whatever became of it",
    "retry": "attempt 2 and later of an event; also the phase QUEUED after a failure, before it is claimed again",
    "amplification": METRICS["amplification"].about,
    "retry peak": METRICS["retry_peak_per_s"].about,
    "storm factor": METRICS["storm_factor"].about,
    "backlog": "rows that have not come to their end: QUEUED, PROCESSING or FAILED",
    "drain time": METRICS["drain_s"].about,
    "recovery time": METRICS["recovery_s"].about,
    "throughput": "attempts that ended, per second, whatever their outcome",
    "goodput": "useful completions per second: events that became PROCESSED",
    "latency": "from an event's submit to the commit that made it PROCESSED, or to its user's socket",
    "EXTINCT": "given up: the retries are spent, or a worker died of it too often; no automatic retry, ever",
    "EXTINCT rate": METRICS["extinct_rate"].about,
    "lost event": METRICS["lost_events"].about,
    "stuck row": METRICS["stuck_rows"].about,
    "duplicate effect": METRICS["duplicate_effects"].about,
    "lost notification": METRICS["lost_notifications"].about,
    "duplicate notification": METRICS["duplicate_notifications"].about,
    "wasted work": "attempts that failed, or whose work was lost, and the worker time in them",
    "lease": "how long a worker may hold a row before the scheduler takes it back",
    "outbox": "the notification is written in the transaction that makes its event PROCESSED, and relayed from there",
    "fencing token": "the attempt's number, which every finishing write checks: a worker that lost its row is refused",
    "digest": "a hash over all state changes: the same code, scenario and seed give the same digest",
}


def assumptions(runs: Runs) -> Html:
    """Return what must be known to trust the numbers, a sentence each."""
    modes = {_SIMULATED if run.mode == "sim" else _LIVE: None for run in runs}
    general = [*modes, *_ALWAYS]
    if any(worst_skew_s(run.scenario) for run in runs):
        general.append(_SKEWED)
    own = [
        (f"{letter}: " if letter else "") + sentence
        for letter, run in zip(runs.letters, runs, strict=True)
        for sentence in _off(run)
    ]
    return Html(wrap("ul", "".join(element("li", sentence) for sentence in [*general, *own])))


def _off(run: Run) -> list[str]:
    """Say which protections the scenario does without: a number that looks bad may be meant to."""
    used, usual = run.scenario.settings(), Settings()
    off = [
        f"{one.name.removesuffix('_s')} {_said(getattr(used, one.name))}"
        for one in fields(Settings)
        if _weaker(getattr(used, one.name), getattr(usual, one.name), one.name)
    ]
    return [f"Protections that the scenario does without: {', '.join(off)}."] if off else []


def _weaker(used: object, usual: object, name: str) -> bool:
    if name in ("write_guard", "isolation", "outbox"):
        return used != usual
    return used is None and usual is not None


def _said(value: object) -> str:
    return "off" if value is None or value is False else str(value)


def glossary() -> Html:
    """Return the words and what they mean here."""
    listed = "".join(f"<div><dt>{escape(word)}</dt><dd>{escape(about)}</dd></div>" for word, about in _WORDS.items())
    return Html(wrap("dl", listed, class_="words"))

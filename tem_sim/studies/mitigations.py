"""What each mitigation would change: the scenario as it is beside the same events and luck with one thing done to it.

Every difference is one of pairs, seed by seed. A mitigation is judged by what it surely makes better and what it surely
makes worse, so that no weighing of goodput against peaks is hidden in a score.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from tem_sim.analysis.backlog import span_recovery
from tem_sim.analysis.counted import database_per_event, submissions
from tem_sim.analysis.latency import latencies
from tem_sim.analysis.result import Result
from tem_sim.analysis.storm import bin_numbers
from tem_sim.scenario.seeds import DEFAULT_SEEDS
from tem_sim.scenario.variants import Overrides, variants
from tem_sim.studies.remedies import remedies
from tem_sim.studies.replications import Replications, replicate

if TYPE_CHECKING:
    import pandas as pd

    from tem_sim.frames import Run
    from tem_sim.scenario.models import Scenario
    from tem_sim.studies.progress import Progress

# The scenario with nothing done about it, as it is called in tables.
BASELINE = "as it is"
# Each measure with the words for it, and whether more of it is better.
MEASURES: dict[str, tuple[str, bool]] = {
    "goodput_per_s": ("goodput", True),
    "lost_share": ("loss", False),
    "peak_per_s": ("peak", False),
    "recovery_s": ("recovery", False),
    "latency_mean_s": ("latency", False),
    "calls_per_event": ("calls per event", False),
    "statements_per_event": ("statements per event", False),
}
# Those that mitigations are ranked by; the last stands for what they cost.
RANKED = ("goodput_per_s", "lost_share", "peak_per_s", "recovery_s", "statements_per_event")
# A difference of less than this share of the baseline is none that anybody would act on, however sure it is.
RELEVANT = 0.01
# How many measures a sentence names.
MOST_NAMED = 3


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Mitigations(Result):
    """The mitigations, those first that make most surely better and least worse; ties by goodput.

    Columns: mitigation, settings, `better` and `worse` (the measures that are surely so, in words), then of each of
    `MEASURES` the mean, `…_difference` to the baseline with its interval `…_difference_low` and `…_difference_high`,
    and `…_sure`; at last `rank_…` of each of `RANKED` by its mean, 1 for the best. The baseline is a row of its own.
    `rows` are the runs.
    """

    rows: Replications


def mitigations(
    scenario: Scenario,
    seeds: int | Sequence[int] = DEFAULT_SEEDS,
    *,
    tried: Mapping[str, Overrides] | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Mitigations:
    """Run a scenario as it is and with each mitigation.

    `tried`: names to what `--set` takes, such as `{"budget": "pipeline.retry_budget={floor: 5/s}"}`; by default what
    `remedies` derives from the scenario, which may be changed first.
    """
    settings = dict(remedies(scenario) if tried is None else tried)
    if BASELINE in settings or not settings:
        raise ValueError(f"tried: must have at least one mitigation, and none called {BASELINE!r}")
    rows = replicate(
        variants(scenario, {BASELINE: [], **settings}), seeds, measure=measured, jobs=jobs, progress=progress
    )
    table = _table(rows, settings)
    return Mitigations(
        title=f"Mitigations of {scenario.name}",
        verdict=verdict(table),
        table=table,
        notes=_notes(rows),
        headline=("mitigation", "better", "worse", *(f"{measure}_difference" for measure in RANKED)),
        rows=rows,
    )


# --- one run


def measured(run: Run) -> dict[str, float]:
    """Return what a mitigation is judged by."""
    counted = submissions(run)
    offered = counted["offered"] if counted else len(run.events)
    status = run.events["status"]
    processed = int((status == "PROCESSED").sum())
    started_s = run.attempts["started_s"].dropna().to_numpy()
    healed_s = _healed_s(run)
    after_s = started_s[started_s >= healed_s]
    return {
        "goodput_per_s": _goodput_per_s(run, processed),
        "lost_share": 1 - processed / offered if offered else math.nan,
        "extinct_share": float((status == "EXTINCT").sum()) / offered if offered else math.nan,
        "refused_share": counted["rejected"] / offered if counted and offered else 0.0,
        "peak_per_s": float(np.bincount(bin_numbers(after_s, 1.0), minlength=1).max()),
        "recovery_s": _recovery_s(run, healed_s),
        "latency_mean_s": float(latencies(run)["processed_s"].mean()),
        "calls_per_event": len(started_s) / offered if offered else math.nan,
        "statements_per_event": database_per_event(run),
    }


def _healed_s(run: Run) -> float:
    """Return when the last fault was over; 0 without any that landed."""
    ends_s = run.faults.loc[run.faults["landed"] > 0, "end_s"].fillna(run.end_s)
    return float(ends_s.max()) if len(ends_s) else 0.0


def _goodput_per_s(run: Run, processed: int) -> float:
    """Return the useful completions per second from the first submission until all had ended, or the run had."""
    events = run.events
    if events.empty:
        return math.nan
    last_s = float(run.end_s if events["finished_s"].isna().any() else events["finished_s"].max())
    took_s = last_s - float(events["submitted_s"].min())
    return processed / took_s if took_s > 0 else math.nan


def _recovery_s(run: Run, healed_s: float) -> float:
    """Return the time from the last fault's end until the backlog is in its band for good; never is the run's end."""
    recovery_s = span_recovery(run)[1]
    return run.end_s - healed_s if math.isnan(recovery_s) else recovery_s


# --- all of them


# By variant and measure, the columns of `Replications.compare`.
_Pairs = Mapping[tuple[str, str], Mapping[str, float]]
# The baseline has no difference to itself.
# A difference with its interval: the columns of the table, from those of a comparison.
DIFFERENCE = {"difference": "difference", "difference_low": "low", "difference_high": "high"}
_NO_PAIR = {"baseline_mean": math.nan, "difference": math.nan, "low": math.nan, "high": math.nan, "significant": 0.0}


def _table(rows: Replications, settings: Mapping[str, Overrides]) -> pd.DataFrame:
    import pandas as pd

    compared = rows.compare(BASELINE, measures=list(MEASURES)).set_index(["variant", "measure"])
    pairs = cast("_Pairs", compared.to_dict("index"))
    made = [_line(rows, pairs, name, settings.get(name, ())) for name in rows.variants]
    table = pd.DataFrame(made)
    for measure in RANKED:
        ordered = -table[measure] if MEASURES[measure][1] else table[measure]
        table[f"rank_{measure}"] = ordered.rank(method="min", na_option="bottom").astype(int)
    score = table["better"].map(_named) - table["worse"].map(_named)
    order = table.assign(score=score).sort_values(["score", "goodput_per_s"], ascending=False, kind="stable").index
    return table.loc[order].reset_index(drop=True)


def _named(words: str) -> int:
    return len(words.split(", ")) if words else 0


def _line(rows: Replications, pairs: _Pairs, name: str, settings: Overrides) -> dict[str, object]:
    told = settings if isinstance(settings, str) else " ".join(settings)
    line: dict[str, object] = {"mitigation": name, "settings": told, "better": "", "worse": ""}
    words: dict[bool, list[str]] = {True: [], False: []}
    for measure, (word, more_is_better) in MEASURES.items():
        pair = pairs.get((name, measure), _NO_PAIR)
        line[measure] = float(rows.values(name, measure).mean())
        line |= {f"{measure}_{column}": pair[of] for column, of in DIFFERENCE.items()}
        line[f"{measure}_sure"] = bool(pair["significant"]) and _matters(pair)
        if line[f"{measure}_sure"]:
            words[(pair["difference"] > 0) == more_is_better].append(word)
    return line | {"better": ", ".join(words[True]), "worse": ", ".join(words[False])}


def _matters(pair: Mapping[str, float]) -> bool:
    return abs(pair["difference"]) >= RELEVANT * abs(pair["baseline_mean"])


# --- words


def verdict(table: pd.DataFrame) -> str:
    """Say what helps most and at what price, what else helps without harm, and what does harm."""
    base = table[table["mitigation"] == BASELINE].iloc[0]
    others = table[table["mitigation"] != BASELINE]
    helping = others[others["better"] != ""]
    if helping.empty:
        return f"None of {len(others)} mitigations makes anything surely better. {_harm(others)}".strip()
    return " ".join(part for part in (_best(helping.iloc[0], base), _free(helping), _harm(others)) if part)


def _best(row: pd.Series[float], base: pd.Series[float]) -> str:
    said = f"{row['mitigation']} helps most: {_changes(row, base, str(row['better']))}"
    return f"{said}, at the price of {_changes(row, base, str(row['worse']))}." if row["worse"] else f"{said}."


def _changes(row: pd.Series[float], base: pd.Series[float], words: str) -> str:
    """Name the first measures and by how much they differ from the baseline, in percent where that has a meaning."""
    measures = [name for name, (word, _) in MEASURES.items() if word in words.split(", ")]
    return ", ".join(f"{MEASURES[name][0]} {_change(row, base, name)}" for name in measures[:MOST_NAMED])


def _change(row: pd.Series[float], base: pd.Series[float], measure: str) -> str:
    bounds = [float(row[f"{measure}_{column}"]) for column in DIFFERENCE]
    if not base[measure]:
        return "{:+.3g} [{:.3g}, {:.3g}]".format(*bounds)
    return "{:+.3g} % [{:.3g}, {:.3g}]".format(*(100 * bound / float(base[measure]) for bound in bounds))


def _free(helping: pd.DataFrame) -> str:
    names = list(helping.loc[helping["worse"] == "", "mitigation"])[:5]
    return f"Surely better in something and worse in nothing: {', '.join(names)}." if names else ""


def _harm(others: pd.DataFrame) -> str:
    lossy = [str(row["mitigation"]) for _, row in others.iterrows() if "loss" in str(row["worse"]).split(", ")]
    return f"More events are lost with {', '.join(lossy)}." if lossy else ""


def _notes(rows: Replications) -> tuple[str, ...]:
    notes = [
        f"{rows.rows['seed'].nunique()} seeds, the same for all: differences are of pairs, intervals of 95 % (t). "
        f"Sure: at most 5 % false discoveries among all {len(rows.variants) - 1} × {len(MEASURES)} differences, "
        f"and a difference of at least {RELEVANT:.0%} of the baseline.",
        "goodput_per_s: PROCESSED per second, from the first submission until all events had ended, or the run had.",
        "lost_share: of the events that clients offered, those EXTINCT, refused, or unfinished at the end.",
        "peak_per_s: most handler calls started in any second after the last fault was over.",
        "recovery_s: from the last fault's end until the backlog left the time above its band for good; where it never "
        "did, the time to the run's end, which is a lower bound.",
        "latency_mean_s: of PROCESSED events, from the submission that was accepted. What is lost has none, what was "
        "refused does not count its waiting: who loses or refuses many looks quicker than it is.",
        "calls_per_event and statements_per_event: what the downstream and the database are asked, per event.",
        "Each mitigation is sized by a first guess from the scenario (`remedies`); another size may do better.",
    ]
    return (*notes, *rows.broken_notes())

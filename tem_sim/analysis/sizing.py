"""How large a retry policy must be to outlive an outage: the smallest max_retries, base or cap that does.

Each is sought with the other two held, on paper (`outlived`). The share of EXTINCT events falls with all three, so the
smallest value that suffices is found by halving, and the next smaller one does not suffice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np

from tem_sim.analysis.columns import mean_columns
from tem_sim.analysis.least import least, three_digits
from tem_sim.analysis.outage_draws import caught
from tem_sim.analysis.outlived import TARGET, expected_share, seconds_words
from tem_sim.analysis.result import Result
from tem_sim.analysis.retry_theory import retry_horizon
from tem_sim.pipeline.backoff import MAX_DELAY_S, Policy
from tem_sim.scenario.policy import BackoffModel
from tem_sim.scenario.quantities import argument, duration_s, positive_duration_s

if TYPE_CHECKING:
    import pandas as pd
    from pydantic import TypeAdapter

# The most retries that are tried.
MAX_RETRIES = 200
# The shortest base that is tried.
LEAST_S = 1e-3
# Events that are followed for the latency that the outage adds.
EVENTS = 20_000
GIVEN, RETRIES, BASE, CAP = "as given", "max_retries", "base", "cap"


# Growths and jitters by name; a jitter that needs a width or share of its own is given as a mapping.
GROWTHS = ("fixed", "linear", "exponential", "polynomial", "fibonacci", "explicit")
JITTERS = ("none", "full", "equal", "proportional", "decorrelated")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Sizing(Result):
    """`policy` is the recommended one, ready for use, and `yaml` the same to paste into a scenario.

    None and empty where no option outlives the outage within the limits. `table` has a row for the policy as given and
    one per option: change (what differs), max_retries, base_s, cap_s (NaN: none), expected_share of EXTINCT and
    expected_error, outlives, fits (the limit on latency too), the retry horizon, after_mean_s with its interval and
    after_p95_s (from the outage's end until an event that it caught got through), attempts per event, recommended.
    """

    policy: Policy | None
    yaml: str


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What is to be outlived, and under which conditions."""

    outage_s: float
    p_extinct: float
    fail_s: float
    period_s: float | None
    latency_s: float | None
    seed: int


@dataclass(frozen=True)
class Option:
    """A policy as the keys of a scenario's `pipeline.backoff`, and which of them was changed."""

    change: str
    keys: Mapping[str, object]

    @cached_property
    def policy(self) -> Policy:
        from pydantic import ValidationError

        try:
            return _read().validate_python(dict(self.keys)).policy()
        except ValidationError as error:
            # What is wrong with the keys, without pydantic's account of all the models that it tried.
            told = [
                (".".join(map(str, one["loc"][1:])) or "backoff", one["msg"], one["input"]) for one in error.errors()
            ]
            raise ValueError("; ".join(f"{key}: {what}, got {value!r}" for key, what, value in told)) from None

    def changed(self, change: str, value: object) -> Option:
        return Option(change, {**self.keys, change: value})


@cache
def _read() -> TypeAdapter[BackoffModel]:
    from pydantic import TypeAdapter

    return TypeAdapter(BackoffModel)


def size(
    outage: str | float = "30s",
    p_extinct: float = TARGET,
    *,
    base: str | float = "10s",
    cap: str | float = "off",
    max_retries: int | str = 5,
    jitter: str | Mapping[str, object] = "full",
    growth: str = "exponential",
    fail_time: str | float = 0.0,
    tick: str | float | None = None,
    added_latency: str | float | None = None,
    seed: int = 1,
    **more: object,
) -> Sizing:
    """Return the smallest max_retries, base and cap with which at most `p_extinct` of the events caught are EXTINCT.

    `base`, `cap`, `max_retries`, `jitter`, `growth` and `more` (such as factor=1.5) are the policy as given, written as
    in a scenario. `fail_time`: how long a refused attempt takes. `tick`: the scheduler's period; None starts retries
    when they are due. `added_latency`: of the events that get through, 95 % are to be so soon after the outage's end.
    """
    if not 0 < p_extinct < 1:
        raise ValueError(f"p_extinct: must be above 0 and below 1, got {p_extinct}")
    ask = Ask(
        outage_s=argument(positive_duration_s, "outage", outage),
        p_extinct=p_extinct,
        fail_s=argument(duration_s, "fail_time", fail_time),
        period_s=None if tick is None else argument(positive_duration_s, "tick", tick),
        latency_s=None if added_latency is None else argument(positive_duration_s, "added_latency", added_latency),
        seed=seed,
    )
    _one_of("growth", growth, GROWTHS)
    if isinstance(jitter, str):
        _one_of("jitter", jitter, JITTERS)
    keys = {
        "growth": growth,
        "base": argument(positive_duration_s, "base", base),
        "cap": cap if cap == "off" else argument(positive_duration_s, "cap", cap),
    }
    given = Option(GIVEN, keys | {"jitter": jitter, "max_retries": max_retries, **more})
    options = {GIVEN: given}
    for change in (RETRIES, BASE, CAP):
        if (found := smallest(given, change, ask)) is not None:
            options[change] = found
    return _answer(options, ask)


def _one_of(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ValueError(f"{name}: must be one of {', '.join(known)}, got {value!r}")


def smallest(given: Option, change: str, ask: Ask) -> Option | None:
    """Return the option with the smallest value of one key that outlives the outage; None where no value does."""
    found = least(
        _values(given, change), lambda value: _upper_share(given.changed(change, value), ask) <= ask.p_extinct
    )
    return None if found is None else given.changed(change, found)


def _values(given: Option, change: str) -> Sequence[object]:
    """Return the values to try, in rising order: a cap is at least the base, and `off` is the highest of all."""
    base_s, cap_s = (given.keys[key] for key in (BASE, CAP))
    assert isinstance(base_s, float)
    if change == RETRIES:
        return range(MAX_RETRIES + 1)
    if change == BASE:
        return three_digits(LEAST_S, cap_s if isinstance(cap_s, float) else MAX_DELAY_S)
    return [*three_digits(base_s, MAX_DELAY_S), "off"]


def _upper_share(option: Option, ask: Ask) -> float:
    """Return the share on paper, at its upper end where it may be off."""
    found = expected_share(option.policy, np.array([ask.outage_s]), ask.fail_s, ask.period_s)
    return float(found.value[0] + found.error[0])


# --- the answer


def _answer(options: Mapping[str, Option], ask: Ask) -> Sizing:
    import pandas as pd

    table = pd.DataFrame([_row(option, ask) for option in options.values()])
    best = _recommended(table)
    chosen = None if best is None else options[best]
    return Sizing(
        title=f"A policy for an outage of {seconds_words(ask.outage_s)}",
        verdict=_verdict(table, options, best, ask),
        table=table.assign(recommended=table["change"] == best),
        notes=_notes(ask),
        policy=None if chosen is None else chosen.policy,
        yaml="" if chosen is None else yaml_of(chosen),
    )


def _row(option: Option, ask: Ask) -> dict[str, object]:
    policy = option.policy
    found = expected_share(policy, np.array([ask.outage_s]), ask.fail_s, ask.period_s)
    drawn = caught(policy, ask.outage_s, EVENTS, ask.seed, fail_s=ask.fail_s, period_s=ask.period_s)
    through_s = drawn.after_s[~np.isnan(drawn.after_s)]
    p95_s = float(np.quantile(through_s, 0.95)) if len(through_s) else math.nan
    outlives = bool(found.value[0] + found.error[0] <= ask.p_extinct)
    horizon = retry_horizon(policy)
    return {
        "change": option.change,
        "max_retries": math.nan if policy.max_retries is None else policy.max_retries,
        "base_s": option.keys[BASE],
        "cap_s": math.nan if option.keys[CAP] == "off" else option.keys[CAP],
        "expected_share": float(found.value[0]),
        "expected_error": float(found.error[0]),
        "outlives": outlives,
        "fits": outlives and (ask.latency_s is None or p95_s <= ask.latency_s),
        "horizon_min_s": horizon.min_s,
        "horizon_mean_s": horizon.mean_s,
        "horizon_max_s": horizon.max_s,
        **mean_columns("after_mean_s", through_s),
        "after_p95_s": p95_s,
        "attempts": float(drawn.attempts.mean()),
    }


def _recommended(table: pd.DataFrame) -> str | None:
    """Return the change that is recommended: none where the policy as given fits, else the one that adds least."""
    fitting = table[table["fits"]]
    if fitting.empty:
        return None
    if bool(fitting["change"].eq(GIVEN).any()):
        return GIVEN
    return str(fitting.sort_values(["after_mean_s", "attempts"]).iloc[0]["change"])


def yaml_of(option: Option) -> str:
    """Return the option as the part of a scenario that sets it."""
    keys = ", ".join(f"{key}: {_yaml_value(key, value)}" for key, value in option.keys.items())
    return f"pipeline:\n  backoff: {{{keys}}}\n"


def _yaml_value(key: str, value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {part}" for name, part in value.items()) + "}"
    return _duration(value) if key in (BASE, CAP) and isinstance(value, float) else str(value)


def _duration(length_s: float) -> str:
    return f"{length_s:.9f}".rstrip("0").rstrip(".") + "s"


# --- in words


def _verdict(table: pd.DataFrame, options: Mapping[str, Option], best: str | None, ask: Ask) -> str:
    given = table.iloc[0]
    reach = f"retry horizon {_reach(given)}"
    outage, target = seconds_words(ask.outage_s), f"{ask.p_extinct:.3g}"
    if given["outlives"]:
        said = f"The policy as given outlives an outage of {outage}: {given['expected_share']:.2g} EXTINCT ({reach})."
    else:
        said = f"An outage of {outage} makes {given['expected_share']:.2g} of the events it catches EXTINCT ({reach})."
    least_told = "; ".join(_told(change, options.get(change)) for change in (RETRIES, BASE, CAP))
    said += f" Smallest values for at most {target}, each by itself: {least_told}."
    return f"{said} {_advice(table, best, ask)}"


def _reach(row: pd.Series[float]) -> str:
    least_s, most_s = float(row["horizon_min_s"]), float(row["horizon_max_s"])
    return f"{seconds_words(least_s)} to {seconds_words(most_s)}" if math.isfinite(most_s) else "without end"


def _told(change: str, option: Option | None) -> str:
    if option is None:
        return f"no number of retries up to {MAX_RETRIES} will do" if change == RETRIES else f"no {change} will do"
    value = option.keys[change]
    return f"{change} {_duration(value) if isinstance(value, float) else value}"


def _advice(table: pd.DataFrame, best: str | None, ask: Ask) -> str:
    if best is None:
        return _none_fits(table, ask)
    row = table[table["change"] == best].iloc[0]
    through = (
        f"the events caught get through {row['after_mean_s']:.3g} s after its end on average, 95 % within "
        f"{row['after_p95_s']:.3g} s"
    )
    return f"Leave it as it is: {through}." if best == GIVEN else f"Recommended: change {best}; {through}."


def _none_fits(table: pd.DataFrame, ask: Ask) -> str:
    outlive = table[table["outlives"]]
    if outlive.empty:
        return f"Nothing of this kind outlives it (up to {MAX_RETRIES} retries): change two at once, or the jitter."
    soonest = outlive.sort_values("after_p95_s").iloc[0]
    assert ask.latency_s is not None
    return (
        f"None of them adds as little latency as {ask.latency_s:g} s for 95 % of the events; closest is a change of "
        f"{soonest['change']}, with {soonest['after_p95_s']:.3g} s."
    )


def _notes(ask: Ask) -> tuple[str, ...]:
    tick = (
        "retries start when they are due" if ask.period_s is None else f"a tick each {ask.period_s:g} s releases them"
    )
    return (
        "Each value is sought with the others held: whole retries, three digits of base and cap. The share of EXTINCT "
        "is on paper, P(U(0, D) + S_R < D), and counts with its error.",
        f"Every attempt in the outage fails, after {ask.fail_s:g} s, and none after it; {tick}; no worker is short.",
        f"Latency and attempts from {EVENTS:,} events followed one by one, with a 95 % t interval of the mean.",
    )

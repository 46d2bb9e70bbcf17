"""Retry settings of other libraries, as their own objects hold them, read off as policies.

No library is imported: an object is known by the module that its class comes from, and read by its attributes. Where
the library computes delays by a formula that is here, the policy is that formula; anything else is refused.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from tem_sim.pipeline.backoff import (
    Additive,
    Backoff,
    Drawn,
    Explicit,
    Exponential,
    Fibonacci,
    Fixed,
    Full,
    Growth,
    NoJitter,
    Policy,
)
from tem_sim.pipeline.object_tenacity import NotMappedError, of_stop, of_tenacity
from tem_sim.pipeline.preset_formulas import CeleryAutoretry, Procrastinate, Rq, Urllib3
from tem_sim.pipeline.presets import PRESETS

__all__ = ["NotMappedError", "policy_of_object"]


def policy_of_object(thing: object, **changes: Any) -> Policy:
    """Return the policy that a library's object stands for; NotMappedError, a ValueError, for all that is not known.

    `changes`: max_retries, budget_s and other fields of the policy, in the place of the object's own; the jitter of a
    bare generator may be one of backoff's functions.
    """
    if inspect.isfunction(changes.get("jitter")):
        changes["jitter"] = _backoff_jitter(changes["jitter"])
    policy: Any = _reader(thing)(thing)
    found: Policy = dataclasses.replace(policy, **changes) if changes else policy
    return found


def _reader(thing: object) -> Callable[[Any], Drawn]:
    """Return the function that reads objects of the library that this one comes from."""
    if isinstance(thing, Mapping) and _CELERY_OPTIONS & set(thing):
        return _celery_options
    # A class is no object of its library yet, and a module none at all.
    modules = [] if isinstance(thing, type) else [_module_of(thing), *(kind.__module__ for kind in type(thing).__mro__)]
    for module in modules:
        if module.partition(".")[0] in READERS:
            return READERS[module.partition(".")[0]]
    known = ", ".join(READERS)
    raise NotMappedError(f"{type(thing).__name__} is no retry setting of a library that is known here: {known}")


def _module_of(thing: object) -> str:
    """Return the module that a function or generator was written in, whatever it was made to look like since."""
    if inspect.isgenerator(thing):
        return str(thing.gi_frame.f_globals["__name__"]) if thing.gi_frame else ""
    return str(getattr(thing, "__globals__", {}).get("__name__", ""))


def _closure(function: Any) -> dict[str, Any]:
    """Return what a decorator left in its wrapper."""
    return dict(inspect.getclosurevars(function).nonlocals) if inspect.isfunction(function) else {}


# --- Celery: a task, or the options of one


_CELERY_OPTIONS = {"retry_backoff", "retry_backoff_max", "retry_jitter", "default_retry_delay", "retry_kwargs"}


def _celery_options(options: Mapping[str, Any]) -> Drawn:
    return _celery_policy(lambda name, default: options.get(name, default))


def _celery(task: Any) -> Drawn:
    return _celery_policy(lambda name, default: getattr(task, name, default))


def _celery_policy(option: Callable[[str, Any], Any]) -> Drawn:
    """Return autoretry's policy where it backs off, and else the one countdown that every retry has."""
    given = option("retry_kwargs", {}) or {}
    max_retries = given.get("max_retries", option("max_retries", 3))
    if option("autoretry_for", ()) and option("retry_backoff", False):
        return CeleryAutoretry(
            retry_backoff=float(option("retry_backoff", 1)),
            retry_backoff_max=float(option("retry_backoff_max", 600)),
            retry_jitter=bool(option("retry_jitter", True)),
            max_retries=max_retries,
        )
    delay_s = given.get("countdown", option("default_retry_delay", 180))
    return Backoff(Fixed(delay_s), max_retries=max_retries, name="celery-retry")


# --- urllib3, stamina, backoff


def _urllib3(retry: Any) -> Drawn:
    if retry.total is None:
        raise NotMappedError("urllib3's Retry has total=None, and counts by kind of error; say total", is_known=True)
    return Urllib3(
        backoff_factor=float(retry.backoff_factor),
        backoff_max_s=float(retry.backoff_max),
        backoff_jitter_s=float(retry.backoff_jitter),
        max_retries=int(retry.total),
    )


def _stamina(thing: Any) -> Drawn:
    """Read a context, a caller, bound or not, or a decorated function."""
    context = _closure(thing).get("retry_ctx", thing)
    caller = getattr(context, "_caller", context)
    if settings := getattr(caller, "_context_kws", None):
        timeout, attempts = settings["timeout"], settings["attempts"]
        budget_s = None if timeout is None else _seconds(timeout)
        wait = {name: _seconds(settings[f"wait_{name}"]) for name in ("initial", "max", "jitter", "exp_base")}
        return _stamina_policy(wait, None if attempts is None else attempts - 1, budget_s)
    if not hasattr(context, "_wait_initial"):
        raise NotMappedError(f"stamina's {type(thing).__name__} holds no retry settings", is_known=True)
    wait = {name: getattr(context, f"_wait_{name}") for name in ("initial", "max", "jitter", "exp_base")}
    return _stamina_policy(wait, *of_stop(context._t_kw["stop"]))


def _stamina_policy(wait: Mapping[str, float], max_retries: int | None, budget_s: float | None) -> Drawn:
    limits: dict[str, Any] = {"max_retries": max_retries, "budget_s": budget_s, "name": "stamina"}
    if wait["max"] <= wait["initial"]:
        return Backoff(Fixed(wait["max"]), **limits)
    growth: Growth = Exponential(wait["initial"], wait["exp_base"]) if wait["initial"] else Fixed(0.0)
    return Backoff(growth, Additive(wait["jitter"]), cap_s=wait["max"], cap_after_jitter=True, **limits)


def _seconds(value: Any) -> float:
    return float(value.total_seconds() if hasattr(value, "total_seconds") else value)


def _backoff(thing: Any) -> Drawn:
    """Read a generator such as `backoff.expo(max_value=60)`, its function, or a function decorated with either."""
    if inspect.isgenerator(thing):
        return _backoff_wait(thing.gi_code.co_name, dict(thing.gi_frame.f_locals) if thing.gi_frame else {})
    settings = _closure(thing)
    if "wait_gen" not in settings:
        return _backoff_wait(getattr(thing, "__name__", "?"), {})
    if callable(settings["max_tries"]) or callable(settings["max_time"]):
        raise NotMappedError("backoff's max_tries or max_time is a function; say max_retries instead", is_known=True)
    growth = _backoff_wait(settings["wait_gen"].__name__, settings["wait_gen_kwargs"])
    tries, time_s = settings["max_tries"], settings["max_time"]
    return dataclasses.replace(
        growth,
        jitter=_backoff_jitter(settings["jitter"]),
        max_retries=growth.max_retries if tries is None else tries - 1,
        budget_s=None if time_s is None else _seconds(time_s),
    )


def _backoff_wait(name: str, given: Mapping[str, Any]) -> Backoff:
    """Return what a generator yields; the library adds no jitter to a bare one."""
    top_s, max_retries = given.get("max_value"), None
    if name == "expo":
        first_s = given.get("factor", 1)
        growth: Growth = Exponential(first_s, given.get("base", 2)) if first_s else Fixed(0.0)
    elif name == "fibo":
        growth = Fibonacci(1)
    elif name == "constant":
        interval = given.get("interval", 1)
        several = not isinstance(interval, (int, float))
        growth = Explicit(tuple(interval)) if several else Fixed(interval)
        max_retries = len(growth.delays_s) if isinstance(growth, Explicit) else None
    else:
        known = "expo, fibo and constant"
        raise NotMappedError(f"backoff's {name} has no formula here, only {known} have", is_known=True)
    if top_s is not None and top_s <= growth.value_s(1):
        growth, top_s = Fixed(top_s), None
    return Backoff(growth, cap_s=top_s, max_retries=max_retries, name="backoff")


def _backoff_jitter(jitter: Any) -> Any:
    if jitter is None:
        return NoJitter()
    found = {"full_jitter": Full(), "random_jitter": Additive(1.0)}.get(getattr(jitter, "__name__", ""))
    if found is None or getattr(jitter, "__module__", "") != "backoff._jitter":
        raise NotMappedError("backoff's jitter must be full_jitter, random_jitter or None", is_known=True)
    return found


# --- botocore, google-api-core, rq, procrastinate


def _botocore(thing: Any) -> Drawn:
    """Read a Config or a client: its mode and its number of attempts. Without a mode botocore is legacy."""
    config = thing.meta.config if hasattr(thing, "meta") else thing
    settings = getattr(config, "retries", None) or {}
    mode = settings.get("mode", "legacy")
    if mode not in ("standard", "legacy"):
        rule = "limits its rate by what comes back, which is no function of the retry; standard has the same delays"
        raise NotMappedError(f"botocore's mode {mode} {rule}", is_known=True)
    policy: Any = PRESETS[f"botocore-{mode}"].policy
    if "total_max_attempts" in settings:
        return _retrying(policy, settings["total_max_attempts"] - 1)
    # In a Config max_attempts has always meant retries.
    return _retrying(policy, settings.get("max_attempts", policy.max_retries))


def _retrying(policy: Any, max_retries: int) -> Drawn:
    found: Drawn = dataclasses.replace(policy, max_retries=max_retries)
    return found


def _google(retry: Any) -> Drawn:
    growth = Exponential(retry._initial, retry._multiplier)
    return Backoff(
        growth, Full(), cap_s=retry._maximum, max_retries=None, budget_s=retry._timeout, name="google-api-core"
    )


def _rq(retry: Any) -> Drawn:
    return Rq(intervals_s=tuple(retry.intervals), max_retries=retry.max)


def _procrastinate(strategy: Any) -> Drawn:
    return Procrastinate(
        wait_s=strategy.wait,
        linear_wait_s=strategy.linear_wait,
        exponential_wait=strategy.exponential_wait,
        max_retries=strategy.max_attempts,
    )


READERS: dict[str, Callable[[Any], Drawn]] = {
    "celery": _celery,
    "tenacity": of_tenacity,
    "urllib3": _urllib3,
    "stamina": _stamina,
    "backoff": _backoff,
    "botocore": _botocore,
    "google": _google,
    "rq": _rq,
    "procrastinate": _procrastinate,
}

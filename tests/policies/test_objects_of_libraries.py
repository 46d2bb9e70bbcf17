"""`Backoff.from_object`: each object beside the library it comes from, draw by draw where that can be compared."""

import random
import subprocess
import sys
from datetime import timedelta
from types import SimpleNamespace

import backoff as backoff_library
import botocore.config
import botocore.session
import celery
import celery.utils.time
import google.api_core.retry
import numpy as np
import procrastinate
import pytest
import rq
import stamina
import tenacity
import urllib3
from google.api_core.retry.retry_base import exponential_sleep_generator
from stamina import _core as stamina_core
from test_presets_against_libraries import TroubleError, celery_countdown_s, same_with_seeds

from tem_sim.pipeline.backoff import Backoff, Full
from tem_sim.pipeline.preset_formulas import CeleryAutoretry
from tem_sim.pipeline.presets import preset_policy

RETRIES = range(1, 26)


def name_of(thing):
    """Name a parameter without its address, by which workers that run tests in parallel would disagree."""
    return getattr(thing, "__name__", type(thing).__name__ if "object at" in repr(thing) else str(thing))


def of(thing, **changes):
    return Backoff.from_object(thing, **changes)


# --- tenacity

WAITS = [
    tenacity.wait_fixed(3),
    tenacity.wait_fixed(timedelta(minutes=1)),
    tenacity.wait_none(),
    tenacity.wait_random(1, 4),
    tenacity.wait_random(),
    tenacity.wait_incrementing(2, 5, 60),
    tenacity.wait_incrementing(10, 0),
    tenacity.wait_incrementing(10, 3, 4),
    tenacity.wait_exponential(),
    tenacity.wait_exponential(multiplier=0.5, max=60, exp_base=3),
    tenacity.wait_exponential(multiplier=1, max=60, min=4),
    tenacity.wait_exponential(multiplier=0),
    tenacity.wait_exponential(multiplier=9, max=4),
    tenacity.wait_exponential(multiplier=1, max=3, min=8),
    tenacity.wait_random_exponential(),
    tenacity.wait_random_exponential(multiplier=0.5, max=60),
    tenacity.wait_random_exponential(multiplier=1, max=40, min=3),
    tenacity.wait_exponential_jitter(multiplier=2, max=50, jitter=5),
    tenacity.wait_exponential_jitter(max=1, jitter=5),
    tenacity.wait_fixed(3) + tenacity.wait_random(0, 2),
    tenacity.wait_exponential(max=20) + tenacity.wait_random(0, 2) + tenacity.wait_random(1, 5),
    tenacity.wait_chain(tenacity.wait_fixed(1), tenacity.wait_random(2, 4), tenacity.wait_exponential(max=30)),
    tenacity.wait_chain(*[tenacity.wait_fixed(1)] * 3, tenacity.wait_fixed(1) + tenacity.wait_random(0, 1)),
]


@pytest.mark.parametrize("wait", WAITS, ids=lambda wait: type(wait).__name__)
def test_a_tenacity_wait_draw_by_draw(wait):
    policy = of(wait)
    same_with_seeds(policy, lambda retry: wait(SimpleNamespace(attempt_number=retry)), RETRIES)
    assert (policy.max_retries, policy.budget_s) == (None, None)


@pytest.mark.parametrize("wait", WAITS, ids=lambda wait: type(wait).__name__)
def test_its_moments_agree_with_its_draws(wait):
    policy = of(wait)
    for retry in (1, 3, 6):
        drawn = policy.delays(retry, np.random.default_rng(retry), 4000)
        least, most = policy.support(retry)
        assert least - 1e-9 <= drawn.min()
        assert drawn.max() <= most + 1e-9
        spread = max(float(drawn.std()), 1e-9)
        assert abs(float(drawn.mean()) - policy.mean_s(retry)) < 5 * spread / 4000**0.5 + 1e-9
        variance = policy.moments(retry).var_s2
        assert variance is None or float(drawn.var()) == pytest.approx(variance, rel=0.15, abs=1e-9)


@pytest.mark.parametrize(
    ("stop", "max_retries", "budget_s"),
    [
        (tenacity.stop_never, None, None),
        (tenacity.stop_after_attempt(5), 4, None),
        (tenacity.stop_after_delay(60), None, 60),
        (tenacity.stop_before_delay(timedelta(minutes=2)), None, 120),
        (tenacity.stop_after_attempt(5) | tenacity.stop_after_attempt(3) | tenacity.stop_before_delay(9), 2, 9),
    ],
)
def test_tenacitys_stops_are_limits(stop, max_retries, budget_s):
    @tenacity.retry(wait=tenacity.wait_fixed(2), stop=stop)
    def decorated():
        raise TroubleError

    for thing in (tenacity.Retrying(wait=tenacity.wait_fixed(2), stop=stop), decorated):
        assert of(thing) == of(tenacity.wait_fixed(2), max_retries=max_retries, budget_s=budget_s)


def test_a_decorated_function_retries_as_often_as_its_policy_says():
    waits = []

    @tenacity.retry(wait=tenacity.wait_incrementing(1, 2), stop=tenacity.stop_after_attempt(4), sleep=waits.append)
    def decorated():
        raise TroubleError

    with pytest.raises(tenacity.RetryError):
        decorated()
    policy = of(decorated)
    assert tuple(waits) == policy.chain(random.Random(1), policy.max_retries)


# --- Celery


@pytest.mark.parametrize(
    "options",
    [
        {"retry_backoff": True},
        {"retry_backoff": 5, "retry_backoff_max": 100, "retry_jitter": False, "max_retries": 7},
        {"retry_backoff": 2.9, "retry_jitter": True},
        {"default_retry_delay": 30, "max_retries": None},
        {"retry_kwargs": {"countdown": 7, "max_retries": 9}},
        {},
    ],
    ids=str,
)
def test_a_celery_tasks_countdowns(options, monkeypatch):
    app = celery.Celery("test", set_as_current=False)
    task = app.task(autoretry_for=(TroubleError,), shared=False, **options)(fails)
    policy, asked = of(task), {}
    monkeypatch.setattr(celery.utils.time.random, "randrange", lambda stop: stop - 1)
    monkeypatch.setattr(task, "retry", lambda exc, **given: asked.update(given) or exc)
    for retry in (1, 2, 3, 9):
        task.push_request(retries=retry - 1)
        with pytest.raises(TroubleError):
            task.run()
        countdown_s = asked.get("countdown", task.default_retry_delay)
        assert policy.support(retry)[1] == countdown_s
    assert policy.max_retries == asked.get("max_retries", task.max_retries)


def fails():
    raise TroubleError


def test_celerys_jitter_is_the_presets_own(celery_task):
    assert of(celery_task) == preset_policy("celery-autoretry")
    assert of(celery_task, max_retries=9).max_retries == 9


@pytest.fixture
def celery_task():
    app = celery.Celery("test", set_as_current=False)
    return app.task(autoretry_for=(TroubleError,), retry_backoff=True, shared=False)(fails)


def test_backoff_without_autoretry_backs_nothing_off_as_in_celery():
    app = celery.Celery("test", set_as_current=False)
    task = app.task(retry_backoff=True, default_retry_delay=20, shared=False)(fails)
    assert of(task).support(4) == (20, 20)


def test_celery_options_may_be_kept_in_a_mapping():
    options = {"autoretry_for": (TroubleError,), "retry_backoff": 3, "retry_jitter": False, "max_retries": 4}
    assert of(options) == CeleryAutoretry(retry_backoff=3, retry_jitter=False, max_retries=4)


def test_the_countdown_that_is_compared_is_the_one_celery_asks_for(celery_task, monkeypatch):
    monkeypatch.setattr(celery.utils.time.random, "randrange", lambda stop: stop - 1)
    assert [celery_countdown_s(celery_task, monkeypatch, retry) for retry in (1, 2, 3)] == [1, 2, 4]


# --- urllib3, stamina, backoff


@pytest.mark.parametrize(
    "retry",
    [urllib3.Retry(30, backoff_factor=0.2), urllib3.Retry(30, backoff_factor=1, backoff_jitter=2, backoff_max=40)],
)
def test_urllib3_draw_by_draw(retry):
    policy, failed = of(retry), {}
    for number in RETRIES:
        retry = retry.increment("GET", "/", error=urllib3.exceptions.ConnectTimeoutError())
        failed[number] = retry
    same_with_seeds(policy, lambda number: failed[number].get_backoff_time())
    assert policy.max_retries == 30


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"attempts": 4, "timeout": None, "wait_initial": 0.5, "wait_max": 8, "wait_jitter": 2, "wait_exp_base": 3},
        {"timeout": timedelta(minutes=1), "wait_initial": timedelta(seconds=1), "wait_max": 1},
    ],
    ids=str,
)
def test_stamina_draw_by_draw(settings):
    @stamina.retry(on=TroubleError, **settings)
    def decorated():
        raise TroubleError

    context = stamina.retry_context(on=TroubleError, **settings)
    caller = stamina.RetryingCaller(**settings)
    policies = [of(thing) for thing in (decorated, context, caller, caller.on(TroubleError))]
    assert policies[1:] == policies[:-1]

    def library_delay_s(retry):
        waits = context._wait_max, context._wait_initial, context._wait_exp_base, context._wait_jitter
        return stamina_core._compute_backoff(retry, *waits)

    same_with_seeds(policies[0], library_delay_s, [*RETRIES, 5000])
    assert policies[0].max_retries == settings.get("attempts", 10) - 1
    assert policies[0].budget_s == {timedelta(minutes=1): 60}.get(
        settings.get("timeout", 45), settings.get("timeout", 45)
    )


GENERATORS = [
    (backoff_library.expo, {}),
    (backoff_library.expo, {"base": 3, "factor": 0.5, "max_value": 60}),
    (backoff_library.expo, {"factor": 9, "max_value": 4}),
    (backoff_library.fibo, {}),
    (backoff_library.fibo, {"max_value": 20}),
    (backoff_library.constant, {}),
    (backoff_library.constant, {"interval": 7}),
    (backoff_library.constant, {"interval": [1, 5, 9] * 10}),
]


def yielded(generator, given, retry):
    waits = generator(**given)
    return [next(waits) for _ in range(retry + 1)][retry]


@pytest.mark.parametrize(("generator", "given"), GENERATORS, ids=name_of)
def test_generators_of_backoff_value_by_value(generator, given):
    policy = of(generator(**given))
    assert [policy.delay(k, random.Random(1)) for k in RETRIES] == [yielded(generator, given, k) for k in RETRIES]


@pytest.mark.parametrize("jitter", [None, backoff_library.full_jitter, backoff_library.random_jitter], ids=name_of)
@pytest.mark.parametrize(("generator", "given"), GENERATORS[:-1], ids=name_of)
def test_a_function_decorated_by_backoff_draw_by_draw(generator, given, jitter):
    decorator = backoff_library.on_exception(generator, TroubleError, max_tries=6, max_time=90, jitter=jitter, **given)
    policy = of(decorator(fails))

    def library_delay_s(retry):
        value_s = yielded(generator, given, retry)
        return value_s if jitter is None else jitter(value_s)

    same_with_seeds(policy, library_delay_s)
    assert (policy.max_retries, policy.budget_s) == (5, 90)
    assert of(generator(**given), jitter=jitter).support(3) == policy.support(3) if jitter else True


def test_a_list_of_constants_ends_the_retries_where_it_ends():
    waits, tries = [], []

    @backoff_library.on_exception(backoff_library.constant, TroubleError, jitter=None, interval=[0, 0, 0])
    def decorated():
        tries.append(1)
        raise TroubleError

    with pytest.raises(TroubleError):
        decorated()
    assert of(decorated).max_retries == len(tries) - 1
    assert waits == []


# --- botocore, google-api-core, rq, procrastinate


@pytest.mark.parametrize(
    ("retries", "preset", "max_retries"),
    [
        ({"mode": "standard"}, "botocore-standard", 2),
        ({"mode": "standard", "total_max_attempts": 6}, "botocore-standard", 5),
        ({"mode": "legacy", "max_attempts": 7}, "botocore-legacy", 7),
        (None, "botocore-legacy", 4),
    ],
)
def test_botocores_mode(retries, preset, max_retries):
    config = botocore.config.Config(retries=retries)
    assert of(config) == preset_policy(preset, max_retries=max_retries)


def test_a_botocore_client_says_the_same_as_its_config():
    session = botocore.session.Session()
    session.set_credentials("x", "x")
    config = botocore.config.Config(retries={"mode": "standard", "max_attempts": 3})
    client = session.create_client("sqs", region_name="eu-west-1", config=config)
    assert of(client) == of(config) == preset_policy("botocore-standard", max_retries=3)


def test_google_api_core_draw_by_draw():
    retry = google.api_core.retry.Retry(initial=0.5, maximum=20, multiplier=3, timeout=60)

    def library_delay_s(number):
        sleeps = exponential_sleep_generator(0.5, 20, 3)
        state = random.getstate()
        for _ in range(number - 1):
            next(sleeps)
        random.setstate(state)
        return next(sleeps)

    same_with_seeds(of(retry), library_delay_s)
    assert of(retry).budget_s == 60


def test_rq_and_procrastinate_are_their_presets_with_the_objects_settings():
    assert of(rq.Retry(max=4, interval=[10, 20])) == preset_policy("rq", intervals_s=(10.0, 20.0), max_retries=4)
    strategy = procrastinate.RetryStrategy(max_attempts=3, wait=2, linear_wait=1, exponential_wait=4)
    settings = {"wait_s": 2, "linear_wait_s": 1, "exponential_wait": 4, "max_retries": 3}
    assert of(strategy) == preset_policy("procrastinate", **settings)


# --- what is refused, and how


@pytest.mark.parametrize(
    ("thing", "rule"),
    [
        (tenacity.wait_exception(lambda error: 3), "wait_exception has no formula"),
        (tenacity.wait_exponential(exp_base=0.5), "exp_base must be at least 1"),
        (tenacity.wait_incrementing(100, -5), "negative increment"),
        (tenacity.wait_random(4, 1), "runs backwards"),
        (tenacity.wait_exponential_jitter(min=9), "a min that the first wait does not fall below"),
        (tenacity.wait_fixed(1) + tenacity.wait_exception(lambda error: 3), "wait_exception has no formula"),
        (tenacity.Retrying(stop=tenacity.stop_after_attempt(3) & tenacity.stop_after_delay(9)), "stop_all"),
        (backoff_library.runtime, "only expo, fibo and constant"),
        (backoff_library.on_exception(backoff_library.expo, OSError, jitter=lambda s: s)(fails), "jitter must be"),
        (backoff_library.on_exception(backoff_library.expo, OSError, max_tries=lambda: 3)(fails), "is a function"),
        (botocore.config.Config(retries={"mode": "adaptive"}), "mode adaptive limits its rate"),
        (urllib3.Retry(None, connect=3), "total=None"),
        (tenacity.wait_fixed, "no retry setting of a library that is known here: celery, tenacity"),
        (stamina.set_testing, "holds no retry settings"),
        ({"max_retries": 3}, "no retry setting"),
        (5, "int is no retry setting"),
        (fails, "no retry setting"),
    ],
    ids=name_of,
)
def test_what_has_no_formula_is_refused_with_the_reason(thing, rule):
    with pytest.raises(ValueError, match=rule.replace("(", r"\(")):
        of(thing)


def test_changes_are_checked_as_they_are_for_any_policy():
    assert of(backoff_library.expo(max_value=60), jitter=Full(), max_retries=4).max_retries == 4
    with pytest.raises(ValueError, match="whole number"):
        of(tenacity.wait_fixed(1), max_retries=-1)


def test_no_library_is_imported_to_know_its_objects():
    code = """
import sys
from tem_sim.pipeline.backoff import Backoff
try:
    Backoff.from_object(object())
except ValueError:
    pass
print([name for name in ("celery", "tenacity", "urllib3", "stamina", "botocore", "google") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

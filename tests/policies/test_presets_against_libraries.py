"""Each preset of a pure-Python library, run beside the library itself.

The random ones agree value for value: the library draws from the global stream, seeded, and the preset from a
`random.Random` of the same seed. The imports are hard on purpose, so that a missing library is a failure.
"""

import asyncio
import datetime
import inspect
import random
from types import SimpleNamespace

import backoff as backoff_library
import celery
import celery.utils.time
import dramatiq.common
import dramatiq.middleware
import huey
import numpy as np
import procrastinate.utils
import pytest
import stamina
import taskiq
import tenacity
import urllib3
from botocore.loaders import create_loader
from botocore.retries import standard
from botocore.retryhandler import create_retry_action_from_config
from google.api_core import retry as google_retry
from google.api_core.retry.retry_base import exponential_sleep_generator
from rq import Retry
from rq.job import Job
from stamina import _core as stamina_core
from taskiq.middlewares import SmartRetryMiddleware

from tem_sim.pipeline.presets import PRESETS, preset_policy

RETRIES = range(1, 26)
SEEDS = range(8)


class TroubleError(Exception):
    """What the tasks under test fail with."""


def same_with_seeds(policy, library_delay_s, retries=RETRIES):
    """Assert that library and preset wait equally long, given the same uniforms."""
    for retry in retries:
        for seed in SEEDS:
            random.seed(seed)
            expected_s = library_delay_s(retry)
            assert policy.delay(retry, random.Random(seed)) == expected_s, (retry, seed)


def defaults(function):
    parameters = inspect.signature(function).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters}


@pytest.fixture
def celery_task():
    app = celery.Celery("test", set_as_current=False)

    @app.task(bind=True, autoretry_for=(TroubleError,), retry_backoff=True, shared=False)
    def fails(self):
        raise TroubleError

    return fails


def celery_countdown_s(task, monkeypatch, retry):
    """Let celery's autoretry wrapper handle a failure and take the countdown it asks for."""
    asked = {}
    monkeypatch.setattr(task, "retry", lambda exc, **options: asked.update(options) or exc)
    task.push_request(retries=retry - 1)
    with pytest.raises(TroubleError):
        task.run()
    return asked["countdown"]


def test_celery_autoretry_draws_from_the_same_whole_seconds(celery_task, monkeypatch):
    policy = PRESETS["celery-autoretry"].policy
    ranges = []
    monkeypatch.setattr(celery.utils.time.random, "randrange", lambda stop: ranges.append(stop) or 0)
    for retry in RETRIES:
        celery_countdown_s(celery_task, monkeypatch, retry)
        assert policy.support(retry) == (0, ranges[-1] - 1)
    assert policy.max_retries == celery_task.max_retries


def test_celery_autoretry_and_the_preset_have_the_same_distribution():
    """randrange takes bits and not a uniform, so the values can't be compared, but their frequencies can."""
    random.seed(1)
    interval = celery.utils.time.get_exponential_backoff_interval
    theirs = np.bincount([interval(1, 3, 600, full_jitter=True) for _ in range(18_000)])
    drawn = PRESETS["celery-autoretry"].policy.delays(4, np.random.default_rng(1), 18_000)
    ours = np.bincount(drawn.astype(int))
    assert len(theirs) == len(ours) == 9
    assert np.abs(theirs - ours).max() < 5 * (2 * 2000) ** 0.5


@pytest.mark.parametrize(("factor", "maximum"), [(1, 600), (2.9, 100), (0.5, 7), (30, 45.8)])
def test_celery_autoretry_without_jitter_truncates_its_settings(factor, maximum):
    policy = preset_policy("celery-autoretry", retry_backoff=factor, retry_backoff_max=maximum, retry_jitter=False)
    for retry in RETRIES:
        expected_s = celery.utils.time.get_exponential_backoff_interval(int(max(1.0, factor)), retry - 1, int(maximum))
        assert policy.delay(retry, random.Random(1)) == expected_s


def test_celery_retry_waits_three_minutes(celery_task):
    policy = PRESETS["celery-retry"].policy
    assert policy.delay(3, random.Random(1)) == celery_task.default_retry_delay == 180
    assert policy.max_retries == celery_task.max_retries == 3


@pytest.mark.parametrize("limits", [{}, {"min_backoff_ms": 1000, "max_backoff_ms": 60_000}])
def test_dramatiq_value_for_value(limits):
    policy = preset_policy("dramatiq", **limits)
    least, most = policy.min_backoff_ms, policy.max_backoff_ms

    def library_delay_s(retry):
        return dramatiq.common.compute_backoff(retry - 1, factor=least, max_backoff=most)[1] / 1000

    same_with_seeds(policy, library_delay_s, [*RETRIES, 40])


def test_dramatiqs_defaults():
    policy, middleware = PRESETS["dramatiq"].policy, dramatiq.middleware.Retries()
    assert policy.max_retries == middleware.max_retries
    assert (policy.min_backoff_ms, policy.max_backoff_ms) == (middleware.min_backoff, middleware.max_backoff)


@pytest.mark.parametrize(("delay_s", "backoff"), [(10, 2), (10, 0), (0, 2), (5, 1.1), (8, 0.5)])
def test_huey_value_for_value(delay_s, backoff):
    app = huey.MemoryHuey()
    task = app.task(retries=30, retry_delay=delay_s, retry_backoff=backoff)(lambda: None).s()
    policy = preset_policy("huey", retry_delay_s=delay_s, retry_backoff=backoff)
    now = datetime.datetime(2026, 1, 1)  # noqa: DTZ001  # huey's own timestamps are naive.
    for retry in RETRIES:
        task.eta = now
        app._requeue_task(task, now)
        expected_s = (task.eta - now).total_seconds()
        # Its timedelta rounds to microseconds.
        assert policy.delay(retry, random.Random(1)) == pytest.approx(expected_s, abs=5.1e-7)


@pytest.mark.parametrize("intervals", [(10, 30, 60), (7,)], ids=str)
@pytest.mark.parametrize("most", [2, 3, 5])
def test_rq_value_for_value(most, intervals):
    settings = Retry(max=most, interval=list(intervals))
    policy = preset_policy("rq", intervals_s=intervals, max_retries=most)
    for retry in range(1, most + 1):
        job = SimpleNamespace(retry_intervals=settings.intervals, retries_left=settings.max - (retry - 1))
        assert policy.delay(retry, random.Random(1)) == Job.get_retry_interval(job)


def test_rq_repeats_its_first_interval():
    assert PRESETS["rq"].policy.chain(random.Random(1), 5) == (10.0, 10.0, 10.0, 30.0, 60.0)


def test_rq_without_a_limit_never_comes_to_its_later_intervals():
    forever = preset_policy("rq", max_retries=None)
    # What it waits as long as there are far more retries left than intervals.
    assert forever.chain(random.Random(1), 50) == preset_policy("rq", max_retries=1000).chain(random.Random(1), 50)
    assert forever.formula == "10"


def test_taskiq_value_for_value():
    middleware = SmartRetryMiddleware(use_delay_exponent=True, use_jitter=True)
    message = SimpleNamespace(labels={})
    same_with_seeds(PRESETS["taskiq"].policy, lambda retry: middleware.make_delay(message, retry))


def test_taskiq_retries_once_less_than_its_retry_count():
    booked = []

    class Booking(SmartRetryMiddleware):
        async def on_send(self, kicker, message, delay):
            booked.append(delay)

    broker, middleware = taskiq.InMemoryBroker(), Booking(default_retry_label=True)
    middleware.set_broker(broker)
    for failures in range(5):
        message = taskiq.TaskiqMessage(task_id="1", task_name="t", labels={"_retries": failures}, args=[], kwargs={})
        result = taskiq.TaskiqResult(is_err=True, return_value=None, execution_time=0)
        asyncio.run(middleware.on_error(message, result, OSError()))
    assert len(booked) == PRESETS["taskiq"].policy.max_retries


@pytest.mark.parametrize(("wait", "linear", "exponential"), [(0, 0, 5), (3, 0, 0), (1, 2, 3), (0, 7, 1), (0, 0, 0)])
def test_procrastinate_value_for_value(monkeypatch, wait, linear, exponential):
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    monkeypatch.setattr(procrastinate.utils, "utcnow", lambda: now)
    strategy = procrastinate.RetryStrategy(max_attempts=10, wait=wait, linear_wait=linear, exponential_wait=exponential)
    policy = preset_policy(
        "procrastinate", wait_s=wait, linear_wait_s=linear, exponential_wait=exponential, max_retries=10
    )

    def decision(failures):
        job = SimpleNamespace(attempts=failures - 1)
        return strategy.get_retry_decision(exception=OSError(), job=job)

    for retry in range(1, 11):
        expected_s = (decision(retry).retry_at - now).total_seconds()
        assert policy.delay(retry, random.Random(1)) == expected_s
        assert not policy.gives_up(retry, 0.0, expected_s)
    assert decision(11) is None
    assert policy.gives_up(11, 0.0, 0.0)


@pytest.mark.parametrize(
    ("name", "wait"),
    [
        ("tenacity-exponential", tenacity.wait_exponential()),
        ("tenacity-random-exponential", tenacity.wait_random_exponential()),
        ("tenacity-exponential-jitter", tenacity.wait_exponential_jitter()),
    ],
)
def test_tenacity_value_for_value(name, wait):
    same_with_seeds(PRESETS[name].policy, lambda retry: wait(SimpleNamespace(attempt_number=retry)))


@pytest.mark.parametrize(
    ("name", "wait"),
    [
        ("tenacity-exponential", tenacity.wait_exponential(max=50)),
        ("tenacity-random-exponential", tenacity.wait_random_exponential(max=50)),
        ("tenacity-exponential-jitter", tenacity.wait_exponential_jitter(max=32.5)),
    ],
)
def test_tenacity_with_a_maximum_value_for_value(name, wait):
    policy = preset_policy(name, cap_s=wait.max)
    same_with_seeds(policy, lambda retry: wait(SimpleNamespace(attempt_number=retry)), [*RETRIES, 5000])


def test_stamina_value_for_value():
    policy, settings = PRESETS["stamina"].policy, defaults(stamina.retry)

    def library_delay_s(retry):
        return stamina_core._compute_backoff(
            retry,
            settings["wait_max"],
            settings["wait_initial"],
            settings["wait_exp_base"],
            settings["wait_jitter"],
        )

    same_with_seeds(policy, library_delay_s, [*RETRIES, 5000])
    assert (policy.max_retries, policy.budget_s) == (settings["attempts"] - 1, settings["timeout"])


def test_backoff_full_jitter_value_for_value():
    waits = backoff_library.expo()
    next(waits)
    bare_s = {retry: next(waits) for retry in RETRIES}
    policy = PRESETS["backoff-full-jitter"].policy
    same_with_seeds(policy, lambda retry: backoff_library.full_jitter(bare_s[retry]))


def test_botocore_standard_value_for_value():
    policy, library = PRESETS["botocore-standard"].policy, standard.ExponentialBackoff()

    def library_delay_s(retry):
        return library.delay_amount(standard.RetryContext(attempt_number=retry))

    same_with_seeds(policy, library_delay_s)
    assert policy.max_retries == standard.DEFAULT_MAX_ATTEMPTS - 1


def test_botocore_legacy_value_for_value():
    policy = PRESETS["botocore-legacy"].policy
    config = create_loader().load_data("_retry")["retry"]
    action = create_retry_action_from_config(config)
    same_with_seeds(policy, lambda retry: action(attempts=retry))
    assert policy.max_retries == config["__default__"]["max_attempts"] - 1


@pytest.mark.parametrize(("jitter_s", "most_s"), [(0.0, 120.0), (2.0, 120.0), (2.0, 5.0)])
def test_urllib3_value_for_value(jitter_s, most_s):
    policy = preset_policy("urllib3", backoff_jitter_s=jitter_s, backoff_max_s=most_s)
    library = urllib3.Retry(30, backoff_factor=0.1, backoff_jitter=jitter_s, backoff_max=most_s)
    failed = {}
    for retry in RETRIES:
        library = library.increment("GET", "/", error=urllib3.exceptions.ConnectTimeoutError())
        failed[retry] = library
    same_with_seeds(policy, lambda retry: failed[retry].get_backoff_time())
    assert PRESETS["urllib3"].policy.max_retries == defaults(urllib3.Retry)["total"]


def test_google_api_core_value_for_value():
    policy, settings = PRESETS["google-api-core"].policy, google_retry.Retry()

    def library_delay_s(retry):
        sleeps = exponential_sleep_generator(settings._initial, settings._maximum, settings._multiplier)
        state = random.getstate()
        for _ in range(retry - 1):
            next(sleeps)
        random.setstate(state)
        return next(sleeps)

    same_with_seeds(policy, library_delay_s)
    assert policy.budget_s == settings.timeout

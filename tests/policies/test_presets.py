"""Presets of systems in other languages, beside a transcription of the source that each one names."""

import math
import random
import subprocess
import sys

import numpy as np
import pytest

from tem_sim.pipeline.backoff import MAX_DELAY_S, Backoff, Policy, describe
from tem_sim.pipeline.presets import PRESETS, DelayRow, delay_table, preset_policy

UNIFORMS = [0.0, 0.1, 0.25, 0.5, 0.731, 0.9, 0.999999]


class Dealt:
    """A stream that deals the uniforms it was given."""

    def __init__(self, *uniforms):
        self._left = list(uniforms)

    def random(self):
        return self._left.pop(0)


def sidekiq(k, u):
    count = k - 1
    return (count**4) + 15 + int(u * (10 * (count + 1)))


def oban(k, u):
    time = 15 + 1 * 2 ** min(k, 100)
    return time + math.trunc(u * 0.1 * time)


def river(k, u):
    seconds = math.pow(k, 4)
    return seconds + seconds * (u * 0.2 - 0.1)


def pg_boss(k, u):
    retry_count, retry_delay = k - 1, 1
    half = 2 ** min(16, retry_count + 1) / 2
    return max(retry_delay, 1) * (half + half * u)


def grpc_retry(k, u):
    return min(0.1 * math.pow(2, k - 1), 1.0) * (0.8 + 0.4 * u)


def grpc_connection(k, u):
    retries, backoff = k - 1, 1.0
    if retries == 0:
        return 1.0
    while backoff < 120 and retries > 0:
        backoff, retries = backoff * 1.6, retries - 1
    return min(backoff, 120.0) * (1 + 0.2 * (u * 2 - 1))


def resilience4j(k, u):
    current = 500
    for _ in range(k - 1):
        current = int(current * 1.5)
    delta = 0.5 * current
    return int((current - delta) + u * ((current + delta) - (current - delta))) / 1000


def graphile_worker(k, u):
    return math.exp(min(k, 10))


def temporal(k, u):
    return min(1.0 * math.pow(2.0, k - 1), 100.0)


def aws_full(k, u):
    return u * min(60, 2 ** (k - 1))


def aws_equal(k, u):
    temp = min(60, 2 ** (k - 1))
    return temp / 2 + u * (temp / 2)


TRANSCRIBED = {
    "sidekiq": sidekiq,
    "oban": oban,
    "river": river,
    "pg-boss": pg_boss,
    "grpc": grpc_retry,
    "grpc-connection": grpc_connection,
    "resilience4j": resilience4j,
    "graphile-worker": graphile_worker,
    "temporal": temporal,
    "aws-full": aws_full,
    "aws-equal": aws_equal,
    "kafka-retry-topics": lambda k, u: 1.0,
    "sqs": lambda k, u: 30.0,
    "pubsub": lambda k, u: min(600.0, 10.0 * 2 ** (k - 1)),
}


@pytest.mark.parametrize("name", TRANSCRIBED)
def test_a_preset_equals_its_source_uniform_by_uniform(name):
    policy = PRESETS[name].policy
    for retry in range(1, 20):
        for u in UNIFORMS:
            expected = TRANSCRIBED[name](retry, u)
            assert policy.delay(retry, Dealt(u)) == pytest.approx(expected, rel=1e-12)


def polly(attempts, uniforms, base_delay_s=2.0):
    """RetryHelper.DecorrelatedJitterBackoffV2, the state carried from attempt to attempt."""
    prev, delays_s = 0.0, []
    for attempt, u in zip(range(attempts), uniforms, strict=True):
        t = attempt + u
        next_ = math.pow(2, t) * math.tanh(math.sqrt(4.0 * t))
        value, prev = next_ - prev, next_
        delays_s.append(int(value * (1 / 1.4) * (base_delay_s * 1e7)) / 1e7)
    return delays_s


def test_pollys_chain_is_pollys_own():
    uniforms = [random.Random(3).random() for _ in range(8)]
    assert list(PRESETS["polly-decorrelated-v2"].policy.chain(Dealt(*uniforms), 8)) == polly(8, uniforms)


def test_each_polly_delay_drawn_alone_has_the_distribution_of_pollys_chain():
    policy, rng = PRESETS["polly-decorrelated-v2"].policy, np.random.default_rng(5)
    chains_s = np.array([policy.chain(rng, 4) for _ in range(20_000)])
    for retry in range(1, 5):
        alone_s = policy.delays(retry, rng, 20_000)
        quantiles = np.linspace(0.05, 0.95, 19)
        gap_s = np.quantile(alone_s, quantiles) - np.quantile(chains_s[:, retry - 1], quantiles)
        assert np.abs(gap_s).max() < 0.03 * policy.moments(retry).max_s


def test_pollys_median_first_delay_is_near_the_one_asked_for():
    policy = preset_policy("polly-decorrelated-v2", median_first_s=1.0)
    median_s = float(np.median(policy.delays(1, np.random.default_rng(1), 50_000)))
    assert median_s == pytest.approx(0.9, abs=0.05)


def test_awss_decorrelated_jitter_clamps_what_it_drew():
    policy, rng, sleep_s = PRESETS["aws-decorrelated"].policy, random.Random(4), 1.0
    expected = [sleep_s := min(60, rng.uniform(1, sleep_s * 3)) for _ in range(30)]
    assert list(policy.chain(random.Random(4), 30)) == expected


def test_oban_stretches_its_curve_when_more_attempts_are_allowed():
    """With 40 attempts, attempt 3 is round(3/40·20) = 2 (Elixir rounds 1.5 away from zero): 15 + 2²."""
    policy = preset_policy("oban", max_retries=39)
    assert [policy.support(retry)[0] for retry in (1, 2, 3, 4, 40)] == [17, 17, 19, 19, 15 + 2**20]


def test_pg_boss_clips_its_jittered_delay_at_its_maximum():
    policy = preset_policy("pg-boss", retry_delay_max_s=3.0)
    assert policy.support(2) == (2.0, 3.0)
    assert policy.moments(2).mean_s == pytest.approx(0.5 * 2.5 + 0.5 * 3)
    assert preset_policy("pg-boss", retry_delay_s=0.0).support(1) == (1.0, 2.0)


def test_resilience4j_clips_at_its_maximum_interval():
    assert preset_policy("resilience4j", max_ms=300).support(1) == (0.25, 0.3)


def test_the_presets_asked_for_are_all_there():
    wanted = """
        celery-autoretry celery-retry sidekiq oban river graphile-worker pg-boss dramatiq huey rq taskiq
        procrastinate temporal tenacity-exponential tenacity-random-exponential tenacity-exponential-jitter
        stamina backoff-full-jitter botocore-standard botocore-legacy urllib3 google-api-core grpc
        polly-decorrelated-v2 resilience4j kafka-retry-topics sqs pubsub aws-full aws-equal
        aws-decorrelated"""
    assert set(wanted.split()) <= set(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_says_what_it_is_on_one_line_each(name):
    preset = PRESETS[name]
    policy: Policy = preset.policy
    assert preset.name == policy.name == name
    for text in (preset.formula, preset.source, preset.notes, describe(policy)):
        assert text
        assert "\n" not in text
    assert preset.source.count(",") >= 1, "library and place"


@pytest.mark.parametrize("name", PRESETS)
def test_a_delay_table_is_ten_rows_of_finite_ordered_numbers(name):
    rows = delay_table(PRESETS[name].policy)
    assert [row.retry for row in rows] == list(range(1, 11))
    for row in rows:
        assert 0 <= row.min_s <= row.mean_s <= row.max_s <= MAX_DELAY_S


def test_a_delay_table_of_the_seed_formula_reads_ten_twenty_forty():
    assert delay_table(Backoff(), 3) == (
        DelayRow(1, 10.0, 10.0, 10.0),
        DelayRow(2, 20.0, 20.0, 20.0),
        DelayRow(3, 40.0, 40.0, 40.0),
    )


def test_a_delay_table_draws_nothing_so_it_is_the_same_each_time():
    for name in ("aws-decorrelated", "polly-decorrelated-v2"):
        assert delay_table(PRESETS[name].policy) == delay_table(PRESETS[name].policy)


def test_a_preset_takes_other_numbers_without_being_changed():
    assert preset_policy("celery-autoretry", max_retries=7).max_retries == 7
    assert PRESETS["celery-autoretry"].policy.max_retries == 3


def test_importing_the_presets_loads_no_numerics_and_no_simulator():
    code = "import sys, tem_sim.pipeline.presets; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"numpy", "scipy", "pandas", "simpy", "celery", "random"} & set(out.split())

"""Other systems' retry policies, reproduced with their quirks: policy, formula, source, and what surprises.

Each policy's fields carry the system's own defaults; where a system retries at once or not at all unless told
otherwise, the notes say which values were chosen. `preset_policy(name, max_retries=3)` changes fields.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from dataclasses import dataclass
from typing import TypeAlias

from tem_sim.pipeline.backoff import Backoff, Policy
from tem_sim.pipeline.bounds import count
from tem_sim.pipeline.growth import Exponential, Fixed, Linear, Polynomial
from tem_sim.pipeline.jitter import Additive, Decorrelated, Equal, Full, Proportional
from tem_sim.pipeline.preset_formulas import (
    CeleryAutoretry,
    GrpcConnection,
    Huey,
    Oban,
    PgBoss,
    Procrastinate,
    Resilience4j,
    Rq,
    Sidekiq,
    Urllib3,
)
from tem_sim.pipeline.preset_pairs import Dramatiq, PollyDecorrelatedV2

PresetPolicy: TypeAlias = (
    Backoff
    | CeleryAutoretry
    | Dramatiq
    | GrpcConnection
    | Huey
    | Oban
    | PgBoss
    | PollyDecorrelatedV2
    | Procrastinate
    | Resilience4j
    | Rq
    | Sidekiq
    | Urllib3
)
Setting: TypeAlias = bool | float | str | tuple[float, ...] | None


@dataclass(frozen=True, slots=True)
class Preset:
    """One system's policy: where its formula was read, and the notes a user of it should know."""

    policy: PresetPolicy
    source: str
    notes: str

    @property
    def name(self) -> str:
        return self.policy.name

    @property
    def formula(self) -> str:
        """The delay before retry k in one line, in seconds."""
        return self.policy.formula


@dataclass(frozen=True, slots=True)
class DelayRow:
    """What a policy makes an event wait before one retry."""

    retry: int
    min_s: float
    mean_s: float
    max_s: float


def delay_table(policy: Policy, retries: int = 10) -> tuple[DelayRow, ...]:
    """Return one row per retry from 1 to `retries`, all numbers finite.

    The mean is exact where `moments` has one, and otherwise a deterministic quadrature: over the chain's
    distribution (`decorrelated`) or over the uniforms (Polly). Nothing is drawn.
    """
    rows = []
    for retry in range(1, count("retries", retries, least=1) + 1):
        moments = policy.moments(retry)
        rows.append(DelayRow(retry, moments.min_s, policy.mean_s(retry), moments.max_s))
    return tuple(rows)


def preset_policy(name: str, **changes: Setting) -> PresetPolicy:
    """Return a preset's policy with some of its fields changed; ValueError for an unknown name or field."""
    if name not in PRESETS:
        raise ValueError(f"preset: must be a known name, got {name!r}; {_hint(name, list(PRESETS))}")
    policy = PRESETS[name].policy
    known = [field.name for field in dataclasses.fields(policy)]
    for field in changes:
        if field not in known:
            raise ValueError(f"preset {name}: has no field {field!r}; {_hint(field, known)}")
    return dataclasses.replace(policy, **changes)  # type: ignore[arg-type]  # Each policy checks its own values.


def _hint(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"


_BLOG = "AWS Architecture Blog, Exponential Backoff And Jitter (2015, updated 2023)"

_ALL = (
    Preset(
        CeleryAutoretry(),
        "celery 5.7.0, celery/utils/time.py get_exponential_backoff_interval, called by celery/app/autoretry.py",
        "Whole seconds, and 0 is as likely as any other. retry_backoff=True counts as a factor of 1; "
        "without retry_backoff celery waits a fixed 180 s (celery-retry).",
    ),
    Preset(
        Backoff(Fixed(180), max_retries=3, name="celery-retry"),
        "celery 5.7.0, celery/app/task.py Task.default_retry_delay, Task.retry",
        "No growth and no jitter: all that failed together returns together three minutes later.",
    ),
    Preset(
        Sidekiq(),
        "sidekiq 8.1, lib/sidekiq/job_retry.rb process_retry and delay_for",
        "Whole seconds. Jitter is linear in k while the delay grows as k^4, so late retries hardly spread. "
        "25 retries span about 20 days. Before 7.0 the jitter was rand(30)·(count+1), multiples of count+1.",
    ),
    Preset(
        Oban(),
        "oban 2.22, lib/oban/worker.ex backoff/1, lib/oban/backoff.ex exponential/2 and jitter/2 (mode: :inc)",
        "Jitter only ever adds, up to 10 % in whole seconds: retry 1 waits 17 or 18 s. max_attempts counts "
        "the first run; above 20 the curve is stretched to the same total.",
    ),
    Preset(
        Backoff(Polynomial(1, 4), Proportional(0.1), max_retries=24, name="river"),
        "river, retry_policy.go DefaultClientRetryPolicy.NextRetry",
        "k counts recorded errors, not attempts, so snoozing costs nothing. 25 attempts by default. Go's "
        "truncation to nanoseconds is left out.",
    ),
    Preset(
        Backoff(Exponential(math.e, math.e), cap_s=math.e * math.e**9, max_retries=24, name="graphile-worker"),
        "graphile-worker 0.16, src/sql/failJob.ts: exp(least(attempts, 10)) seconds",
        "Base e and no jitter; the cap of e^10 s is 6 h 7 min. 25 attempts by default.",
    ),
    Preset(
        PgBoss(),
        "pg-boss 12, src/plans.ts failJobs with retry_backoff, QUEUE_DEFAULTS",
        "By default pg-boss retries twice at once (retry_delay 0, retry_backoff false); with backoff a "
        "delay of 0 counts as 1 s. retry_delay_max clips after the jitter and so piles delays up on itself.",
    ),
    Preset(
        Dramatiq(),
        "dramatiq 2.2.1, dramatiq/common.py compute_backoff, called by dramatiq/middleware/retries.py",
        "Past max_backoff it draws again from the upper half instead of clamping, so there is no pile-up.",
    ),
    Preset(
        Huey(),
        "huey 3.5.4, huey/api.py Huey._requeue_task",
        "Defaults are no retries, no delay, no backoff; chosen here: 3 retries, 10 s, ×2. No jitter and no cap.",
    ),
    Preset(
        Rq(),
        "rq 3.0.0, rq/job.py Job.get_retry_interval",
        "With max > len(interval) the *first* interval is repeated, then the list runs to its end. By "
        "default there are no retries; chosen here: Retry(max=5, interval=[10, 30, 60]). A Retry returned "
        "by the job repeats the last one instead (Retry.get_interval).",
    ),
    Preset(
        Backoff(Linear(5), Additive(1), cap_s=60, max_retries=2, name="taskiq"),
        "taskiq 0.13.0, taskiq/middlewares/smart_retry_middleware.py SmartRetryMiddleware.make_delay",
        "use_delay_exponent multiplies by k: it is linear. Jitter comes after the cap, so 61 s occur. "
        "default_retry_count=3 means 2 retries. Exponent and jitter are off by default (a fixed 5 s).",
    ),
    Preset(
        Procrastinate(),
        "procrastinate 3.10.0, procrastinate/retry.py RetryStrategy.get_retry_decision",
        "max_attempts counts retries. By default it retries at once and for ever; chosen here: "
        "max_attempts=10, exponential_wait=5. No cap and no jitter: retry 10 waits 113 days.",
    ),
    Preset(
        Backoff(Exponential(1), cap_s=100, max_retries=None, name="temporal"),
        "temporal server 1.30, service/history/workflow/retry.go nextBackoffInterval, common/backoff "
        "ExponentialBackoffAlgorithm; default retry policy in the documentation",
        "No jitter. The maximum is 100 × the initial interval, and attempts are unlimited.",
    ),
    Preset(
        Backoff(Exponential(1), max_retries=None, name="tenacity-exponential"),
        "tenacity 9.2.1, tenacity/wait.py wait_exponential",
        "No jitter. Its default max is sys.maxsize/2 s, which here saturates at MAX_DELAY_S; never stops by default.",
    ),
    Preset(
        Backoff(Exponential(1), Full(), max_retries=None, name="tenacity-random-exponential"),
        "tenacity 9.2.1, tenacity/wait.py wait_random_exponential",
        "Full jitter, U(min, high) with min 0; never stops by default.",
    ),
    Preset(
        Backoff(
            Exponential(1),
            Additive(1),
            max_retries=None,
            name="tenacity-exponential-jitter",
            cap_after_jitter=True,
        ),
        "tenacity 9.2.1, tenacity/wait.py wait_exponential_jitter",
        "The cap comes after the jitter: once 2^(k−1) reaches max all jitter is gone and everything waits exactly max.",
    ),
    Preset(
        Backoff(
            Exponential(0.1),
            Additive(1),
            cap_s=5,
            max_retries=9,
            budget_s=45,
            name="stamina",
            cap_after_jitter=True,
        ),
        "stamina 26.1.0, stamina/_core.py _compute_backoff",
        "Jitter of up to 1 s swamps the first delays (0.1, 0.2, 0.4 s); at the cap of 5 s it is clipped "
        "away. 10 attempts within 45 s.",
    ),
    Preset(
        Backoff(Exponential(1), Full(), max_retries=None, name="backoff-full-jitter"),
        "backoff 2.2.1, backoff/_wait_gen.py expo and backoff/_jitter.py full_jitter",
        "No cap and no limit by default; with max_time the last delay is cut to what is left of it.",
    ),
    Preset(
        Backoff(Exponential(0.05), Full(), cap_s=20, max_retries=2, name="botocore-standard"),
        "botocore 1.44.5, botocore/retries/standard.py ExponentialBackoff.delay_amount",
        "The scale is 0.05 s, 1 s for throttling errors and 0.025 s for DynamoDB; older versions had 1 s "
        "for all. 3 attempts. An x-amz-retry-after header may add up to 5 s.",
    ),
    Preset(
        Backoff(Exponential(1), Full(), max_retries=4, name="botocore-legacy"),
        "botocore 1.44.5, botocore/retryhandler.py delay_exponential with botocore/data/_retry.json",
        "base='rand' multiplies by one uniform: full jitter, uncapped. 5 attempts; DynamoDB has 10 from "
        "0.05 s, unjittered.",
    ),
    Preset(
        Urllib3(),
        "urllib3 2.8.0, urllib3/util/retry.py Retry.get_backoff_time",
        "The first retry comes at once, the second after 2 × the factor. The factor is 0 by default (no "
        "waiting); chosen here: 0.1. Jitter is added before the cap.",
    ),
    Preset(
        Backoff(Exponential(1), Full(), cap_s=60, max_retries=None, budget_s=120, name="google-api-core"),
        "google-api-core 2.44.0, google/api_core/retry/retry_base.py exponential_sleep_generator",
        "Full jitter with no limit on retries, only a timeout of 120 s in all.",
    ),
    Preset(
        Backoff(Exponential(0.1), Proportional(0.2), cap_s=1, max_retries=3, name="grpc"),
        "gRFC A6 client retries, as revised in 2024; grpc-go, stream.go csAttempt.shouldRetry",
        "±20 % around the capped value, so up to 1.2 × maxBackoff; before 2024 it was full jitter. There "
        "are no defaults: the values are those of A6's example (maxAttempts 4, 0.1 s, ×2, 1 s).",
    ),
    Preset(
        GrpcConnection(),
        "grpc-go, internal/backoff/backoff.go Exponential.Backoff; grpc doc/connection-backoff.md",
        "How a channel reconnects. The first delay is exactly 1 s: a fleet that lost its server returns in step once.",
    ),
    Preset(
        PollyDecorrelatedV2(),
        "Polly 8, src/Polly.Core/Retry/RetryHelper.cs DecorrelatedJitterBackoffV2 (exponential with UseJitter)",
        "Smooth, without spikes at the ends, and any delay may be nearly 0. Defaults of "
        "RetryStrategyOptions: 3 retries from 2 s.",
    ),
    Preset(
        Resilience4j(),
        "resilience4j 2.x, resilience4j-core IntervalFunction.ofExponentialRandomBackoff",
        "Whole milliseconds. Uncapped unless max_ms is given, which clips after the jitter. RetryConfig's "
        "own default is a fixed 500 ms; maxAttempts 3.",
    ),
    Preset(
        Backoff(Fixed(1), max_retries=2, name="kafka-retry-topics"),
        "spring-kafka 4, retrytopic/BackOffValuesGenerator.java and RetryTopicConstants.DEFAULT_MAX_ATTEMPTS",
        "Each distinct delay is a topic of its own, and a delay is the least time: the consumer waits at "
        "the head of the topic. With a multiplier the delays are exponential up to 30 s, still without "
        "jitter.",
    ),
    Preset(
        Backoff(Fixed(30), max_retries=None, budget_s=345_600, name="sqs"),
        "Amazon SQS Developer Guide, visibility timeout (30 s) and MessageRetentionPeriod (4 days)",
        "Not a backoff: an unacknowledged message reappears after the visibility timeout, counted from its "
        "receipt and not from its failure. With a redrive policy max_retries is maxReceiveCount − 1.",
    ),
    Preset(
        Backoff(Exponential(10), cap_s=600, max_retries=None, budget_s=604_800, name="pubsub"),
        "Google Cloud Pub/Sub API, RetryPolicy.minimum_backoff and maximum_backoff; retention of 7 days",
        "Google documents minimum, maximum and that it is exponential and best effort; the factor of 2 is "
        "assumed. Without a RetryPolicy redelivery is immediate. A dead-letter topic's default is 5 "
        "deliveries.",
    ),
    Preset(
        Backoff(Exponential(1), Full(), cap_s=60, name="aws-full"),
        f"{_BLOG}, full jitter: U(0, min(cap, base·2^attempt))",
        "The blog counts attempts from 0 and gives no defaults; base 1 s and cap 60 s are chosen here.",
    ),
    Preset(
        Backoff(Exponential(1), Equal(), cap_s=60, name="aws-equal"),
        f"{_BLOG}, equal jitter: half of the capped value and U(0, half)",
        "Base 1 s and cap 60 s are chosen here.",
    ),
    Preset(
        Backoff(Fixed(1), Decorrelated(), cap_s=60, name="aws-decorrelated", cap_after_jitter=True),
        f"{_BLOG}, decorrelated jitter: min(cap, U(base, 3·previous sleep))",
        "Clamping after the draw piles delays up on the cap: a quarter of them at retry 10, a third in the "
        "long run (Backoff.mass_at_cap). Backoff(Fixed(1), Decorrelated(), cap_s=60) has no such pile. Base "
        "and cap are chosen here.",
    ),
)

PRESETS: dict[str, Preset] = {preset.name: preset for preset in _ALL}

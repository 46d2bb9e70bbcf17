"""The commented scenario that `tem-sim init` writes: every section, with its defaults, and what to change."""

EXAMPLE = """\
# yaml-language-server: $schema=./scenario.schema.json
# A scenario says what happens in one run; it is data and knows no engine.
# Only `scenario` and `arrivals` are required. What is commented out here shows the default, or an alternative.
# Durations: 250ms, 10s, 1h30m; a bare number is seconds. Rates: 20/s, 5/m. Nullable settings are switched `off`.
# Check:  tem-sim validate FILE      Run:  tem-sim run FILE      Change:  --set pipeline.backoff.base=1s

scenario: example
about: A steady load meets an outage of 30 s; every event is retried until it is processed.
seed: 1                 # the same seed is the same run, to the last microsecond
horizon: 10m            # when the run ends at the latest
# stop: drained         # or horizon: go on to the end even when nothing is left to do

vars:                   # ${base} stands for a whole value; inside braces it needs quotes: "${base}"
  base: 2s
# extends: other.yaml   # one level; mappings merge, lists replace

# When events arrive: one process, or a list of them.
arrivals:
  - {kind: poisson, rate: 10/s, from: 0s, until: 90s}
  - {kind: burst, at: 15s, events: 200}
# - {kind: constant, rate: 20/s, from: 0s, until: 60s}
# - {kind: ramp, rate: 5/s, to_rate: 50/s, until: 60s}
# - {kind: phases, phases: [{for: 30s, rate: 10/s}, {for: 10s, rate: 100/s}]}
# - {kind: replay, file: arrivals.csv, column: t_s}     # seconds, or ISO 8601 timestamps

events:
  kinds: {normal: 0.99, poison: 0.01}   # names and weights; handler.kinds says how they differ
# payload_bytes: 100
# duplicate_submits: 0.0                # the share that a client sends twice

# api: {batch: 500, latency: 5ms, retries: 3}

# The pipeline under test. Each protection can be switched off, to see what it is for.
pipeline:
  backoff:
    growth: exponential   # fixed, linear, exponential, polynomial, fibonacci, explicit; or {preset: sidekiq};
                          # or your own code: my_pkg.backoff:policy
    base: ${base}
    factor: 2
    cap: 60s
    jitter: full          # none, full, equal, decorrelated, proportional, {kind: additive, width: 5s}
    max_retries: 8        # off: for ever
#   budget: 1h            # a limit on the time of all retries together
# batch_size: 50          # events per task
# settle_every: 50        # outcomes per settling transaction
# lease: 60s              # off: events of dead workers stay PROCESSING
# sweep_after: 60s        # off: events whose wake-up was lost stay QUEUED
# requeue_limit: 500      # due events per tick of the scheduler
# crash_budget: 3         # leases that an event may lose
# write_guard: fenced     # stale, refresh, row_lock, version, fenced
# outbox: true            # false: notifications that nobody hears are lost
# isolation: event        # batch: one failure fails its whole batch

workers: {count: 4, concurrency: 4, prefetch: 1, startup: 1s}
beat: {retry_every: 1s, rescue_every: 5s, relay_every: 200ms}
# broker: {durable: true, ack: early, visibility_timeout: 1h, latency: 1ms, loss: 0.0}
# store: {latency: 1ms}

# What handling an event takes, and how it can fail.
handler:
  service_time: {kind: lognormal, mean: 50ms, cv: 0.5}  # uniform, exponential, pareto, empirical; 50ms is a constant
  fail_time: 50ms         # how long a refused call takes
  failure_rate: 0.02      # by luck
# fail_first: 0           # the first so many attempts of every event fail
  kinds:
    poison: {effect: fail}    # kill: it takes its worker with it
# capacity: {servers: 32, queue: 1000, timeout: 1s}   # a downstream that slows under load
# call: my_pkg.handlers:charge                        # a function of your own, called with each event

users: {count: 100, connected: 1.0}
# users: {count: 100, session: {kind: exponential, mean: 10m}, away: {kind: exponential, mean: 30s}}

# What goes wrong. A death or a pause strikes at a time, at random with a rate, or at an edge of the lifecycle.
faults:
  - {kind: outage, at: 20s, for: 30s}
# - {kind: broker_restart, at: 10s, for: 5s, messages: lost}
# - {kind: worker_death, target: worker-1, at: 10s, restart_after: 5s}
# - {kind: worker_death, target: workers, rate: 0.1/s, from: 20s, until: 60s}
# - {kind: worker_pause, target: worker-1, edge: after_handle, nth: 40, for: 90s}
# - {kind: beat_stopped, at: 10s, for: 60s}
# - {kind: beat_doubled, at: 10s, for: 60s, phase: 300ms}
# - {kind: wakeups_lost, at: 10s, for: 60s, probability: 0.5}
# - {kind: gateway_disconnect, at: 10s, for: 5s, fraction: 0.5}
# - {kind: clock_skew, target: worker-1, at: 10s, for: 60s, skew: -30s, drift: 50ppm}

# What a run is held to: the run fails when one is broken. avg, min, max, med, p(95), count, rate, value.
thresholds:
  drain_s: max<2m
  lost_events: count==0
# latency_s: [p(95)<60s, {threshold: max<5m, strict: false}]    # strict: false only warns

# expect: {violations: [retry_count]}   # checks that this scenario is meant to break
"""

"""The policies that every test of the contract runs over: all growths × jitters × caps, and all presets."""

import itertools

from hypothesis import strategies as st

from tem_sim.pipeline.backoff import (
    Additive,
    Backoff,
    Decorrelated,
    Equal,
    Explicit,
    Exponential,
    Fibonacci,
    Fixed,
    Full,
    Linear,
    NoJitter,
    Polynomial,
    Proportional,
)
from tem_sim.pipeline.preset_formulas import (
    CeleryAutoretry,
    GrpcConnection,
    Huey,
    PgBoss,
    Procrastinate,
    Resilience4j,
    Rq,
    Urllib3,
)
from tem_sim.pipeline.preset_pairs import Dramatiq
from tem_sim.pipeline.presets import PRESETS
from tem_sim.pipeline.scaled import Scaled

GROWTHS = (
    Fixed(3.0),
    Linear(2.0),
    Exponential(0.7, 2.0),
    Polynomial(1.5, 2.0),
    Fibonacci(1.0),
    Explicit((1.0, 0.0, 30.0)),
)
JITTERS = (NoJitter(), Additive(5.0), Proportional(0.25), Full(), Equal(), Decorrelated())
CAPS = ({}, {"cap_s": 11.0}, {"cap_s": 11.0, "cap_after_jitter": True})

# Decorrelated jitter looks at the growth's first value only, so one growth does for it.
COMPOSED = [
    Backoff(growth, jitter, **cap)
    for growth, jitter, cap in itertools.product(GROWTHS, JITTERS, CAPS)
    if jitter != Decorrelated() or growth == GROWTHS[0]
]
VARIED = [
    CeleryAutoretry(retry_backoff=7, retry_backoff_max=100),
    CeleryAutoretry(retry_jitter=False),
    Dramatiq(min_backoff_ms=10, max_backoff_ms=75),
    Dramatiq(min_backoff_ms=3, max_backoff_ms=1),
    GrpcConnection(max_s=5.0),
    Huey(retry_backoff=0.0),
    PgBoss(retry_delay_s=3.0, retry_delay_max_s=40.0),
    Procrastinate(wait_s=1.0, linear_wait_s=2.0, exponential_wait=1.0),
    Resilience4j(initial_ms=3, multiplier=1.3, max_ms=7),
    Rq(intervals_s=(5.0,), max_retries=3),
    Urllib3(backoff_jitter_s=2.0, backoff_max_s=5.0),
    Scaled(PRESETS["sidekiq"].policy, 0.1),
    Scaled(PRESETS["aws-decorrelated"].policy, 3.0),
]
ALL = [*COMPOSED, *VARIED, *(preset.policy for preset in PRESETS.values())]

positive_s = st.floats(1e-3, 1e5)
growths = st.one_of(
    st.builds(Fixed, st.floats(0, 1e5)),
    st.builds(Linear, st.floats(0, 1e5), st.one_of(st.none(), st.floats(0, 1e5))),
    st.builds(Exponential, positive_s, st.floats(1, 10)),
    st.builds(Polynomial, positive_s, st.floats(0, 10)),
    st.builds(Fibonacci, positive_s),
    st.builds(Explicit, st.lists(st.floats(0, 1e5), min_size=1, max_size=5).map(tuple)),
)
jitters = st.one_of(
    st.just(NoJitter()),
    st.builds(Additive, st.floats(0, 1e5)),
    st.builds(Proportional, st.floats(0, 1)),
    st.just(Full()),
    st.just(Equal()),
    st.builds(Decorrelated, st.floats(1, 10)),
)


@st.composite
def backoffs(draw):
    growth = draw(growths)
    least = max(growth.value_s(1), 1e-3)
    cap_s = draw(st.one_of(st.none(), st.floats(least, 1e6)))
    return Backoff(growth, draw(jitters), cap_s, cap_after_jitter=draw(st.booleans()))


def any_policy():
    return st.one_of(backoffs(), st.sampled_from(ALL))

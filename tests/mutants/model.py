"""The lifecycle beside its reference: any order of steps, early, late or twice, on a store of its own."""

from __future__ import annotations

EXAMPLES, STEPS = 15, 30


def walk(seed: int) -> str | None:
    """Say where the store and the reference differ, under three settings; None where they agree."""
    import hypothesis
    from hypothesis.stateful import run_state_machine_as_test

    from tem_sim.pipeline.backoff import Backoff, Exponential, Fixed, Full
    from tem_sim.pipeline.settings import ClaimOrder, Settings
    from tem_sim.pipeline.store import open_store
    from tem_sim.strategies import lifecycle_machine

    small = Settings(
        policy=Backoff(Fixed(10.0), max_retries=1), lease_s=20.0, sweep_after_s=30.0, crash_budget=1, deadline_s=40.0
    )
    spread = Settings(policy=Backoff(Exponential(2.0), Full(), max_retries=2), claim_order=ClaimOrder.NEW_FIRST)
    bounds = hypothesis.settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
        print_blob=False,
    )
    for settings in (small, spread):
        machine = hypothesis.seed(seed)(lifecycle_machine(open_store, settings))
        try:
            run_state_machine_as_test(machine, settings=bounds)
        except Exception as error:
            return f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return None

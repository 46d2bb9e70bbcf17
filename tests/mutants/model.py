"""The lifecycle beside its reference: any order of steps, early, late or twice, on a store of its own."""

from __future__ import annotations

from typing import Any

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


class _Dealt:
    """Stands for Hypothesis' choices where they are made already."""

    def __init__(self, *choices: Any) -> None:
        self._left = list(choices)

    def draw(self, _strategy: object) -> Any:
        return self._left.pop(0)


def lives() -> str | None:
    """Let two events come to their end in every way, one after the other; say where store and reference differ."""
    from tem_sim.pipeline.backoff import Backoff, Fixed
    from tem_sim.pipeline.settings import Settings
    from tem_sim.pipeline.store import open_store
    from tem_sim.strategies import lifecycle_machine

    settings = Settings(policy=Backoff(Fixed(10.0), max_retries=1), lease_s=20.0, crash_budget=1)
    machine = lifecycle_machine(open_store, settings)()
    try:
        machine.submit(2)
        for ends in (_fail, _crash, _fail, _succeed):
            ends(machine)
            _agree(machine)
            for event_id in (1, 2):
                machine.replay(_Dealt(event_id))
                _agree(machine)
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0][:200]
    finally:
        machine.teardown()
    return None


def _agree(machine: Any) -> None:
    machine.no_event_is_lost_and_none_appears()
    machine.every_row_is_as_the_reference_has_it()
    machine.the_logs_and_the_outbox_are_as_the_reference_has_them()


def _settle(machine: Any, failing: set[int]) -> None:
    machine.claim("ann", 4)
    machine.settle(_Dealt("ann", [claimed for _, claimed in machine.held]), failing)


def _fail(machine: Any) -> None:
    for _ in range(2):
        _settle(machine, {1, 2})
        machine.wait_for_what_is_due()
        machine.requeue(None)


def _crash(machine: Any) -> None:
    for _ in range(2):
        machine.claim("bob", 4)
        for held in list(machine.held):
            machine.mark_started(_Dealt(held))
        machine.wait_for_what_is_due()
        machine.rescue()
        machine.held.clear()


def _succeed(machine: Any) -> None:
    _settle(machine, set())
    machine.relay(3, heard=True)

"""The named races: a prepared store, and two or three threads that call the pipeline's own functions at one instant."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from tem_sim.pipeline import claims
from tem_sim.pipeline.backoff import Backoff, Exponential
from tem_sim.pipeline.lifecycle import Submission, requeue_due, rescue_expired, submit
from tem_sim.pipeline.ports import ClaimedEvent
from tem_sim.pipeline.settings import Settings
from tem_sim.pipeline.settle import Outcome, settle
from tem_sim.pipeline.store import Store
from tem_sim.pipeline.tasks import (
    Pipeline,
    relay_notifications,
    rescue_lost_events,
    retry_failed_events,
    submit_events,
)
from tem_sim.races.specimens import stale_claim
from tem_sim.scenario.streams import Streams

# When all threads of a race act, by their clocks; what is prepared happened before.
NOW_S = 1000.0
_LUCK = Streams(0)

# Threads by the names that schedules and timelines have for them; a worker's is also the actor's.
ZOMBIE, WORKER, RESCUE = "worker-1/0", "worker-2/0", "beat/rescue"


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the threads of a race hold before it begins: each worker's claim."""

    held: Mapping[str, ClaimedEvent]


Body = Callable[[Pipeline, Prepared], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """One named race. `guarded`: whether a finishing write takes part, so that the write guard matters."""

    name: str
    about: str
    prepare: Callable[[Store, Settings], Prepared]
    threads: Mapping[str, Body]
    guarded: bool = False
    # Broken on purpose: the harness must see it. It says nothing about the pipeline.
    specimen: bool = False
    max_retries: int = 1

    def settings(self, settings: Settings) -> Settings:
        """Return the settings with the retry limit at which this race is closest to going wrong."""
        return replace(settings, policy=Backoff(Exponential(10.0), max_retries=self.max_retries))


# --- what is prepared


def _submitted(store: Store, count: int) -> None:
    events = [Submission(n, f"key-{n}", 7, "order", {}) for n in range(1, count + 1)]
    submit(store, events, now=0.0, actor="api")


def _queued(store: Store, settings: Settings) -> Prepared:
    _submitted(store, 2)
    return Prepared({})


def _nothing(store: Store, settings: Settings) -> Prepared:
    return Prepared({})


def _claimed(store: Store, settings: Settings, worker: str, now: float) -> ClaimedEvent:
    (event,) = claims.claim(store, settings, now=now, worker=worker)
    return event


def _lease_over(store: Store, settings: Settings) -> Prepared:
    """Let a worker claim an event and not be heard of until its lease is over."""
    _submitted(store, 1)
    return Prepared({ZOMBIE: _claimed(store, settings, ZOMBIE, now=10.0)})


def _lease_over_and_one_queued(store: Store, settings: Settings) -> Prepared:
    held = _lease_over(store, settings).held
    submit(store, [Submission(2, "key-2", 7, "order", {})], now=20.0, actor="api")
    return Prepared(held)


def _claimed_twice(store: Store, settings: Settings) -> Prepared:
    """Let a second worker claim what the rescue has taken back from a first one that still lives."""
    held = dict(_lease_over(store, settings).held)
    rescue_expired(store, settings, now=NOW_S - 10, actor="beat")
    return Prepared(held | {WORKER: _claimed(store, settings, WORKER, now=NOW_S - 5)})


def _failed(store: Store, settings: Settings) -> Prepared:
    _submitted(store, 2)
    events = claims.claim(store, settings, now=10.0, worker=ZOMBIE)
    settle(store, settings, _LUCK, [_failure(event, 11.0) for event in events], now=12.0, worker=ZOMBIE)
    return Prepared({})


def _owed(store: Store, settings: Settings) -> Prepared:
    _submitted(store, 2)
    events = claims.claim(store, settings, now=10.0, worker=ZOMBIE)
    settle(store, settings, _LUCK, [_success(event, 11.0) for event in events], now=12.0, worker=ZOMBIE)
    return Prepared({})


def _failed_before(store: Store, settings: Settings) -> Prepared:
    """As `_lease_over`, of an event that has failed once before."""
    _submitted(store, 1)
    first = _claimed(store, settings, WORKER, now=1.0)
    settle(store, settings, _LUCK, [_failure(first, 2.0)], now=2.0, worker=WORKER)
    requeue_due(store, settings, now=100.0, actor="beat")
    return Prepared({ZOMBIE: _claimed(store, settings, ZOMBIE, now=110.0)})


def _failure(event: ClaimedEvent, at: float) -> Outcome:
    return Outcome(event, at, at, "Timeout: no answer")


def _success(event: ClaimedEvent, at: float) -> Outcome:
    return Outcome(event, at, at, None)


# --- what the threads do


def _claim(worker: str) -> Body:
    return lambda pipe, _: claims.claim(pipe.store, pipe.settings, now=pipe.clock.now(), worker=worker)


def _settle(worker: str, make: Callable[[ClaimedEvent, float], Outcome]) -> Body:
    def act(pipe: Pipeline, prepared: Prepared) -> object:
        now = pipe.clock.now()
        outcome = make(prepared.held[worker], now)
        return settle(pipe.store, pipe.settings, pipe.chance, [outcome], now=now, worker=worker)

    return act


def _renew(worker: str) -> Body:
    def act(pipe: Pipeline, prepared: Prepared) -> object:
        held = [prepared.held[worker]]
        return claims.renew(pipe.store, pipe.settings, held, now=pipe.clock.now(), worker=worker)

    return act


def _stale_claim(worker: str) -> Body:
    return lambda pipe, _: stale_claim(pipe.store, pipe.settings, now=pipe.clock.now(), worker=worker)


def _rescue(pipe: Pipeline, _: Prepared) -> object:
    return rescue_lost_events(pipe, actor="beat")


def _requeue(pipe: Pipeline, _: Prepared) -> object:
    return retry_failed_events(pipe, actor="beat")


def _relay(pipe: Pipeline, _: Prepared) -> object:
    return relay_notifications(pipe)


def _submit(event_id: int) -> Body:
    same = Submission(event_id, "key-1", 7, "order", {"amount": 1})
    return lambda pipe, _: submit_events(pipe, [same], actor="api")


RACES: dict[str, Race] = {
    race.name: race
    for race in (
        Race(
            name="claim-rescue",
            about="A worker claims while the rescue takes back an event whose lease is over.",
            prepare=_lease_over_and_one_queued,
            threads={WORKER: _claim(WORKER), RESCUE: _rescue},
        ),
        Race(
            name="settle-rescue",
            about="A late worker records a failure while the rescue takes its event back.",
            prepare=_lease_over,
            threads={ZOMBIE: _settle(ZOMBIE, _failure), RESCUE: _rescue},
            guarded=True,
        ),
        Race(
            name="finish-rescue",
            about="A late worker records a success while the rescue takes its event back.",
            prepare=_lease_over,
            threads={ZOMBIE: _settle(ZOMBIE, _success), RESCUE: _rescue},
            guarded=True,
        ),
        Race(
            name="settle-settle",
            about="A late worker and the one that has the event now both record a failure.",
            prepare=_claimed_twice,
            threads={ZOMBIE: _settle(ZOMBIE, _failure), WORKER: _settle(WORKER, _failure)},
            guarded=True,
        ),
        Race(
            name="finish-settle",
            about="A late worker records a success, the one that has the event now a failure.",
            prepare=_claimed_twice,
            threads={ZOMBIE: _settle(ZOMBIE, _success), WORKER: _settle(WORKER, _failure)},
            guarded=True,
        ),
        Race(
            name="settle-rescue-claim",
            about="As settle-rescue, while a third thread claims what it finds.",
            prepare=_failed_before,
            threads={ZOMBIE: _settle(ZOMBIE, _failure), RESCUE: _rescue, WORKER: _claim(WORKER)},
            guarded=True,
        ),
        Race(
            name="renew-rescue",
            about="A worker renews its lease at the moment at which the rescue finds it over.",
            prepare=_lease_over,
            threads={ZOMBIE: _renew(ZOMBIE), RESCUE: _rescue},
        ),
        Race(
            name="claim-claim",
            about="Two workers claim the same two events.",
            prepare=_queued,
            threads={ZOMBIE: _claim(ZOMBIE), WORKER: _claim(WORKER)},
        ),
        Race(
            name="requeue-requeue",
            about="Two schedulers requeue the same two events.",
            prepare=_failed,
            threads={"beat/retry": _requeue, "beat-2/retry": _requeue},
        ),
        Race(
            name="relay-relay",
            about="Two schedulers publish the same two notifications.",
            prepare=_owed,
            threads={"beat/relay": _relay, "beat-2/relay": _relay},
        ),
        Race(
            name="submit-submit",
            about="The same submission comes twice at once, as from a client that repeats it.",
            prepare=_nothing,
            threads={"api/request-1": _submit(1), "api/request-2": _submit(2)},
        ),
        Race(
            name="stale-claim",
            about="Two workers claim as a first version does: read what is QUEUED, then write it by its id.",
            prepare=_queued,
            threads={ZOMBIE: _stale_claim(ZOMBIE), WORKER: _stale_claim(WORKER)},
            specimen=True,
        ),
    )
}

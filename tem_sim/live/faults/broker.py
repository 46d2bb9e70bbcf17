"""How the system's own Redis is restarted, frozen, and kept from being subscribed to."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from tem_sim.live.system import REDIS
from tem_sim.pipeline.ports import QUEUE

if TYPE_CHECKING:
    from redis import Redis

    from tem_sim.live.faults.infliction import Infliction
    from tem_sim.live.faults.stage import Stage
    from tem_sim.scenario.faults.broker import BrokerFrozen, BrokerRestart
    from tem_sim.scenario.faults.delivery import SubscriberGap

# The supervisor asks it only for what goes into a detail, or is about to be over.
_TIMEOUT_S = 1.0


def broker_restart(at: Infliction, fault: BrokerRestart) -> None:
    stage = at.stage
    keep = stage.scenario.broker.durable if fault.messages is None else fault.messages == "kept"
    down = ExitStack()

    def begin() -> str:
        waiting = _waiting(stage)
        down.enter_context(stage.system.held_down(REDIS))
        if keep:
            return "messages kept"
        assert stage.system.redis is not None
        stage.system.redis.forget()
        return f"{waiting} messages lost"

    def end() -> int:
        down.close()
        return 1

    at.window(begin, end)


def broker_frozen(at: Infliction, _fault: BrokerFrozen) -> None:
    stage = at.stage

    def begin() -> str:
        stage.system.pause(REDIS)
        return "nothing is answered; clients give up in their own time"

    def end() -> int:
        stage.system.resume(REDIS)
        return 1

    at.window(begin, end)


def subscriber_gap(at: Infliction, _fault: SubscriberGap) -> None:
    stage = at.stage

    def begin() -> str:
        with _client(stage) as client:
            client.execute_command("ACL", "SETUSER", "default", "-subscribe", "-psubscribe")
            cut = client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        return f"{cut} subscribers cut off, and nobody may subscribe"

    def end() -> int:
        with _client(stage) as client:
            client.execute_command("ACL", "SETUSER", "default", "+subscribe", "+psubscribe")
        return 1

    at.window(begin, end)


def _client(stage: Stage) -> Redis:
    from redis import Redis

    return Redis.from_url(stage.system.config.redis_url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S)


def _waiting(stage: Stage) -> int | str:
    """Return how many messages wait in the queue or are not acknowledged; `unknown` where Redis does not say."""
    from redis.exceptions import RedisError

    prefix = stage.system.config.name
    try:
        with _client(stage) as client:
            counts = client.pipeline(transaction=False).llen(f"{prefix}:{QUEUE}").hlen(f"{prefix}:unacked").execute()
    except (RedisError, OSError):
        return "unknown"
    return sum(map(int, counts))

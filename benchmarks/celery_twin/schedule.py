"""What both designs are put through: the load, the handler, the retries and the faults, as one scenario."""

from __future__ import annotations

from enum import StrEnum

from tem_sim.scenario.models import Scenario

RATE_PER_S = 10
# Our lease and the twin's short visibility timeout: how long whatever a dead worker held is waited for.
LEASE_S = 15
REDIS_AWAY_S = 1.5
WORKER_AWAY_S = 2
# When each strikes, as a share of the time in which events arrive.
KILLS = (("worker-1", 0.1), ("worker-2", 0.25), ("worker-3", 0.55), ("worker-1", 0.65), ("worker-2", 0.9))
RESTARTS = (0.4, 0.8)


class Faults(StrEnum):
    """What goes wrong in a run."""

    NONE = "none"
    # One, of Redis.
    RESTART = "restart"
    ALL = "all"


def scenario(events: int, seed: int, *, durable: bool, faults: Faults = Faults.ALL) -> Scenario:
    """Return the scenario; `durable` says whether Redis keeps an append-only file.

    Both designs wait by Celery's own formula: a whole number of seconds from 0 to min(8, 2^(k-1)) before retry k.
    """
    lasts_s = events / RATE_PER_S
    policy = {"retry_backoff": 1, "retry_backoff_max": 8, "max_retries": 8}
    return Scenario.model_validate(
        {
            "scenario": "celery_twin",
            "seed": seed,
            "horizon": "10m",
            "arrivals": {"kind": "constant", "rate": RATE_PER_S, "until": lasts_s},
            "pipeline": {
                "backoff": {"import": "tem_sim.pipeline.preset_formulas:CeleryAutoretry", "args": policy},
                "lease": LEASE_S,
                "sweep_after": 10,
                "batch_size": 1,
                "settle_every": 1,
            },
            "broker": {"durable": durable},
            "workers": {"count": 3, "concurrency": 4, "restart_after": WORKER_AWAY_S},
            "handler": {"service_time": {"kind": "exponential", "mean": "250ms"}, "failure_rate": 0.3},
            "users": {"count": 20},
            "faults": _faults(lasts_s, durable, faults),
        }
    )


def _faults(lasts_s: float, durable: bool, which: Faults) -> list[dict[str, object]]:
    kills: list[dict[str, object]] = [
        {"kind": "worker_death", "target": worker, "at": share * lasts_s, "restart_after": WORKER_AWAY_S}
        for worker, share in KILLS
    ]
    fate = "kept" if durable else "lost"
    restarts: list[dict[str, object]] = [
        {"kind": "broker_restart", "at": share * lasts_s, "for": REDIS_AWAY_S, "messages": fate} for share in RESTARTS
    ]
    return {Faults.NONE: [], Faults.RESTART: restarts[-1:], Faults.ALL: kills + restarts}[which]

"""The twin's worker: one Celery task per event that does it all, and Celery's own retry.

`python -m benchmarks.celery_twin.worker worker-1`, with the system's file in TEM_SIM_LIVE. The task calls the same
downstream as ours, and at its end publishes the notification to the same gateway. Nothing is kept but in Redis.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from celery import Celery, Task, signals

from tem_sim.live.celery_app import PUBLISH_RETRIES
from tem_sim.live.config import LiveConfig
from tem_sim.live.handler import DownstreamHandler
from tem_sim.live.ports import encoded
from tem_sim.live.process import SOCKET_TIMEOUT_S, Process
from tem_sim.pipeline.ports import QUEUE, ClaimedEvent, Notification
from tem_sim.pipeline.preset_formulas import CeleryAutoretry
from tem_sim.scenario.downstream import Outage, Overload, Refused

TASK = "handle_event"
# What the downstream answers. A notification that can't be published is no reason to do the work again.
RETRIED = (Refused, Outage, Overload)
# Seconds, in the environment; Celery's own default, an hour, where it is not set.
VISIBILITY_TIMEOUT = "TEM_SIM_TWIN_VISIBILITY_TIMEOUT"


def make_app(config: LiveConfig, process: Process | None = None) -> Celery:
    """Return the application; without a process it only sends tasks."""
    app = Celery("celery_twin", broker=config.redis_url, set_as_current=False)
    given = os.environ.get(VISIBILITY_TIMEOUT)
    app.conf.update(
        task_ignore_result=True,
        task_default_queue=QUEUE,
        task_publish_retry=True,
        task_publish_retry_policy=PUBLISH_RETRIES,
        # As the manual recommends with late acknowledgement, and as in our design.
        worker_prefetch_multiplier=config.scenario.workers.prefetch,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_enable_remote_control=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "global_keyprefix": f"{config.name}:",
            "socket_timeout": SOCKET_TIMEOUT_S,
            "socket_connect_timeout": SOCKET_TIMEOUT_S,
            **({} if given is None else {"visibility_timeout": float(given)}),
        },
    )
    _add_task(app, config, process)
    return app


def _add_task(app: Celery, config: LiveConfig, process: Process | None) -> None:
    policy = config.scenario.policy()
    assert isinstance(policy, CeleryAutoretry)
    app.task(
        name=TASK,
        bind=True,
        # Of this application alone, not of each that the process has.
        shared=False,
        acks_late=True,
        reject_on_worker_lost=True,
        autoretry_for=RETRIED,
        max_retries=policy.max_retries,
        retry_backoff=policy.retry_backoff,
        retry_backoff_max=policy.retry_backoff_max,
        retry_jitter=policy.retry_jitter,
    )(_does_it_all(process))


def _does_it_all(process: Process | None) -> Callable[..., None]:
    """Return what the task does; its connections are opened when first used, in each process of the pool."""
    handler = None if process is None else DownstreamHandler(process.config, process.log)

    def handle_event(task: Task, number: int, user_id: int, submitted_at: float) -> None:
        assert process is not None
        assert handler is not None
        retries = task.request.retries
        payload = json.dumps({"number": number})
        handler.handle(ClaimedEvent(number, retries + 1, retries, 0, 0, None, user_id, "normal", payload, submitted_at))
        # With the client's own retry, as it comes: redis-py 8 gives up after less than a second.
        process.redis.publish(process.config.channel, encoded(Notification(number, user_id, None, submitted_at)))
        process.log.note("published", event_id=number)

    return handle_event


def _log_tasks(process: Process) -> None:
    """Log what is handed to this worker, and what tasks fail for good: by the policy, or because Redis is away."""
    log = process.log

    def received(request: Any = None, **_: Any) -> None:
        about = request.delivery_info or {}
        log.note("received", n=request.args[0], redelivered=bool(about.get("redelivered")), eta=request.eta)

    def failed(exception: Exception, args: tuple[int, ...], **_: Any) -> None:
        event = "given_up" if isinstance(exception, RETRIED) else "failed"
        log.note(event, n=args[0], error=f"{type(exception).__name__}: {exception}")

    signals.task_received.connect(received, weak=False)
    signals.task_failure.connect(failed, weak=False)
    signals.worker_ready.connect(lambda **_: process.is_ready(), weak=False)
    signals.setup_logging.connect(lambda **_: None, weak=False)


def main(name: str) -> None:
    """Work until told to stop."""
    process = Process(name, LiveConfig.load())
    process.log.take_over_logging()
    process.log.note("start")
    _log_tasks(process)
    app = make_app(process.config, process)
    concurrency = process.config.scenario.workers.concurrency
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    about = [f"--queues={QUEUE}", f"--concurrency={concurrency}", f"--hostname={name}@{process.config.name}"]
    app.worker_main(["worker", *about, *quiet])


if __name__ == "__main__":
    main(sys.argv[1])

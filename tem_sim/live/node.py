"""Any process of a live system: `python -m tem_sim.live.node worker-1`, with the system's file in TEM_SIM_LIVE."""

from __future__ import annotations

import sys
import time
from typing import Any

from tem_sim.live.config import LiveConfig
from tem_sim.live.process import Process

# How long a worker that is up waits for the processes of its pool, which connect to what they need.
WARM_WITHIN_S = 10.0


def main(name: str) -> None:
    """Be the node of this name until it is told to stop."""
    process = Process(name, LiveConfig.load())
    process.log.take_over_logging()
    process.log.note("start")
    {"worker": work, "maintenance": maintain, "beat": beat, "api": api, "gateway": gateway, "downstream": downstream}[
        name.partition("-")[0]
    ](process)


def work(process: Process) -> None:
    """Be a Celery worker of the processing queue."""
    from tem_sim.pipeline.ports import QUEUE

    config = process.config
    _celery_worker(process, QUEUE, config.pool, config.scenario.workers.concurrency)


def maintain(process: Process) -> None:
    """Be the Celery worker of the scheduler's tasks: threads, since each kind of tick must know of the others."""
    from tem_sim.live.celery_app import MAINTENANCE

    _celery_worker(process, MAINTENANCE, "threads", 6)


def _celery_worker(process: Process, queue: str, pool: str, concurrency: int) -> None:
    from celery import signals

    from tem_sim.live.celery_app import make_app, work_for

    app = make_app(process.config)
    work_for(process)
    _log_messages(process)
    _warm_up_first(process, pool, concurrency)
    signals.setup_logging.connect(lambda **_: None, weak=False)
    # Without gossip, mingle and heartbeats: workers need not know of each other, and starting takes a second less.
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    pool_of = [f"--pool={pool}", f"--concurrency={concurrency}", f"--hostname={process.name}@{process.config.name}"]
    app.worker_main(["worker", f"--queues={queue}", *pool_of, *quiet])


def _warm_up_first(process: Process, pool: str, concurrency: int) -> None:
    """Say that a worker is ready once every process of its pool is."""
    import multiprocessing

    from celery import signals

    # Celery's pool forks. Of another start method, such as Python 3.14's own, a semaphore would bring a process with it
    # that sees to its name.
    warm = multiprocessing.get_context("fork").Semaphore(0)

    def in_child(**_: Any) -> None:
        process.warm_up()
        warm.release()

    def when_ready(**_: Any) -> None:
        until = time.monotonic() + WARM_WITHIN_S
        if pool == "threads":
            process.warm_up()
        else:
            for _child in range(concurrency):
                warm.acquire(timeout=max(0.0, until - time.monotonic()))
        process.is_ready()

    signals.worker_process_init.connect(in_child, weak=False)
    signals.worker_ready.connect(when_ready, weak=False)


def _log_messages(process: Process) -> None:
    """Log what becomes of each message that this worker is handed: the frame `messages` is made of it."""
    from celery import signals

    log = process.log

    def received(request: Any = None, **_: Any) -> None:
        about = request.delivery_info or {}
        log.note("message", message=request.id, task=request.name, redelivered=bool(about.get("redelivered")))

    signals.task_received.connect(received, weak=False)
    signals.task_prerun.connect(lambda task_id=None, **_: log.note("message_started", message=task_id), weak=False)
    signals.task_postrun.connect(lambda task_id=None, **_: log.note("message_done", message=task_id), weak=False)


def beat(process: Process) -> None:
    """Be a Celery beat, which sends its ticks under its own name."""
    from celery.beat import Scheduler
    from celery.signals import beat_init, setup_logging

    from tem_sim.live.celery_app import make_app, schedule

    app = make_app(process.config)
    app.conf.beat_schedule = schedule(process.config, process.name)
    setup_logging.connect(lambda **_: None, weak=False)
    beat_init.connect(lambda **_: process.is_ready(), weak=False)
    # Its plan is in the scenario and its past is of no interest: nothing to be kept in a file.
    app.Beat(scheduler=Scheduler, quiet=True, loglevel="WARNING").run()


def api(process: Process) -> None:
    """Be the Event API."""
    from tem_sim.live.api.server import serve

    serve(process)


def gateway(process: Process) -> None:
    """Be the WebSocket gateway."""
    from tem_sim.live.gateway.server import serve

    serve(process)


def downstream(process: Process) -> None:
    """Be what the handler calls."""
    from tem_sim.live.downstream import serve

    serve(process)


if __name__ == "__main__":
    main(sys.argv[1])

"""The Celery application: four tasks that only call the pipeline's own, and a schedule for three of them.

The database is the truth and a wake-up is a hint: wake-ups carry nothing and have no countdown, are acknowledged before
they are worked on unless the scenario says otherwise, and Celery's own retry is never used. What the scheduler's tasks
need never waits behind events: they have a queue and a worker of their own.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from celery import Celery
from sqlalchemy.exc import SQLAlchemyError

from tem_sim.live.ports import SENDER
from tem_sim.live.process import SOCKET_TIMEOUT_S, Process
from tem_sim.pipeline import tasks
from tem_sim.pipeline.polling import Polling
from tem_sim.pipeline.ports import QUEUE

if TYPE_CHECKING:
    from tem_sim.live.config import LiveConfig

MAINTENANCE = "maintenance"
WAKE = "process_events_batch"
# What a tick is worth when it comes late: those that pile up behind a worker that is away are dropped after this.
TICK_EXPIRES_S = 5.0
# How long a new process of a pool may take to connect to what it needs, which may be frozen, on a machine that is busy.
# Celery kills one that takes longer, and the next one, and so on.
CHILD_UP_WITHIN_S = 60.0
# In all about 0.6 s where nobody listens, and up to 11 s where Redis is frozen, whose answer is waited for each time:
# whoever sends has done its work already, and the sweep finds what nobody was woken for.
PUBLISH_RETRIES = {"max_retries": 3, "interval_start": 0.1, "interval_step": 0.1, "interval_max": 0.3}


@cache
def _made(file: str) -> Celery:
    from tem_sim.live.config import LiveConfig

    config = LiveConfig.load(file)
    broker = config.scenario.broker
    app = Celery("tem_sim", broker=config.redis_url, set_as_current=False)
    app.conf.update(
        task_ignore_result=True,
        task_default_queue=QUEUE,
        task_acks_late=broker.ack == "late",
        task_reject_on_worker_lost=broker.reject_on_worker_lost,
        task_publish_retry=True,
        task_publish_retry_policy=PUBLISH_RETRIES,
        worker_prefetch_multiplier=config.scenario.workers.prefetch,
        worker_proc_alive_timeout=CHILD_UP_WITHIN_S,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        broker_connection_retry=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=SOCKET_TIMEOUT_S,
        broker_transport_options={
            "global_keyprefix": f"{config.name}:",
            "visibility_timeout": broker.visibility_timeout_s,
            "unacked_restore_limit": None,
            "socket_timeout": SOCKET_TIMEOUT_S,
            "socket_connect_timeout": SOCKET_TIMEOUT_S,
            "retry_on_timeout": False,
            "max_retries": 3,
            "interval_start": 0.1,
            "interval_step": 0.2,
            "interval_max": 0.5,
        },
    )
    app.task(name=WAKE)(_process_events_batch)
    for name, task in (
        ("retry_failed_events", _retry_failed_events),
        ("rescue_lost_events", _rescue_lost_events),
        ("relay_notifications", _relay_notifications),
    ):
        # A tick is worth nothing the second time: it is never worked on again after its worker's death.
        app.task(name=name, acks_late=False)(task)
    return app


def make_app(config: LiveConfig) -> Celery:
    """Return this process's Celery application of a system."""
    return _made(str(config.file))


def wake_task(app: Celery) -> Any:
    """Return the task of which each wake-up is a message."""
    return app.tasks[WAKE]


def schedule(config: LiveConfig, beat: str) -> dict[str, dict[str, Any]]:
    """Return what a scheduler of this name sends, and how often."""
    model, settings = config.scenario.beat, config.scenario.settings()
    periods = {"retry_failed_events": model.retry_every_s, "rescue_lost_events": model.rescue_every_s}
    if settings.outbox:
        periods["relay_notifications"] = model.relay_every_s
    return {
        name: {
            "task": name,
            "schedule": period_s,
            "args": (beat,),
            "options": {"queue": MAINTENANCE, "expires": max(TICK_EXPIRES_S, 2 * period_s)},
        }
        for name, period_s in periods.items()
    }


# --- the tasks

_process: Process | None = None


def work_for(process: Process) -> None:
    """Say which node the tasks of this process work for."""
    global _process
    _process = process


def _mine() -> Process:
    if _process is None:
        raise RuntimeError("a task was started outside of a live system; use python -m tem_sim.live.node")
    return _process


_slots = threading.local()
_slot_numbers = defaultdict[int, int](int)
_slots_lock = threading.Lock()


def slot() -> int:
    """Return the number of the pool's process or thread that calls, from 0."""
    if _mine().config.pool == "prefork":
        from billiard.process import current_process

        return int(getattr(current_process(), "index", 0))
    if not hasattr(_slots, "number"):
        with _slots_lock:
            _slots.number = _slot_numbers[0]
            _slot_numbers[0] += 1
    return int(_slots.number)


def _run(actor: str, name: str, task: Callable[[tasks.Pipeline], int]) -> int:
    """Run a task of the pipeline, and log how it went; what the database does to it fails it, and nobody repeats it."""
    process = _mine()
    SENDER.set((actor, name, 0))
    began = time.monotonic()
    try:
        done = task(process.pipeline)
    except SQLAlchemyError as error:
        process.log.note("task_failed", task=name, actor=actor, error=f"{type(error).__name__}: {error}"[:500])
        return 0
    process.log.note("task", task=name, actor=actor, rows=done, took_s=round(time.monotonic() - began, 6))
    return done


def _process_events_batch() -> None:
    worker = f"{_mine().name}/{slot()}"
    _run(worker, "batch", lambda pipe: tasks.process_events_batch(pipe, worker=worker))


class _Ticks:
    """What is left of one scheduler's task from tick to tick: ticks of the same kind never overlap, but are skipped."""

    def __init__(self) -> None:
        self.running = threading.Lock()
        self.waited_s: float | None = None


_ticks: defaultdict[tuple[str, str], _Ticks] = defaultdict(_Ticks)


def _tick(beat: str, name: str, task: Callable[[tasks.Pipeline], int]) -> None:
    ticks = _ticks[beat, name]
    if not ticks.running.acquire(blocking=False):
        return
    try:
        done = _run(beat, name, task)
        if name == "retry":
            _look_again(ticks, done, lambda: _run(beat, name, task))
    finally:
        ticks.running.release()


def _look_again(ticks: _Ticks, moved: int, again: Callable[[], int]) -> None:
    """Between two ticks of the scheduler, look as often as adaptive polling says."""
    process = _mine()
    beat = process.config.scenario.beat
    if beat.retry_floor_s is None:
        return
    polling = Polling(period_s=beat.retry_every_s, floor_s=beat.retry_floor_s)
    limit, until = process.settings.requeue_limit, time.monotonic() + beat.retry_every_s
    wait_s = polling.next_wait_s(ticks.waited_s or beat.retry_every_s, moved, limit)
    while time.monotonic() + wait_s < until:
        time.sleep(wait_s)
        wait_s = polling.next_wait_s(wait_s, again(), limit)
    ticks.waited_s = wait_s


def _retry_failed_events(beat: str) -> None:
    _tick(beat, "retry", lambda pipe: tasks.retry_failed_events(pipe, actor=beat))


def _rescue_lost_events(beat: str) -> None:
    _tick(beat, "rescue", lambda pipe: tasks.rescue_lost_events(pipe, actor=beat))


def _relay_notifications(beat: str) -> None:
    _tick(beat, "relay", tasks.relay_notifications)

"""What is read from the logs of a run's processes, of those as well that were killed in the middle of a line."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from tem_sim.live.told import Told, told_by

WAKE = "process_events_batch"


def written(folder: Path, node: str, *lines: dict[str, Any], torn: str = "") -> None:
    text = "".join(json.dumps({"node": node, "pid": 1, **line}) + "\n" for line in lines)
    (folder / f"{node}.jsonl").write_text(text + torn, encoding="utf-8")


def wake(t: float, *ids: str, actor: str = "api", task: str = "request", lost: int = 0) -> dict[str, Any]:
    about = {"actor": actor, "task": task, "first_id": 17, "count": len(ids) + lost, "lost": lost}
    return {"t": t, "event": "wake", "took_s": 0.25, "ids": list(ids), **about}


def message(t: float, name: str, task: str = WAKE, redelivered: bool = False) -> dict[str, Any]:
    return {"t": t, "event": "message", "message": name, "task": task, "redelivered": redelivered}


def step(t: float, what: str, name: str) -> dict[str, Any]:
    return {"t": t, "event": f"message_{what}", "message": name}


def rows(told: Told) -> list[tuple[Any, ...]]:
    """Return number, worker, fate and when settled of each delivery."""
    columns = told.messages
    names = ("message", "worker", "fate", "settled_s")
    return list(zip(*(columns[name] for name in names), strict=True))


def test_a_wakeup_is_dated_by_when_its_sender_began_and_named_by_its_node(tmp_path: Path) -> None:
    written(tmp_path, "worker-1", wake(12.0, "c", actor="worker-1/3", task="batch"))
    written(tmp_path, "api", wake(11.0, "a", "b", lost=1))
    told = told_by(tmp_path, ack_early=True)
    assert told.wakeups == [(10.75, "api", "request", 17, 3, 1), (11.75, "worker-1", "batch", 17, 1, 0)]


def test_messages_are_numbered_in_the_order_of_sending(tmp_path: Path) -> None:
    written(tmp_path, "api", wake(1.0, "a", "b"), wake(2.0, "c"))
    lines = [message(3.0, "c"), message(3.1, "a"), step(3.2, "started", "c"), step(3.3, "started", "a")]
    written(tmp_path, "worker-1", *lines)
    assert [row[0] for row in rows(told_by(tmp_path, ack_early=True))] == [3, 1]


def test_early_a_message_is_over_when_it_is_begun_and_late_when_it_is_done(tmp_path: Path) -> None:
    written(tmp_path, "api", wake(1.0, "a"))
    written(tmp_path, "worker-1", message(2.0, "a"), step(3.0, "started", "a"), step(4.0, "done", "a"))
    assert rows(told_by(tmp_path, ack_early=True)) == [(1, "worker-1", "acked", 3.0)]
    assert rows(told_by(tmp_path, ack_early=False)) == [(1, "worker-1", "acked", 4.0)]


def test_what_its_worker_died_with_is_returned_when_another_gets_it_and_else_open(tmp_path: Path) -> None:
    written(tmp_path, "api", wake(1.0, "a", "b"))
    written(tmp_path, "worker-1", message(2.0, "a"), message(2.1, "b"), step(2.2, "started", "a"))
    again = [message(9.0, "a", redelivered=True), step(9.1, "started", "a"), step(9.2, "done", "a")]
    written(tmp_path, "worker-2", *again)
    told = told_by(tmp_path, ack_early=False)
    first, second, third = rows(told)
    assert first == (1, "worker-1", "returned", 9.0)
    assert second[:3] == (2, "worker-1", "open")
    assert math.isnan(second[3])
    assert third == (1, "worker-2", "acked", 9.2)
    assert told.messages["redelivered"] == [0, 0, 1]


def test_a_message_whose_sender_died_before_it_could_say_so_comes_after_all_others(tmp_path: Path) -> None:
    written(tmp_path, "api", wake(1.0, "a"))
    written(tmp_path, "worker-1", message(2.0, "unheard of"), message(3.0, "a"))
    assert [row[0] for row in rows(told_by(tmp_path, ack_early=True))] == [2, 1]


def test_ticks_and_their_worker_are_no_messages_of_the_queue(tmp_path: Path) -> None:
    written(tmp_path, "maintenance", message(2.0, "tick", task="retry_failed_events"), step(2.1, "started", "tick"))
    assert rows(told_by(tmp_path, ack_early=True)) == []


def test_of_calls_and_effects_the_first_counts(tmp_path: Path) -> None:
    call = {"event_id": 5, "attempt_no": 2, "n": 1}
    times = [(1.0, "call"), (2.0, "effect"), (3.0, "call"), (4.0, "effect")]
    written(tmp_path, "downstream", *({"t": t, "event": event, **call} for t, event in times))
    told = told_by(tmp_path, ack_early=True)
    assert (told.calls, told.effects) == ({(5, 2): 1.0}, {(5, 2): 2.0})


def test_a_torn_line_is_left_out(tmp_path: Path) -> None:
    written(tmp_path, "api", wake(1.0, "a"), torn='{"t": 2.0, "event": "wa')
    assert len(told_by(tmp_path, ack_early=True).wakeups) == 1


def test_work_of_the_database_and_failed_tasks_are_summed_over_all_processes(tmp_path: Path) -> None:
    def counted(what: str, n: int) -> dict[str, Any]:
        return {"t": 1.0, "event": "store_time", "what": what, "n": n, "total_s": 0.1, "durations_s": []}

    written(tmp_path, "api", counted("transaction", 3), counted("statement", 7), counted("commit", 3))
    written(tmp_path, "worker-1", counted("statement", 5), {"t": 1.0, "event": "task_failed", "task": "batch"})
    told = told_by(tmp_path, ack_early=True)
    assert (told.transactions, told.statements, told.failed_tasks) == (3, 12, 1)

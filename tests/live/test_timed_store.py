"""What a process logs of how long its database takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from live_systems import eventually

from tem_sim.live import timed_store
from tem_sim.live.logs import Log, lines
from tem_sim.live.timed_store import TimedStore
from tem_sim.pipeline.lifecycle import open_events
from tem_sim.pipeline.store import make_engine


def test_each_transaction_statement_and_commit_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timed_store, "TELL_EVERY_S", 0.1)
    store = TimedStore(make_engine(f"sqlite:///{tmp_path / 'tem.db'}"), Log(tmp_path / "log", "api"))
    store.create_tables()
    with store.begin() as connection:
        connection.exec_driver_sql("SELECT 1")
    open_events(store, 10)
    store.close()

    def total(name: str, what: str) -> float:
        return sum(line[name] for line in lines(tmp_path / "log") if line["what"] == what)

    assert eventually(lambda: total("n", "transaction") == total("n", "commit") == 2)
    assert eventually(lambda: total("n", "statement") > 2)
    told = list(lines(tmp_path / "log"))
    assert all(0 < line["total_s"] < 10 and len(line["durations_s"]) == line["n"] for line in told)
    assert total("total_s", "transaction") > total("total_s", "commit")

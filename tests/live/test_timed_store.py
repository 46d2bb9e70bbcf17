"""What a process logs of how long its database takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tem_sim.live import timed_store
from tem_sim.live.logs import Log, lines
from tem_sim.live.timed_store import TimedStore
from tem_sim.pipeline.lifecycle import open_events
from tem_sim.pipeline.store import make_engine


def test_each_transaction_statement_and_commit_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timed_store, "TELL_EVERY_S", 0.0)
    store = TimedStore(make_engine(f"sqlite:///{tmp_path / 'tem.db'}"), Log(tmp_path / "log", "api"))
    store.create_tables()
    with store.begin() as connection:
        connection.exec_driver_sql("SELECT 1")
    open_events(store, 10)
    store.close()
    told = list(lines(tmp_path / "log"))
    count = {what: sum(line["n"] for line in told if line["what"] == what) for what in ("transaction", "commit")}
    assert count == {"transaction": 2, "commit": 2}
    assert sum(line["what"] == "statement" for line in told) > 2
    assert all(0 < line["total_s"] < 10 and len(line["durations_s"]) == line["n"] for line in told)
    whole, last = ([line["total_s"] for line in told if line["what"] == what] for what in ("transaction", "commit"))
    assert all(all_of_it > its_end for all_of_it, its_end in zip(whole, last, strict=True))

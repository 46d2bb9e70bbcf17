"""The results file: ours or refused, whole or empty, one sweep at a time, and readable while one writes."""

import math
import sqlite3

import pytest
from tiny_sweep import ONE, tiny

from tem_sim.sweeps.results import FORMAT, SweepError, opened, reading
from tem_sim.sweeps.rows import HeldBySeed, RunRow
from tem_sim.sweeps.sweep import Sweep

ROW = RunRow(
    key="k",
    scenario_key="s",
    seed=3,
    verdict="PASS",
    seconds=0.1,
    end_s=1 / 3,
    digest="d",
    metrics={"attempts": 0.1 + 0.2, "drain_s": math.nan},
    checks={"liveness": "unknown"},
    thresholds=(HeldBySeed("drain_s", "max<3", "unknown", math.nan),),
    observed=b"\x00\xff",
)
BROKEN = RunRow(key="k", scenario_key="s", seed=3, verdict="BROKEN", seconds=0.2, error="E: x", traceback="T")


def same(a, b):
    """Whether two rows are equal, NaN to NaN."""
    return repr(a) == repr(b)


def test_a_row_is_read_as_it_was_written_to_the_last_bit(tmp_path):
    with opened(tmp_path / "a.db") as results:
        results.add(ROW, "engine")
        assert same(results.known(["s"], "engine"), {"k": ROW})
        assert results.known(["s"], "other") == results.known(["t"], "engine") == {}


def test_a_run_is_kept_as_it_was_first_but_a_failed_one_is_replaced(tmp_path):
    with opened(tmp_path / "a.db") as results:
        results.add(BROKEN, "e")
        results.add(ROW, "e")
        results.add(BROKEN, "e")
        assert same(results.known(["s"], "e"), {"k": ROW})
        assert results.count() == 1


def test_a_commit_is_on_the_disk_when_it_returns(tmp_path):
    with opened(tmp_path / "a.db") as results, results._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 3


def test_two_sweeps_do_not_write_to_one_file(tmp_path):
    file = tmp_path / "a.db"
    with opened(file), pytest.raises(SweepError, match="another sweep is writing to it"), opened(file):
        pass
    with opened(file):
        pass


def test_a_file_can_be_looked_at_while_a_sweep_writes_to_it(tmp_path):
    tiny(tmp_path, text=ONE, out=tmp_path / "a.db")
    with opened(tmp_path / "a.db") as results:
        results.add(ROW, "e")
        assert len(Sweep.load(tmp_path / "a.db").rows) == 2


def test_an_empty_file_is_one_that_was_killed_at_birth(tmp_path):
    file = tmp_path / "a.db"
    file.touch()
    found = tiny(tmp_path, "seeds=1", text=ONE, out=file, resume=True)
    assert len(found.rows) == 1


def test_a_file_that_no_sweep_was_put_into_says_so(tmp_path):
    with opened(tmp_path / "a.db"):
        pass
    with pytest.raises(SweepError, match="was left before its sweep began; --resume begins it"):
        Sweep.load(tmp_path / "a.db")


@pytest.mark.parametrize("force", [True, False])
def test_other_files_are_not_touched(tmp_path, force):
    text, database, newer = tmp_path / "a.txt", tmp_path / "b.db", tmp_path / "c.db"
    text.write_text("precious " * 1000)
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE precious (x)")
    with opened(newer):
        pass
    with sqlite3.connect(newer) as connection:
        connection.execute(f"PRAGMA user_version={FORMAT + 1}")
    before = [file.read_bytes() for file in (text, database, newer)]
    reasons = ["cannot be used as a results file", "is not a results file", f"has format {FORMAT + 1}"]
    for file, reason in zip((text, database, newer), reasons, strict=True):
        with pytest.raises(SweepError, match=reason):
            tiny(tmp_path, "seeds=1", text=ONE, out=file, resume=not force, force=force)
        with pytest.raises(SweepError), reading(file):
            pass
    assert [file.read_bytes() for file in (text, database, newer)] == before


def test_a_file_that_is_not_there_is_not_made_by_looking_for_it(tmp_path):
    with pytest.raises(SweepError, match="there is no such results file"):
        Sweep.load(tmp_path / "a.db")
    assert list(tmp_path.iterdir()) == []

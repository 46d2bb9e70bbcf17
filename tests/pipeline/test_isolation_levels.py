"""What transactions see of each other at each isolation level, on the stores themselves, and what the loser does."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from tem_sim.pipeline.conflicts import TRIES, is_conflict, rerun_on_conflict
from tem_sim.pipeline.isolation_level import IsolationLevel
from tem_sim.pipeline.store import make_engine

READ = text("SELECT n FROM counter")
ADD = text("UPDATE counter SET n = n + 1")
SET = text("UPDATE counter SET n = :n")


@pytest.fixture(params=["file", pytest.param("postgresql", marks=pytest.mark.server)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "file":
        return f"sqlite:///{tmp_path}/counter.db?timeout=0"
    made: str = request.getfixturevalue("postgresql_url")
    return made


@pytest.fixture
def two(request: pytest.FixtureRequest, url: str) -> Iterator[tuple[Connection, Connection]]:
    """Two connections at the level that the test asks for, and a counter at 0."""
    engine = make_engine(url, poolclass=NullPool, isolation=request.param)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE counter (n INTEGER)"))
        connection.execute(text("INSERT INTO counter VALUES (0)"))
    with engine.connect() as first, engine.connect() as second:
        yield first, second
    engine.dispose()


def at(level: IsolationLevel) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("two", [level], indirect=True, ids=[level.value])


def commit_one(connection: Connection) -> None:
    connection.execute(ADD)
    connection.commit()


@at(IsolationLevel.READ_COMMITTED)
def test_read_committed_sees_what_others_commit_meanwhile_and_overwrites_it(two: tuple[Connection, Connection]) -> None:
    ours, theirs = two
    seen = ours.execute(READ).scalar_one()
    commit_one(theirs)
    assert ours.execute(READ).scalar_one() == 1
    ours.execute(SET, {"n": seen + 1})
    ours.commit()
    assert ours.execute(READ).scalar_one() == 1  # Two were added: the lost update that every guard is there for.


@at(IsolationLevel.SNAPSHOT)
def test_a_snapshot_stays_as_it_was_and_cannot_overwrite_what_it_does_not_see(
    two: tuple[Connection, Connection],
) -> None:
    ours, theirs = two
    ours.execute(READ)
    commit_one(theirs)
    assert ours.execute(READ).scalar_one() == 0
    with pytest.raises(OperationalError) as refused:
        ours.execute(SET, {"n": 1})
    assert is_conflict(refused.value)


def test_serializable_transactions_that_read_what_the_other_writes_do_not_both_commit(url: str) -> None:
    engine = make_engine(url, poolclass=NullPool, isolation=IsolationLevel.SERIALIZABLE)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE counter (id INTEGER PRIMARY KEY, n INTEGER)"))
        connection.execute(text("INSERT INTO counter VALUES (1, 0), (2, 0)"))
    # Write skew: each adds up both and writes its own, which a snapshot would let pass.
    total, write = text("SELECT sum(n) FROM counter"), text("UPDATE counter SET n = n + 1 WHERE id = :id")

    def both() -> None:
        with engine.connect() as ours, engine.connect() as theirs:
            for connection, number in ((ours, 1), (theirs, 2)):
                connection.execute(total)
                connection.execute(write, {"id": number})
            ours.commit()
            theirs.commit()

    with pytest.raises(OperationalError):
        both()
    engine.dispose()


def failing(times: int, *, code: int) -> tuple[list[int], OperationalError]:
    cause = sqlite3.OperationalError("database is locked")
    cause.sqlite_errorcode = code
    return [0] * times, OperationalError("UPDATE", {}, cause)


@pytest.mark.parametrize("times", range(TRIES))
def test_a_transaction_that_loses_is_run_again_and_its_last_try_counts(times: int) -> None:
    losses, conflict = failing(times, code=517)

    @rerun_on_conflict
    def transaction(n: int) -> int:
        if losses:
            losses.pop()
            raise conflict
        return n + 1

    assert transaction(1) == 2


def test_a_conflict_that_does_not_end_is_left_to_the_caller() -> None:
    tries = 0

    @rerun_on_conflict
    def transaction() -> None:
        nonlocal tries
        tries += 1
        raise failing(1, code=517)[1]

    with pytest.raises(OperationalError):
        transaction()
    assert tries == TRIES


def test_a_lock_that_was_waited_for_in_vain_is_no_conflict() -> None:
    tries = 0

    @rerun_on_conflict
    def transaction() -> None:
        nonlocal tries
        tries += 1
        raise failing(1, code=5)[1]

    with pytest.raises(OperationalError):
        transaction()
    assert tries == 1

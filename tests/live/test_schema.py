"""Migrated stores are what `open_store` makes; tables that are not are never taken over."""

import multiprocessing
import re
from importlib.resources import files
from urllib.parse import unquote_plus

import pytest
from alembic import command
from pipeline_ledger import NO_RETRIES, bring_to, claim, ended, finish, moves, rows, statuses, submit
from sqlalchemy import create_mock_engine, inspect, make_url, text
from sqlalchemy.exc import IntegrityError

from tem_sim.live import schema
from tem_sim.live.schema import VERSION_TABLE, migrate, own_schema, revert
from tem_sim.live.schema_shape import differences, intended, shape
from tem_sim.pipeline import claims
from tem_sim.pipeline.settings import ClaimOrder, Settings
from tem_sim.pipeline.states import State
from tem_sim.pipeline.store import Store, StoreError, make_engine, open_store
from tem_sim.pipeline.tables import metadata


@pytest.fixture
def migrated(shared_url):
    """Open a store whose tables the migrations made, and nobody else."""
    migrate(shared_url)
    store = Store(make_engine(shared_url))
    yield store
    store.close()


def revisions(url):
    store = Store(make_engine(url))
    with store.begin() as connection:
        found = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalars().all()
    store.close()
    return found


def tables(url):
    engine = make_engine(url)
    names = set(inspect(engine).get_table_names())
    engine.dispose()
    return names


# --- the schema


def test_a_migrated_store_is_what_open_store_makes_so_a_change_of_the_tables_needs_a_revision(migrated):
    with migrated.begin() as connection:
        assert differences(shape(connection), intended(connection)) == []
        assert len(shape(connection)) > 80


def test_alembic_finds_nothing_to_migrate_either(migrated):
    with schema._alone(migrated.engine.url.render_as_string(hide_password=False)) as connection:
        command.check(schema._config(connection))


def test_what_is_intended_is_asked_without_a_trace(shared_url):
    engine = make_engine(shared_url)
    with engine.begin() as connection:
        intended(connection)
    assert tables(shared_url) == set()
    # Others make schemas of their own at the same time.
    assert "tem_sim_as_intended" not in inspect(engine).get_schema_names()
    engine.dispose()


def test_the_revisions_and_their_template_are_part_of_the_package():
    here = files("tem_sim.live") / "migrations"
    assert (here / "script.py.mako").is_file()
    assert sorted(file.name for file in (here / "versions").iterdir() if file.name.endswith(".py")) == [
        "0001_tables.py",
        "0002_api_indexes.py",
    ]


# --- a migrated store at work


def test_a_migrated_store_logs_each_move(migrated):
    submit(migrated, 1)
    (claimed,) = claim(migrated)
    finish(migrated, [ended(claimed)])
    assert [move.after for move in moves(migrated)] == ["QUEUED", "PROCESSING", "PROCESSED"]


def test_a_migrated_store_refuses_an_illegal_edge_and_an_illegal_row(migrated):
    bring_to(migrated, State.PROCESSED)
    for change in ("status = 'QUEUED', finished_at = NULL, cause = 'retry'", "finished_at = NULL"):
        with pytest.raises(IntegrityError), migrated.begin() as connection:
            connection.exec_driver_sql(f"UPDATE processing_state SET {change}")
    assert statuses(migrated) == ["PROCESSED"]


def test_a_file_is_in_wal_mode(tmp_path):
    migrate(f"sqlite:///{tmp_path}/a.db")
    # Whoever opens it afterwards finds it so.
    engine = make_engine(f"sqlite:///{tmp_path}/a.db")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    assert (tmp_path / "a.db").read_bytes()[18:20] == b"\x02\x02"
    engine.dispose()


# --- again, back, and together


def test_migrating_again_changes_nothing_and_data_survive(migrated, shared_url):
    bring_to(migrated, State.FAILED)
    before = rows(migrated), moves(migrated)
    migrate(shared_url)
    assert (rows(migrated), moves(migrated)) == before
    assert revisions(shared_url) == ["0002"]


def test_down_to_nothing_and_up_again(shared_url):
    migrate(shared_url)
    revert(shared_url)
    assert tables(shared_url) == {VERSION_TABLE}
    migrate(shared_url)
    store = Store(make_engine(shared_url))
    bring_to(store, State.EXTINCT)
    with store.begin() as connection:
        assert differences(shape(connection), intended(connection)) == []
    store.close()


def test_processes_that_start_together_migrate_once(shared_url):
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(3)
    processes = [context.Process(target=migrate_at_once, args=(shared_url, ready)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert revisions(shared_url) == ["0002"]


def migrate_at_once(url, ready):
    ready.wait(90)
    migrate(url)


def test_a_migration_that_fails_leaves_nothing(shared_url, monkeypatch):
    def fail(_connection):
        raise StoreError("store: enough")

    monkeypatch.setattr(schema, "_refuse_holes", fail)
    with pytest.raises(StoreError, match="enough"):
        migrate(shared_url)
    assert tables(shared_url) == set()


# --- stores that were there before


# What other tests have left to the garbage collector says nothing of this one, whenever it is collected.
@pytest.mark.filterwarnings("error", "default::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("order", [ClaimOrder.OLDEST_FIRST, ClaimOrder.NEW_FIRST])
def test_a_store_that_open_store_made_is_adopted_with_what_it_holds(shared_url, order):
    store = open_store(shared_url)
    claims.prepare(store, Settings(policy=NO_RETRIES.policy, claim_order=order))
    bring_to(store, State.EXTINCT)
    migrate(shared_url)
    assert revisions(shared_url) == ["0002"]
    assert statuses(store) == ["EXTINCT"]
    with schema._alone(shared_url) as connection:
        command.check(schema._config(connection))
    store.close()


ODD = [
    ("last_error TEXT", "last_error BIGINT", "processing_state: column last_error is another"),
    ("kind TEXT NOT NULL", "kind TEXT", "event: column kind is another"),
    ("crash_count INTEGER DEFAULT '0'", "crash_count INTEGER DEFAULT '3'", "column crash_count is another"),
    ("CONSTRAINT one_bucket CHECK (id = 1 AND tokens >= 0)", "CHECK (id = 1)", "CHECK one_bucket is missing"),
    ("after = 'EXTINCT'", "after = 'QUEUED'", "transition: CHECK legal_edge is another"),
    ("WHERE published_at IS NULL", "", "notification: index notification_unpublished is another"),
    ("(queued_at, event_id)", "(event_id, queued_at)", "index processing_state_queued is another"),
    ("NEW.changed_by", "'nobody'", "processing_state: trigger processing_state_log_insert is another"),
    (", \n\tUNIQUE (dedupe_key)", "", "notification: UNIQUE dedupe_key is missing"),
    ("state TEXT NOT NULL", "state TEXT NOT NULL, more TEXT", "circuit: column more is too much"),
]


@pytest.mark.parametrize(("before", "after", "told"), ODD, ids=[told for _, _, told in ODD])
def test_tables_that_differ_in_one_thing_are_refused_and_left_alone(shared_url, before, after, told):
    engine = make_engine(shared_url)
    statements = []
    mock = create_mock_engine(make_url(shared_url), lambda made, *_: statements.append(str(made.compile(engine))))
    metadata.create_all(mock, checkfirst=False)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement.replace(before, after))
    assert any(before in statement for statement in statements)
    with pytest.raises(StoreError, match=r"^store: it has tables .* give another store") as refused:
        migrate(shared_url)
    assert told in str(refused.value)
    assert VERSION_TABLE not in tables(shared_url)
    engine.dispose()


def test_one_table_of_another_application_is_refused(shared_url):
    engine = make_engine(shared_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE event (id INTEGER, name TEXT)")
    with pytest.raises(
        StoreError, match=r"attempt: CHECK outcome_known is missing, .* and \d+ more; give another store"
    ):
        migrate(shared_url)
    assert tables(shared_url) == {"event"}
    engine.dispose()


def test_other_tables_of_the_database_are_none_of_its_business(shared_url):
    engine = make_engine(shared_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num TEXT)")
        connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('theirs')")
    migrate(shared_url)
    with engine.begin() as connection:
        assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars().all() == ["theirs"]
    with schema._alone(shared_url) as connection:
        command.check(schema._config(connection))
    engine.dispose()


def test_a_store_of_a_newer_version_is_refused(migrated, shared_url):
    with migrated.begin() as connection:
        connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '0099'")
    with pytest.raises(StoreError, match=r"got 0099 \(newest here 0002\); upgrade tem-sim, or give another store"):
        migrate(shared_url)


def test_a_store_that_lost_a_table_is_refused(migrated, shared_url):
    with migrated.begin() as connection:
        connection.exec_driver_sql("DROP TABLE circuit")
    with pytest.raises(StoreError, match="tables are missing though its revision has them: circuit"):
        migrate(shared_url)


# --- stores that there are not


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_store_in_memory_is_refused(url):
    with pytest.raises(StoreError, match="several processes share it, so it must be a file or a server"):
        migrate(url)


def test_a_server_that_does_not_answer_and_a_file_that_is_none_are_told(tmp_path):
    (tmp_path / "text.db").write_text("This is no database, however long one looks at it. " * 200)
    with pytest.raises(StoreError, match="store: cannot use"):
        migrate(f"sqlite:///{tmp_path}/text.db")
    with pytest.raises(StoreError, match="unable to open database file"):
        migrate(f"sqlite:///{tmp_path}/nowhere/a.db")
    with pytest.raises(StoreError, match="store: cannot use") as refused:
        migrate("postgresql+psycopg://someone:hush@127.0.0.1:9/none?connect_timeout=2")
    assert "hush" not in str(refused.value)


# --- a run's own


def test_a_run_has_a_place_of_its_own_which_is_gone_afterwards(shared_url, tmp_path):
    is_server = shared_url.startswith("postgresql")
    with own_schema(shared_url if is_server else "sqlite://", tmp_path) as inside:
        store = Store(make_engine(inside))
        bring_to(store, State.PROCESSED)
        store.close()
        assert revisions(inside) == ["0002"]
        assert is_server or inside == f"sqlite:///{tmp_path}/store.db"
    assert not is_server or tables(shared_url) == set()


def test_a_file_that_is_named_is_kept_and_never_used_twice(tmp_path):
    url = f"sqlite:///{tmp_path}/mine.db"
    with own_schema(url, tmp_path) as inside:
        assert inside == url
    assert "event" in tables(url)
    with (
        pytest.raises(StoreError, match="holds a pipeline's tables already; give a new file"),
        own_schema(url, tmp_path),
    ):
        pass


@pytest.mark.server
def test_what_goes_wrong_in_the_block_comes_out_as_it_is_and_the_schema_is_gone(postgresql_url, tmp_path):
    engine = make_engine(postgresql_url)
    with pytest.raises(IntegrityError), own_schema(postgresql_url, tmp_path) as inside:
        break_the_rules(inside)
    (schema,) = re.findall(r"search_path=(tem_sim_[0-9a-f]+)", unquote_plus(inside))
    assert schema not in inspect(engine).get_schema_names()
    engine.dispose()


def break_the_rules(url):
    store = Store(make_engine(url))
    submit(store, 1)
    try:
        with store.begin() as connection:
            connection.exec_driver_sql("UPDATE processing_state SET status = 'PROCESSED'")
    finally:
        store.close()

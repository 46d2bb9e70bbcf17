"""Opening a store: as often as one likes, by as many as come at once, and with a word of help when it can't be."""

import threading

import pytest
from pipeline_ledger import moves, statuses, submit
from sqlalchemy import inspect, make_url, text
from sqlalchemy.exc import OperationalError

from tem_sim.pipeline.store import StoreError, make_engine, open_store, own_schema


def test_a_store_opened_again_holds_what_it_held_and_logs_each_move_once(shared_url):
    first = open_store(shared_url)
    submit(first, 1)
    first.close()
    again = open_store(shared_url)
    submit(again, 2)
    assert statuses(again) == ["QUEUED", "QUEUED"]
    assert len(moves(again, 2)) == 1
    again.close()


def test_processes_that_start_together_open_one_store(shared_url):
    errors, ready = [], threading.Barrier(4)

    def start():
        ready.wait(60)
        try:
            open_store(shared_url).close()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    store = open_store(shared_url)
    submit(store, 1)
    assert len(moves(store)) == 1
    store.close()


def test_two_stores_in_memory_know_nothing_of_each_other():
    first, second = open_store(), open_store("sqlite://")
    submit(first, 1)
    assert statuses(second) == []


def test_a_writer_waits_for_its_turn_on_sqlite_much_longer_than_any_transaction_takes(tmp_path):
    with make_engine(f"sqlite:///{tmp_path}/a.db").connect() as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 30_000
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_the_url_may_say_how_long_a_writer_waits(tmp_path):
    with make_engine(f"sqlite:///{tmp_path}/a.db?timeout=2").connect() as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 2000


@pytest.mark.parametrize("url", ["nonsense", "mysql://x/y", "nosuch://", "", "postgresql://host:port/name"])
def test_a_url_that_is_no_store_is_refused_with_the_forms_that_are(url):
    with pytest.raises(StoreError, match="sqlite://"):
        open_store(url)


@pytest.mark.server
def test_a_connection_that_the_server_killed_is_replaced_before_the_next_transaction(postgresql_url, postgresql_server):
    patient, naive = (make_engine(postgresql_url, pre_ping=pre_ping) for pre_ping in (True, False))
    for engine in (patient, naive):
        with engine.connect() as connection:
            pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        with postgresql_server.begin() as connection:
            # Returns once it is gone.
            assert connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid}).scalar_one()
    with patient.begin() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1
    with pytest.raises(OperationalError), naive.begin() as connection:
        connection.exec_driver_sql("SELECT 1")
    patient.dispose()
    naive.dispose()


@pytest.mark.server
@pytest.mark.parametrize(("query", "called"), [("", "worker-1"), ("&application_name=mine", "mine")])
def test_the_server_knows_the_application_unless_the_url_names_another(postgresql_url, query, called):
    engine = make_engine(postgresql_url + query, application="worker-1")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW application_name").scalar_one() == called
    engine.dispose()


@pytest.mark.server
def test_an_own_schema_keeps_the_options_of_its_url_and_is_gone_afterwards_with_all_that_is_in_it(postgresql_url):
    with own_schema(make_url(postgresql_url), "-csynchronous_commit=off") as inside:
        store = open_store(inside.render_as_string(hide_password=False))
        submit(store, 1)
        with store.begin() as connection:
            schema = connection.exec_driver_sql("SELECT current_schema()").scalar_one()
            assert connection.exec_driver_sql("SHOW lock_timeout").scalar_one() == "10s"
        store.close()
    outside = make_engine(postgresql_url)
    with outside.connect() as connection:
        assert schema not in inspect(connection).get_schema_names()
        assert inspect(connection).get_table_names() == []
    outside.dispose()

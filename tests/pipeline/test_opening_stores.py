"""Opening a store: as often as one likes, by as many as come at once, and with a word of help when it can't be."""

import threading

import pytest
from pipeline_ledger import moves, statuses, submit

from tem_sim.pipeline.store import StoreError, make_engine, open_store


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
        ready.wait(10)
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


@pytest.mark.parametrize("url", ["nonsense", "mysql://x/y", "nosuch://", ""])
def test_a_url_that_is_no_store_is_refused_with_the_forms_that_are(url):
    with pytest.raises(StoreError, match="sqlite://"):
        open_store(url)

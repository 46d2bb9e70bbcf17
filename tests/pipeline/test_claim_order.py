"""Which rows a claim takes first, that this costs no more the longer the queue is, and who starves of it."""

from dataclasses import replace

import pytest
from pipeline_ledger import SETTINGS, claim, ended, finish, row, submit
from sqlalchemy import text

from tem_sim.pipeline import claims, lifecycle
from tem_sim.pipeline.settings import ClaimOrder
from tem_sim.pipeline.store import open_store

IN = {order: replace(SETTINGS, claim_order=order, batch_size=2) for order in ClaimOrder}


def a_mixed_queue(store):
    """Events 1 and 2 have failed and wait again since t = 20; 3 and 4 are new and came at 10 and at 30."""
    submit(store, 2, 1, now=0.0)
    finish(store, [ended(event, "boom", at=1.0) for event in claim(store, now=1.0)])
    submit(store, 3, now=10.0)
    lifecycle.requeue_due(store, SETTINGS, now=20.0, actor="beat")
    submit(store, 4, now=30.0)


@pytest.mark.parametrize(
    ("order", "batches"),
    [
        (ClaimOrder.OLDEST_FIRST, [[3, 1], [2, 4]]),
        (ClaimOrder.NEW_FIRST, [[3, 4], [1, 2]]),
        (ClaimOrder.NEWEST_FIRST, [[4, 2], [1, 3]]),
    ],
)
@pytest.mark.parametrize("prepared", [True, False])
def test_each_order_claims_and_hands_over_in_its_own(store, order, batches, prepared):
    if prepared:
        claims.prepare(store, IN[order])
    a_mixed_queue(store)
    claimed = [[event.event_id for event in claim(store, now=31.0, settings=IN[order])] for _ in range(3)]
    assert claimed == [*batches, []]


def test_an_event_whose_worker_died_has_not_failed_and_counts_as_new(store):
    submit(store, 1, now=0.0)
    claim(store, now=0.0)
    lifecycle.rescue_expired(store, SETTINGS, now=60.0, actor="beat")
    submit(store, 2, now=100.0)
    assert [event.event_id for event in claim(store, now=101.0, settings=IN[ClaimOrder.NEW_FIRST])] == [1, 2]


def test_new_work_that_keeps_coming_starves_a_retry_and_only_under_new_first(store):
    def waits_s(order, first_id):
        """Return how long a retry waits while each claim of two finds two new events."""
        submit(store, first_id, now=0.0)
        finish(store, [ended(event, "boom", at=0.0) for event in claim(store, now=0.0)], now=0.0)
        lifecycle.requeue_due(store, SETTINGS, now=10.0, actor="beat")
        for n in range(1, 50):
            submit(store, first_id + 2 * n - 1, first_id + 2 * n, now=10.0 + n)
            batch = claim(store, now=10.0 + n, settings=IN[order])
            finish(store, [ended(event, at=10.0 + n) for event in batch], now=10.0 + n)
            if row(store, first_id)["status"] == "PROCESSED":
                break
        while batch := claim(store, now=100.0):
            finish(store, [ended(event) for event in batch])
        return n

    assert waits_s(ClaimOrder.OLDEST_FIRST, 1) == 1
    assert waits_s(ClaimOrder.NEW_FIRST, 1000) == 49


@pytest.mark.parametrize("order", ClaimOrder, ids=lambda order: order.value)
def test_picking_reads_the_queue_in_order_from_an_index_and_sorts_nothing(order):
    store = open_store()
    claims.prepare(store, IN[order])
    with store.begin() as connection:
        claiming = claims._CLAIM[order]["sqlite"].compile(store.engine)
        nothing = (None,) * len(claiming.positiontup)
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {claiming}", nothing).all()
    steps = " / ".join(step.detail for step in plan)
    index = "processing_state_new_first" if order is ClaimOrder.NEW_FIRST else "processing_state_queued"
    assert index in steps
    assert "TEMP B-TREE" not in steps
    store.close()


def test_the_default_order_makes_no_further_index(store):
    claims.prepare(store, SETTINGS)
    wanted = {"sqlite": "SELECT name FROM sqlite_master", "postgresql": "SELECT indexname AS name FROM pg_indexes"}
    with store.begin() as connection:
        names = {found.name for found in connection.execute(text(wanted[store.dialect]))}
    assert "processing_state_new_first" not in names

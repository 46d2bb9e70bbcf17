"""A planner that runs a subquery again for each row ignores its LIMIT; the pipeline's statements leave it no way to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from pipeline_ledger import SETTINGS, claim, ended, finish, statuses, submit
from sqlalchemy import make_url, text

from tem_sim.pipeline import lifecycle
from tem_sim.pipeline.store import Store, open_store

pytestmark = pytest.mark.server

# What makes a nested loop over the whole table, with the subquery inside, look cheap.
DEAR = ("hashjoin", "mergejoin", "hashagg", "sort", "material", "seqscan", "bitmapscan")
NAIVE = text(
    "UPDATE processing_state SET version = version + 1 WHERE event_id IN ("
    "SELECT event_id FROM processing_state WHERE status = 'QUEUED' ORDER BY queued_at, event_id LIMIT 3 "
    "FOR UPDATE SKIP LOCKED)"
)
THREE = replace(SETTINGS, batch_size=3, requeue_limit=3)


@pytest.fixture
def misled(postgresql_url: str) -> Iterator[Store]:
    """Open a store whose planner prefers that plan, with 20 events in the queue."""
    url = make_url(postgresql_url)
    options = url.query["options"] + "".join(f" -cenable_{way}=off" for way in DEAR)
    opened = open_store(url.update_query_dict({"options": options}).render_as_string(hide_password=False))
    submit(opened, *range(1, 21))
    yield opened
    opened.close()


def test_a_limit_in_a_subquery_is_ignored_on_this_plan(misled: Store) -> None:
    with misled.engine.connect() as connection:
        plan = "\n".join(connection.execute(text(f"EXPLAIN {NAIVE.text}")).scalars())
        assert "Nested Loop Semi Join" in plan
        assert connection.execute(NAIVE).rowcount == 20


def test_a_claim_takes_its_batch_and_no_more(misled: Store) -> None:
    assert [event.event_id for event in claim(misled, settings=THREE)] == [1, 2, 3]


def test_a_tick_requeues_its_limit_and_no_more(misled: Store) -> None:
    claimed = claim(misled, settings=replace(SETTINGS, batch_size=20))
    finish(misled, [ended(event, "down") for event in claimed])
    assert lifecycle.requeue_due(misled, THREE, now=1000.0, actor="beat") == 3
    assert statuses(misled).count("QUEUED") == 3

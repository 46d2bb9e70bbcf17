"""The store keeps the rules by itself: an operator's raw UPDATE can neither break them nor move an event unseen."""

import itertools

import pytest
from pipeline_ledger import SETTINGS, bring_to, claim, ended, finish, moves, row, rows, submit
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from tem_sim.pipeline import lifecycle
from tem_sim.pipeline.states import CAUSES, LEGAL_EDGES, Cause, State
from tem_sim.pipeline.tables import attempt, event_table, processing_state, transition

# A file keeps no other rules than memory.
pytestmark = pytest.mark.parametrize(
    "store", ["memory", pytest.param("postgresql", marks=pytest.mark.server)], indirect=True
)

# The columns that belong to each state; the others are NULL in it.
OF_STATE = {
    State.QUEUED: {},
    State.PROCESSING: {"lease_owner": "op", "lease_expires_at": 9.0},
    State.PROCESSED: {"finished_at": 9.0},
    State.FAILED: {"next_retry_at": 9.0},
    State.EXTINCT: {"finished_at": 9.0},
}
NOTHING_SET = dict.fromkeys(("lease_owner", "lease_expires_at", "finished_at", "next_retry_at"))
PAIRS = [(before, after) for before, after in itertools.product(State, State) if before is not after]
ILLEGAL = [pair for pair in PAIRS if pair not in LEGAL_EDGES]
LEGAL = [(before, after, cause) for before, after in PAIRS for cause in sorted(CAUSES.get((before, after), ()))]


def shaped(state: State) -> dict[str, object]:
    return {**NOTHING_SET, **OF_STATE[state], "status": state.value}


def force(store, **values):
    """Write to event 1's row as an operator would, around every function of the pipeline."""
    with store.begin() as connection:
        connection.execute(update(processing_state).where(processing_state.c.event_id == 1).values(**values))


@pytest.mark.parametrize(("before", "after"), ILLEGAL, ids=lambda state: state.value)
def test_an_illegal_edge_is_refused_whatever_cause_is_given(store, before, after):
    bring_to(store, before)
    was, log = row(store), moves(store)
    for cause in Cause:
        with pytest.raises(IntegrityError):
            force(store, cause=cause.value, changed_by="operator", **shaped(after))
    assert (row(store), moves(store)) == (was, log)


@pytest.mark.parametrize(("before", "after", "cause"), LEGAL, ids=lambda part: part.value)
def test_a_legal_edge_by_hand_is_logged_once_with_its_actor(store, before, after, cause):
    bring_to(store, before)
    log = moves(store)
    force(store, cause=cause.value, changed_by="operator", changed_at=77.5, **shaped(after))
    assert moves(store) == [*log, (before, after, cause, "operator")]
    assert rows(store, transition)[-1]["at"] == 77.5


@pytest.mark.parametrize(("before", "after", "cause"), LEGAL, ids=lambda part: part.value)
def test_a_legal_edge_with_another_edges_cause_is_refused(store, before, after, cause):
    bring_to(store, before)
    for wrong in set(Cause) - CAUSES[before, after]:
        with pytest.raises(IntegrityError):
            force(store, cause=wrong.value, **shaped(after))
    assert row(store)["status"] == before


def test_a_status_changed_by_a_bare_update_is_refused_since_its_cause_is_another_edges(store):
    bring_to(store, State.FAILED)
    with pytest.raises(IntegrityError):
        force(store, status="QUEUED", next_retry_at=None)


def execute(store, *statements):
    with store.begin() as connection:
        for statement in statements:
            connection.execute(statement)


def born(state: State):
    """Return the INSERT of a state row for event 1, as if it came into the world in this state."""
    times = dict.fromkeys(("queued_at", "woken_at", "life_began_at", "changed_at"), 0.0)
    return insert(processing_state).values(event_id=1, cause="submit", changed_by="operator", **times, **shaped(state))


@pytest.mark.parametrize("state", [state for state in State if state is not State.QUEUED], ids=lambda s: s.value)
def test_an_event_can_only_be_born_queued(store, state):
    event = {"id": 1, "idempotency_key": "k", "user_id": 1, "kind": "n", "payload": None, "created_at": 0.0}
    with pytest.raises(IntegrityError, match="legal_edge"):
        execute(store, insert(event_table).values(**event), born(state))


@pytest.mark.parametrize("column", sorted(NOTHING_SET))
@pytest.mark.parametrize("state", State, ids=lambda state: state.value)
def test_a_row_has_the_columns_of_its_state_and_no_others(store, state, column):
    bring_to(store, state)
    value = None if column in OF_STATE[state] else "someone" if column == "lease_owner" else 5.0
    with pytest.raises(IntegrityError, match="shape"):
        force(store, **{column: value})


@pytest.mark.parametrize("column", ["retry_count", "crash_count", "attempt_no"])
def test_no_count_is_ever_negative(store, column):
    submit(store, 1)
    with pytest.raises(IntegrityError, match="counts_positive"):
        force(store, **{column: -1})


def test_an_unknown_status_is_refused(store):
    submit(store, 1)
    with pytest.raises(IntegrityError):
        force(store, status="RETRY", cause="retry")


def test_an_attempt_ends_in_a_known_way(store):
    submit(store, 1)
    values = {"event_id": 1, "attempt_no": 1, "worker": "w", "finished_at": 0.0, "outcome": "fine"}
    with pytest.raises(IntegrityError, match="outcome_known"):
        execute(store, insert(attempt).values(**values))


def test_a_state_belongs_to_an_event_that_exists(store):
    with pytest.raises(IntegrityError, match=r"(?i)foreign key"):
        execute(store, born(State.QUEUED))


def test_an_update_that_leaves_the_status_leaves_no_transition(store):
    bring_to(store, State.FAILED)
    log = moves(store)
    force(store, status="FAILED", last_error="seen by an operator", cause="error")
    assert moves(store) == log


def test_each_change_of_status_is_exactly_one_row_of_the_log_with_the_counts_of_then(store):
    submit(store, 1)
    finish(store, [ended(claim(store, now=1.0)[0], "boom", at=2.0)], now=2.0)
    lifecycle.requeue_due(store, SETTINGS, now=12.0, actor="beat")
    finish(store, [ended(claim(store, "bob", now=13.0)[0], at=14.0)], worker="bob", now=14.0)
    with store.begin() as connection:
        c = transition.c
        log = connection.execute(select(c.after, c.at, c.actor, c.attempt_no, c.retry_count).order_by(c.seq)).all()
    assert [tuple(entry) for entry in log] == [
        ("QUEUED", 0.0, "api", 0, 0),
        ("PROCESSING", 1.0, "ann", 1, 0),
        ("FAILED", 2.0, "ann", 1, 1),
        ("QUEUED", 12.0, "beat", 1, 1),
        ("PROCESSING", 13.0, "bob", 2, 1),
        ("PROCESSED", 14.0, "bob", 2, 1),
    ]


def test_a_refused_edge_takes_the_whole_transaction_with_it(store):
    submit(store, 1, 2)
    event_id = processing_state.c.event_id
    legal = update(processing_state).where(event_id == 1).values(cause="claim", **shaped(State.PROCESSING))
    illegal = update(processing_state).where(event_id == 2).values(cause="ok", **shaped(State.PROCESSED))
    with pytest.raises(IntegrityError):
        execute(store, legal, illegal)
    assert [row["status"] for row in rows(store)] == ["QUEUED", "QUEUED"]
    assert len(rows(store, transition)) == 2

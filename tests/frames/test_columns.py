"""The columns are a contract with everyone who reads a saved run."""

import pandas as pd
import pytest
from frame_builder import story

from tem_sim import simulate
from tem_sim.frames import OUTCOMES, SCHEMAS, STATES, FrameError, conform, empty
from tem_sim.scenario.loader import loads

FROZEN = {
    "events": "event_id:int64 user_id:int64 kind:category submitted_s:float64 status:category "
    "retry_count:int32 crash_count:int32 attempt_no:int32 replay_count:int32 next_retry_s:float64 "
    "finished_s:float64 last_error:category",
    "attempts": "event_id:int64 attempt_no:int32 worker:category claimed_s:float64 started_s:float64 "
    "finished_s:float64 outcome:category error:category delay_s:float64 effect_s:float64",
    "transitions": "seq:int64 event_id:int64 at_s:float64 before:category after:category cause:category "
    "actor:category attempt_no:int32 retry_count:int32",
    "notifications": "event_id:int64 user_id:int64 dedupe_key:str created_s:float64 published_s:float64 "
    "acked_s:float64 delivered_s:float64 shown:int32 received:int32",
    "samples": "t_s:float64 name:category value:float64",
    "wakeups": "t_s:float64 actor:category task:category first_id:int64 sent:int32 lost:int32",
    "messages": "delivered_s:float64 message:int64 worker:category redelivered:int32 started_s:float64 "
    "finished_s:float64 settled_s:float64 fate:category",
    "faults": "fault_id:int32 kind:category target:category start_s:float64 end_s:float64 landed:int32 "
    "detail:str shade:str",
    "steps": "step:int64 t_s:float64 clock_s:float64 actor:category thread:category kind:category label:category "
    "sql:category rows:int32 event_id:int64 txn:int64 waited_s:float64 error:category",
    "changes": "change:int64 step:int64 commit_step:int64 txn:int64 t_s:float64 clock_s:float64 actor:category "
    "thread:category label:category table:category op:category event_id:int64 before:str after:str",
}
# Kept by the simulator alone, and not part of any story.
WATCHED = """
scenario: watched
arrivals: {kind: burst, events: 1}
store: {watch: true}
horizon: 10s
"""


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_columns_and_their_types_are_frozen(name):
    assert " ".join(f"{column.name}:{column.dtype}" for column in SCHEMAS[name]) == FROZEN[name]


def test_every_column_says_in_a_sentence_what_it_is_and_in_which_unit():
    columns = [column for schema in SCHEMAS.values() for column in schema]
    assert all(column.about[0].isupper() or column.about[0] == "`" for column in columns)
    assert all(column.about.endswith(".") and column.unit for column in columns)


@pytest.mark.parametrize("name", SCHEMAS)
def test_an_empty_frame_has_the_same_types_as_a_full_one(name):
    track = story().fault(0, 5).event(1).claim(1).ok(2)
    track.story.samples.append({"t_s": 0.0, "name": "backlog", "value": 1.0})
    track.story.wake(0.0, "api", "request")
    track.story.delivered(0.0, 1)
    told = simulate(loads(WATCHED)) if name in ("steps", "changes") else track.story.run()
    full = getattr(told, name)
    assert len(full) > 0
    assert [dtype.name for dtype in empty(name).dtypes] == [dtype.name for dtype in full.dtypes]


def test_states_and_outcomes_are_categories_in_their_own_order():
    run = story().event(1).claim(1).ok(2).story.run()
    assert tuple(run.events["status"].cat.categories) == STATES
    assert tuple(run.attempts["outcome"].cat.categories) == OUTCOMES
    assert tuple(run.transitions["before"].cat.categories) == ("", *STATES)


def test_open_categories_are_sorted_and_hold_only_what_occurs():
    given = pd.Categorical(["b", "a"], categories=["z", "b", "a"])
    frame = conform("samples", {"t_s": [0.0, 1.0], "name": given, "value": [1.0, 2.0]})
    assert list(frame["name"].cat.categories) == ["a", "b"]
    assert frame["name"].tolist() == ["b", "a"]


def test_none_stands_for_nan_in_times_and_for_nothing_in_text():
    frame = conform(
        "faults",
        {
            "fault_id": [0],
            "kind": ["outage"],
            "target": ["handler"],
            "start_s": [None],
            "end_s": [None],
            "landed": [0],
            "detail": [None],
            "shade": ["tab:red"],
        },
    )
    assert frame[["start_s", "end_s"]].isna().all(axis=None)
    assert frame.loc[0, "detail"] == ""


def test_all_broken_columns_are_named_at_once():
    with pytest.raises(FrameError) as caught:
        conform("samples", {"t_s": [None], "name": ["a"], "colour": ["red"]})
    assert str(caught.value) == ("frame samples: colour: no such column; t_s: 1 values are missing; value: missing")


def test_a_state_that_does_not_exist_is_refused():
    run = story().event(1).story.run()
    columns = {name: column.tolist() for name, column in run.events.items()}
    with pytest.raises(FrameError, match=r"status: unknown values \['DONE'\]"):
        conform("events", columns | {"status": ["DONE"]})


def test_a_count_must_be_whole():
    with pytest.raises(FrameError, match="landed: not whole int32 numbers"):
        conform("faults", {column.name: [0.5] for column in SCHEMAS["faults"]})


def test_columns_of_different_length_are_refused():
    with pytest.raises(FrameError, match="columns differ in length"):
        conform("samples", {"t_s": [0.0, 1.0], "name": ["a"], "value": [1.0]})


def test_rows_keep_their_order_and_lose_their_index():
    given = pd.DataFrame({"value": [2.0, 1.0], "name": ["a", "a"], "t_s": [5.0, 3.0]}, index=[7, 7])
    frame = conform("samples", given)
    assert frame["t_s"].tolist() == [5.0, 3.0]
    assert frame.index.tolist() == [0, 1]

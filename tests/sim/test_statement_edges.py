"""A fault between two statements of a transaction: what is undone and when, and what stays."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from sim_worlds import burst, fault_row
from statement_worlds import is_whole, run_apart

from tem_sim.frames import Run
from tem_sim.scenario.errors import ScenarioError
from tem_sim.scenario.faults.base import STATEMENT_EDGES
from tem_sim.scenario.loader import loads

# How long the server keeps what a dead worker had open.
OPEN_S = 0.7


def killed_at(url: str, edge: str, **more: Any) -> Run:
    """Kill the worker that settles the second batch of twenty at one of its boundaries."""
    fault = {"kind": "worker_death", "target": "workers", "edge": edge, "label": "settle.settle", "restart_after": "2s"}
    faults = [fault | {"connection_closes_after": f"{OPEN_S}s"} | more]
    return run_apart(url, arrivals=burst(20), workers={"concurrency": 1}, faults=faults)


def last_steps_of_the_dead(of: Run) -> pd.DataFrame:
    """Return what the killed thread did in its last transaction."""
    steps = of.steps
    killed = steps[steps["kind"] == "killed"].iloc[0]
    its = steps[(steps["thread"] == killed["thread"]) & (steps["step"] < killed["step"])]
    return its[its["txn"] == its["txn"].max()]


@pytest.mark.parametrize("edge", STATEMENT_EDGES)
def test_a_worker_killed_inside_a_transaction_leaves_nothing_of_it_unless_it_was_committed(
    statement_url: str, edge: str
) -> None:
    done = killed_at(statement_url, edge, nth=2)
    assert fault_row(done)["landed"] == 1
    dead = last_steps_of_the_dead(done)
    kinds = dead["kind"].astype(str).tolist()
    assert set(dead["label"].astype(str)) == {"settle.settle"}
    assert (kinds[-1] == "commit") == (edge == "after_commit")
    # Rolled back by the server, not by the code, which does nothing any more.
    assert "rollback" not in kinds
    changed = done.changes[done.changes["txn"] == dead["txn"].iloc[0]]
    assert changed.empty == (edge != "after_commit")
    lost = done.attempts[done.attempts["outcome"] == "lost"]
    assert lost.empty == (edge == "after_commit")
    assert is_whole(done)


def test_statements_are_counted_of_the_named_function_alone(statement_url: str) -> None:
    first = last_steps_of_the_dead(killed_at(statement_url, "before_statement"))
    second = last_steps_of_the_dead(killed_at(statement_url, "after_statement"))
    assert first["kind"].astype(str).tolist() == ["begin"]
    assert second["kind"].astype(str).tolist() == ["begin", "statement"]


def test_the_locks_of_the_dead_are_held_until_the_server_notices(statement_url: str) -> None:
    done = killed_at(statement_url, "before_commit")
    died_s = fault_row(done)["start_s"]
    if done.store == "sqlite":
        # One writer at a time: all who want to write wait for the dead.
        written = done.steps[(done.steps["kind"] == "commit") & (done.steps["rows"] != 0)]
        between = done.changes["t_s"].between(died_s, died_s + OPEN_S - 1e-6, inclusive="neither")
        assert not between.any()
        assert len(written)
        waited = done.steps["waited_s"].max()
        assert 0.5 * OPEN_S < waited < OPEN_S
    else:
        # Its rows are locked, and nobody else's; the rescue, which skips locked rows, finds them later.
        between = done.changes["t_s"].between(died_s, died_s + OPEN_S, inclusive="neither")
        assert between.any()
    assert is_whole(done)


def test_rows_of_the_dead_are_rescued_only_when_the_server_has_let_them_go(statement_url: str) -> None:
    half_open = {"connection_closes_after": "20s"}
    done = killed_at(statement_url, "before_commit", **half_open)
    died_s = fault_row(done)["start_s"]
    rescued = done.changes[done.changes["label"].astype(str) == "lifecycle.rescue_expired"]
    assert rescued["t_s"].min() > died_s + 20
    assert is_whole(done)


def test_a_pause_between_two_statements_holds_the_locks_for_as_long(statement_url: str) -> None:
    pause = {
        "kind": "worker_pause",
        "target": "workers",
        "edge": "before_commit",
        "label": "settle.settle",
        "for": "3s",
    }
    done = run_apart(statement_url, arrivals=burst(20), faults=[pause])
    row = fault_row(done)
    assert (row["landed"], row["end_s"] - row["start_s"]) == (1, pytest.approx(3.0))
    frozen = str(row["target"])
    during = done.steps["t_s"].between(row["start_s"], row["end_s"], inclusive="neither")
    assert not (during & (done.steps["actor"] == frozen)).any()
    # Its lease of 5 s outlived the pause: the commit goes through as if nothing had been.
    assert (done.attempts["outcome"] == "ok").all()
    assert is_whole(done)


def test_the_gateway_and_the_api_pass_the_edges_between_statements_too(statement_url: str) -> None:
    faults = [
        {"kind": "worker_death", "target": name, "edge": "after_commit", "nth": 2, "restart_after": "1s"}
        for name in ("api", "gateway", "beat")
    ]
    done = run_apart(statement_url, faults=faults)
    assert done.faults["landed"].tolist() == [1, 1, 1]
    assert is_whole(done)


FILE = """scenario: x
arrivals: {kind: burst, events: 1}
store: {interleave: STORE}
faults:
  - {kind: worker_death, target: workers, FAULT}
"""


@pytest.mark.parametrize(
    ("store", "fault", "place", "said"),
    [
        ("transaction", "edge: before_commit", ":5:49", "set store.interleave: statement"),
        ("statement", "edge: after_claim, label: settle.settle", ":5:", "goes with edge: before_statement"),
        ("statement", "edge: before_commit, label: settle.setle", ":5:", "must be a function of the pipeline"),
        ("statement", "edge: before_comit", ":5:", "did you mean before_commit"),
    ],
)
def test_an_edge_that_cannot_be_is_refused_with_its_place(store: str, fault: str, place: str, said: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        loads(FILE.replace("STORE", store).replace("FAULT", fault))
    assert said in str(refused.value)
    assert f"<text>{place}" in str(refused.value)

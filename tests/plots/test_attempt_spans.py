"""One event's attempts: who held its row when, and who wrote to it without holding it."""

import pytest
from matplotlib.axes import Axes

from tem_sim.frames import Run
from tem_sim.plots.attempts import OUTCOME_COLOURS, attempt_spans
from tem_sim.scenario.loader import loads
from tem_sim.sim.world import simulate

# A worker freezes for longer than its lease, and wakes up while another does its work again; the sweep sends that one,
# since the wake-up of the rescue is reserved by the frozen one.
FROZEN = """
scenario: frozen
horizon: 1m
arrivals: {{kind: burst, at: 1s, events: 1}}
pipeline: {{lease: 3s, sweep_after: 1s, write_guard: {guard}}}
workers: {{count: 2, concurrency: 1}}
beat: {{rescue_every: 1s}}
handler: {{service_time: 2s}}
faults: [{{kind: worker_pause, target: worker-1, edge: before_settle, nth: 1, for: 4500ms}}]
"""


def frozen(guard: str) -> Run:
    return simulate(loads(FROZEN.format(guard=guard)))


@pytest.fixture(scope="module")
def overwritten() -> Run:
    """Run under a guard that lets the late worker write."""
    return frozen("refresh")


def labels(ax: Axes) -> list[str]:
    legend = ax.get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


def test_each_worker_has_a_lane_and_the_row_stands_below(overwritten: Run, ax: Axes) -> None:
    assert attempt_spans(overwritten, 1, ax) is ax
    workers = list(dict.fromkeys(overwritten.attempts.sort_values("attempt_no")["worker"].astype(str)))
    assert [label.get_text() for label in ax.get_yticklabels()] == [*workers, "the row"]
    assert len(workers) == 2


def test_a_write_by_one_who_no_longer_holds_the_row_is_crossed_at_its_time(overwritten: Run, ax: Axes) -> None:
    attempt_spans(overwritten, 1, ax)
    (mark,) = [line for line in ax.lines if line.get_marker() == "X"]
    done = overwritten.transitions.query("cause == 'ok'")["at_s"].iloc[0]
    assert list(mark.get_xdata()) == [done, done]
    assert "written by another than the holder" in labels(ax)


def test_under_a_guard_that_refuses_there_is_no_cross(ax: Axes) -> None:
    attempt_spans(frozen("fenced"), 1, ax)
    assert "written by another than the holder" not in labels(ax)
    assert "attempt: superseded" in labels(ax)


def test_attempts_and_states_are_drawn_in_their_colours_and_named_once(overwritten: Run, ax: Axes) -> None:
    attempt_spans(overwritten, 1, ax)
    assert len(labels(ax)) == len(set(labels(ax)))
    assert {f"attempt: {outcome}" for outcome in overwritten.attempts["outcome"]} <= set(labels(ax))
    assert "row: PROCESSING" in labels(ax)


def test_every_outcome_has_its_colour(overwritten: Run) -> None:
    assert set(overwritten.attempts["outcome"].cat.categories) <= set(OUTCOME_COLOURS)


def test_an_event_that_the_run_has_not_is_a_key_error(overwritten: Run) -> None:
    with pytest.raises(KeyError, match="no event 99"):
        attempt_spans(overwritten, 99)

"""A collapse is goodput that stays away long after the trigger, measured against a run that had none."""

import numpy as np
import pytest
from frame_builder import story

from tem_sim.analysis.collapse import Output, Window, fate, output, phase_plane

UP = Output(10.0, 10.0, 10.0, 10.0)
DOWN = Output(0.5, 1.0, 10.0, 10.0)


def test_goodput_counts_what_is_processed_in_each_half_of_the_window():
    tale = story()
    for event_id, submitted_s, done_s in [(1, 0.0, 1.0), (2, 1.0, 4.0), (3, 6.0, 6.5), (4, 7.0, 9.0), (5, 9.0, 12.0)]:
        tale.event(event_id, submitted_s).claim(submitted_s).ok(done_s)
    tale.event(6, 4.5).claim(4.5).exhausted(8.0)
    found = output(tale.run(end_s=20.0), Window(2.0, 10.0))
    assert found == Output(1 / 4, 2 / 4, 1 / 4, 3 / 4)
    assert found.goodput_per_s == 3 / 8


@pytest.mark.parametrize(
    ("triggered", "control", "word"),
    [
        (DOWN, UP, "collapsed"),
        (UP, UP, "up"),
        # A backlog that is still draining does more than the control.
        (Output(14.0, 13.0, 10.0, 10.0), UP, "up"),
        # On its way back: the second half is up again.
        (Output(1.0, 9.0, 10.0, 10.0), UP, "up"),
        (Output(9.0, 1.0, 10.0, 10.0), UP, "up"),
        # Exactly the share is not below it.
        (Output(5.0, 5.0, 10.0, 10.0), UP, "up"),
        # A control that is down itself judges nothing, whatever the other run did.
        (DOWN, DOWN, "unfit"),
        (UP, Output(10.0, 4.0, 10.0, 10.0), "unfit"),
        (UP, Output(4.0, 10.0, 10.0, 10.0), "unfit"),
    ],
)
def test_a_run_is_judged_by_its_control(triggered, control, word):
    assert fate(triggered, control) == word


def test_the_share_that_counts_as_collapsed_can_be_chosen():
    assert fate(Output(8.0, 8.0, 10.0, 10.0), UP, share=0.9) == "collapsed"


def test_the_phase_plane_holds_means_of_the_backlog_and_of_rows_that_are_tried_again():
    tale = story()
    # In [0, 2): open from 1 on, first tried. Failed at 2, in backoff until 5, tried again from 5 to 6.5.
    tale.event(1, 1.0).claim(1.0).error(2.0, 3.0).retry(5.0).claim(5.5).ok(6.5)
    tale.event(2, 4.0).claim(4.0).ok(7.0)
    plane = phase_plane(tale.run(end_s=8.0), step_s=2.0)
    assert plane.index.tolist() == [0.0, 2.0, 4.0, 6.0]
    assert plane["backlog"].tolist() == [0.5, 1.0, 2.0, 0.75]
    assert plane["retries_in_flight"].tolist() == [0.0, 0.0, 0.5, 0.25]


def test_the_phase_plane_agrees_with_a_fine_sampling_of_rows_by_state():
    from synthetic_storm import storm

    from tem_sim.analysis.backlog import rows_by_state

    run = storm(events=300)
    plane = phase_plane(run, step_s=5.0).iloc[:-1]
    rows = rows_by_state(run, step_s=0.01)
    open_rows = rows[["QUEUED", "RETRY", "PROCESSING", "FAILED"]].sum(axis=1).to_numpy()
    means = open_rows[: len(plane) * 500].reshape(-1, 500).mean(axis=1)
    assert np.allclose(plane["backlog"], means, atol=1.0)
    assert (plane["retries_in_flight"] <= plane["backlog"] + 1e-9).all()

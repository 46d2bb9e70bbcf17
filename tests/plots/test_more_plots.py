"""The plots of load, rows, latency, scheduler and single events show what their tables say."""

import numpy as np
import pytest
from frame_builder import story
from matplotlib.figure import Figure
from synthetic_storm import storm

from tem_sim.analysis import duty, rates, stays
from tem_sim.analysis import storm as numbers
from tem_sim.analysis.backlog import backlog
from tem_sim.plots.latency import latency_tails
from tem_sim.plots.life import CALLS, LANES, SIGNS, event_timeline
from tem_sim.plots.load import amplification, attempts_histogram, goodput
from tem_sim.plots.rows import backlog_age, time_in_state
from tem_sim.plots.scheduler import scheduler_duty, scheduler_lag
from tem_sim.plots.style import ATTEMPT_COLOURS, bins_for


@pytest.fixture(scope="module")
def run():
    return storm(events=500)


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def line(ax, beginning):
    return next(one for one in ax.lines if str(one.get_label()).startswith(beginning))


def test_the_amplification_since_the_start_ends_at_the_runs(run, ax):
    amplification(run, ax)
    assert line(ax, "since").get_ydata()[-1] == pytest.approx(numbers.amplification(run))


def test_windows_without_a_first_try_have_no_mark(run, ax):
    amplification(run, ax, bin_s=1.0)
    marks = line(ax, "in 1 s windows")
    table = rates.amplification_over_time(run)
    assert len(marks.get_xdata()) == table["window"].notna().sum() < len(table)


def test_a_wave_on_one_first_try_makes_the_axis_logarithmic(ax):
    told = story()
    for number in range(40):
        told.event(number).claim(0.1).error(0.2, 1.0).retry(5.0).claim(5.5).ok(6.0)
    told.event(99, at_s=5.0).claim(5.5).ok(6.0)
    amplification(told.run(end_s=10.0), ax)
    assert ax.get_yscale() == "log"


def test_goodput_stands_before_throughput_and_neither_is_smoothed(run, ax):
    goodput(run, ax, bin_s=1.0)
    behind, before = (patch.get_data().values for patch in ax.patches[:2])
    table = numbers.throughput(run)
    assert behind.tolist() == table["throughput_per_s"].tolist()
    assert before.tolist() == table["goodput_per_s"].tolist()


def test_a_long_run_has_wider_bins_and_the_title_says_so(ax):
    told = story()
    told.event(1).claim(1.0).ok(2.0)
    long = told.run(end_s=5000.0)
    assert [bins_for(told.run(end_s=end_s)) for end_s in (1.0, 1200.0, 1201.0, 5000.0, 12_000.0)] == [1, 1, 2, 5, 10]
    goodput(long, ax)
    assert "5 s bins" in ax.get_title(loc="left")


def test_each_bar_of_the_histogram_is_as_high_as_its_events_are_many(ax):
    told = story()
    told.event(1).claim(1.0).ok(2.0)
    told.event(2).claim(1.0).exhausted(2.0)
    told.event(3)
    attempts_histogram(told.run(), ax)
    assert labels(ax) == ["PROCESSED", "EXTINCT", "open"]
    assert [[bar.get_height() for bar in bars] for bars in ax.containers] == [[0, 1], [0, 1], [1, 0]]
    assert ax.get_xlim()[0] < 0
    assert "0.667 on average" in ax.get_title(loc="left")


def test_ages_are_those_of_the_table_and_the_backlog_is_named_by_its_peak(run, ax):
    backlog_age(run, ax)
    table = stays.oldest_rows(run, step_s=run.end_s / 1000)
    np.testing.assert_array_equal(line(ax, "oldest row").get_ydata(), table["oldest_s"])
    assert labels(ax)[0] == f"backlog,\nup to {backlog(run).level.max()}"


def test_each_state_has_its_stays_and_its_share_beside_its_name(ax):
    told = story()
    told.event(1, at_s=1.0).claim(2.0).error(5.0, 4.0).retry(10.0).claim(12.0).ok(15.0)
    told.event(2, at_s=3.0).claim(4.0)
    time_in_state(told.run(end_s=20.0), ax)
    assert [text.get_text() for text in ax.get_yticklabels()] == [
        "QUEUED\n2 stays\n6.5% of the time",
        "RETRY\n1 stay\n6.5% of the time",
        "PROCESSING\n2 stays, 1 cut\n71.0% of the time",
        "FAILED\n1 stay\n16.1% of the time",
    ]


def test_times_in_state_of_very_different_length_are_on_a_logarithmic_axis(run, ax):
    time_in_state(run, ax)
    assert ax.get_xscale() == "log"
    assert "logarithmic" in ax.get_xlabel()


def test_tails_fall_from_all_events_to_the_last_one(run, ax):
    latency_tails(run, ax)
    for one in (line for line in ax.lines if len(line.get_xdata()) > 2):
        y, size = one.get_ydata(), int(str(one.get_label()).partition("n = ")[2].partition(",")[0] or 0)
        assert (y[0], y[-1]) == (1.0, pytest.approx(1 / size))
        assert np.all(np.diff(y) < 0)
        assert np.all(np.diff(one.get_xdata()) >= 0)


def test_tails_are_told_apart_by_attempts_and_the_last_gathers_all_later_ones(run, ax):
    latency_tails(run, ax)
    used = run.events.loc[run.events["status"] == "PROCESSED", "attempt_no"]
    most = len(ATTEMPT_COLOURS)
    groups = [int((used == number).sum()) for number in range(1, most)] + [int((used >= most).sum())]
    named = [label.partition("\n")[2].partition(",")[0] for label in labels(ax)]
    assert named == [f"n = {count}" for count in [*filter(None, groups), len(used)]]


def test_a_destination_other_than_processed_is_named(run, ax):
    latency_tails(run, ax, to="delivered")
    assert "the user's socket" in ax.get_title(loc="left")


def test_ticks_that_met_the_limit_stand_out(ax):
    told = story(pipeline={"requeue_limit": 2})
    for number in range(3):
        told.event(number).claim(0.5).error(1.0, 10.0).retry(12.0 + number // 2)
    scheduler_duty(told.run(end_s=20.0), ax)
    assert labels(ax) == [
        "tick: 1\n1 rows on average",
        "tick that met its limit: 1\n2 rows on average",
        "requeue_limit 2",
    ]


def test_a_limit_far_above_the_ticks_is_named_and_not_drawn(run, ax):
    scheduler_duty(run, ax)
    assert "requeue_limit 500,\nabove the plot" in labels(ax) or ax.get_ylim()[1] > 500


def test_a_dot_per_retry_and_a_crowd_of_them_as_a_picture(run, ax):
    few = storm(events=200)
    late = duty.lags(few)
    scheduler_lag(few, ax)
    picked, requeued = (one for one in ax.lines if len(one.get_xdata()) == len(late))
    np.testing.assert_array_equal(picked.get_ydata(), late["pick_up_lag_s"])
    np.testing.assert_array_equal(requeued.get_ydata(), late["requeue_lag_s"])
    assert not requeued.get_rasterized()
    other = Figure().add_subplot()
    scheduler_lag(run, other)
    assert any(one.get_rasterized() for one in other.lines)


def eventful():
    told = story(pipeline={"lease": 30}).fault(0.0, 20.0)
    told.event(7, at_s=1.0).claim(1.5).error(2.0, 10.0).retry(12.5).claim(13.0).rescue(45.0).claim(46.0).ok(47.0)
    told.attempts[1]["started_s"] = 13.5
    told.event(8).claim(1.0).ok(2.0)
    return told.run(end_s=100.0)


def test_the_life_of_the_worst_event_has_a_lane_for_each_side_of_it(ax):
    event_timeline(eventful(), ax)
    assert [text.get_text() for text in ax.get_yticklabels()] == list(LANES)
    assert ax.get_title(loc="left").startswith("event 7: took longest")
    assert labels(ax) == [
        *("PROCESSING", "QUEUED", "RETRY", "FAILED", "call: ok", "call: failed", "call: lost, until\nthat was noticed"),
        *("due", "requeued", "lease end", "rescued", "outbox", "published", "shown", "acked", "outage, 0 to 20 s"),
    ]


def test_bars_are_as_long_as_the_stays_and_the_calls(ax):
    event_timeline(eventful(), ax)
    spans = sorted((bar.get_x(), bar.get_width()) for bars in ax.containers for bar in bars)
    assert spans == [
        *((1.0, 0.5), (1.5, 0.5), (1.5, 0.5), (2.0, 10.5), (12.5, 0.5), (13.0, 32.0)),
        *((13.5, 31.5), (45.0, 1.0), (46.0, 1.0), (46.0, 1.0)),
    ]


def test_a_named_event_is_drawn_whether_or_not_it_is_the_worst(ax):
    event_timeline(eventful(), ax, event_id=8)
    assert ax.get_title(loc="left") == "event 8\nstory, seed 1"
    assert ax.get_xlim() == pytest.approx((-0.04, 2.04))


def test_every_outcome_of_a_call_has_its_colour():
    from tem_sim.frames import OUTCOMES

    # Those that expired or were released ended before their call.
    assert set(CALLS) == set(OUTCOMES) - {"expired", "released"}


def test_every_step_without_a_length_has_its_sign():
    from tem_sim.analysis.timeline import STEPS

    drawn_as_bars = {"submitted", "claimed", "called", "answered", "failed", "processed", "extinct", "end"}
    # The side effect happens within a call or, after a timeout, behind it.
    assert set(SIGNS) == set(STEPS) - drawn_as_bars - {"effect"}

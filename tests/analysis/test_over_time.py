"""Events by the time at which they came, and by the time at which they were done."""

import numpy as np
import pytest
from frame_builder import story, without
from synthetic_storm import storm

from tem_sim.analysis.over_time import by_cohort, by_completion
from tem_sim.analysis.storm import throughput


def four_events():
    """Two come at 1 and 2 s and are done at 3 and 25 s, one comes at 21 s and is given up at 22 s, one stays open."""
    told = story()
    told.event(1, at_s=1.0).claim(2.0).ok(3.0)
    told.event(2, at_s=2.0).claim(3.0).error(4.0, 20.0).retry(24.0).claim(24.5).ok(25.0)
    told.event(3, at_s=21.0).claim(21.5).exhausted(22.0)
    told.event(4, at_s=22.0)
    return told


def missing():
    return pytest.approx(np.nan, nan_ok=True)


def test_a_cohort_is_judged_by_what_became_of_it_however_late():
    table = by_cohort(four_events().run(end_s=39.0))
    assert table.index.tolist() == [0.0, 10.0, 20.0, 30.0]
    assert table["events"].tolist() == [2, 0, 2, 0]
    assert table["processed"].tolist() == [2, 0, 0, 0]
    assert table["extinct"].tolist() == [0, 0, 1, 0]
    assert table["open"].tolist() == [0, 0, 1, 0]
    assert table["processed_share"].tolist() == [1.0, missing(), 0.0, missing()]
    assert table["extinct_share"].tolist() == [0.0, missing(), 0.5, missing()]
    assert table["amplification"].tolist() == [1.5, missing(), 0.5, missing()]
    assert table["p50_s"].tolist() == [2.0, missing(), missing(), missing()]


def test_completions_are_counted_where_they_happened_whenever_their_events_came():
    table = by_completion(four_events().run(end_s=39.0))
    assert table["processed"].tolist() == [1, 0, 1, 0]
    assert table["extinct"].tolist() == [0, 0, 1, 0]
    assert table["goodput_per_s"].tolist() == [0.1, 0.0, 0.1, 0.0]
    assert table["mean_attempts"].tolist() == [1.0, missing(), 2.0, missing()]


def test_an_event_that_is_gone_from_the_store_has_no_latency_and_yet_was_done():
    run = without(four_events().run(end_s=39.0), "events", 0)
    assert by_completion(run)["processed"].sum() == 2
    assert by_cohort(run)["events"].sum() == 3


def test_a_run_without_events_has_all_bins_and_nothing_in_them():
    run = story().run(end_s=25.0)
    for table, counts in ((by_cohort(run), ["events", "open"]), (by_completion(run), ["processed", "extinct"])):
        assert table.index.tolist() == [0.0, 10.0, 20.0]
        assert not table[counts].any(axis=None)
        assert table["p50_s"].isna().all()


@pytest.fixture(scope="module")
def big():
    return storm(events=500, outage_s=30.0)


@pytest.mark.parametrize("bin_s", [0.3, 1.0, 10.0])
def test_both_ways_of_counting_agree_on_all_events(big, bin_s):
    cohorts, completions = by_cohort(big, bin_s), by_completion(big, bin_s)
    status = big.events["status"].value_counts()
    assert cohorts["events"].sum() == len(big.events)
    assert cohorts["processed"].sum() == completions["processed"].sum() == status["PROCESSED"]
    assert cohorts["extinct"].sum() == completions["extinct"].sum() == status["EXTINCT"]
    assert (cohorts["amplification"] * cohorts["events"]).sum() == pytest.approx(len(big.attempts))


def test_goodput_is_that_of_throughput(big):
    completions, other = by_completion(big, 1.0), throughput(big, 1.0)
    assert completions["goodput_per_s"].tolist() == other["goodput_per_s"].tolist()

"""What scheduler, workers and database had to do."""

import math

import numpy as np
import pytest
from frame_builder import story
from synthetic_storm import storm

from tem_sim.analysis.busy import utilisation
from tem_sim.analysis.counted import database_per_event
from tem_sim.analysis.duty import (
    claim_batches,
    duty,
    full_tick_share,
    lags,
    retry_ticks,
    scheduler_lag_s,
)


def three_retries():
    """Due at 11, 11.5 and 12 s; requeued at 12, 12 and 13 s, of which two are claimed at 12.5 and 14 s."""
    told = story(pipeline={"requeue_limit": 2, "batch_size": 3})
    told.event(1).claim(0.5).error(1.0, 10.0).retry(12.0).claim(12.5).ok(13.0)
    told.event(2).claim(0.5).error(1.5, 10.0).retry(12.0)
    told.event(3).claim(0.5).error(2.0, 10.0).retry(13.0).claim(14.0).ok(15.0)
    return told


def test_a_tick_is_what_one_scheduler_requeued_at_one_instant():
    table = retry_ticks(three_retries().run())
    assert table.columns.tolist() == ["t_s", "actor", "rows", "full", "longest_lag_s"]
    assert table.values.tolist() == [[12.0, "beat", 2, True, 1.0], [13.0, "beat", 1, False, 1.0]]
    assert full_tick_share(three_retries().run()) == 0.5


def test_two_schedulers_at_the_same_instant_are_two_ticks():
    told = three_retries()
    told.transitions[3]["actor"] = "beat-2"
    assert retry_ticks(told.run())["actor"].tolist() == ["beat", "beat-2", "beat"]


def test_without_a_limit_no_tick_is_full():
    told = story(pipeline={"requeue_limit": "off"})
    told.event(1).claim(0.5).error(1.0, 10.0).retry(12.0)
    assert retry_ticks(told.run())["full"].tolist() == [False]


def test_a_claim_is_what_one_worker_took_at_one_instant():
    table = claim_batches(three_retries().run())
    assert table.values.tolist() == [
        [0.5, "worker-1", 3, True],
        [12.5, "worker-1", 1, False],
        [14.0, "worker-1", 1, False],
    ]


def test_lag_is_counted_from_when_the_retry_was_due():
    table = lags(three_retries().run())
    assert table["due_s"].tolist() == [11.0, 11.5, 12.0]
    assert table["requeue_lag_s"].tolist() == [1.0, 0.5, 1.0]
    assert table["pick_up_lag_s"].tolist() == [1.5, pytest.approx(math.nan, nan_ok=True), 2.0]


def test_duty_sums_up_ticks_and_claims():
    table = duty(three_retries().run())
    assert table.loc["retry ticks", ["n", "rows", "mean_rows", "most_rows", "full_share"]].tolist() == [
        2,
        3,
        1.5,
        2,
        0.5,
    ]
    assert table.loc["claims", ["n", "rows", "mean_rows", "most_rows"]].tolist() == [3, 5, 5 / 3, 3]
    assert table["lag_p50_s"].tolist() == [1.0, 1.5]
    assert table["lag_most_s"].tolist() == [1.0, 2.0]
    assert table["lag_p95_s"].isna().all()


def test_a_run_in_which_nothing_failed_has_no_ticks_and_no_lag():
    run = story().run()
    assert retry_ticks(run).empty
    assert lags(run).empty
    assert duty(run)["n"].tolist() == [0, 0]
    assert all(math.isnan(value) for value in (full_tick_share(run), scheduler_lag_s(run), database_per_event(run)))


@pytest.fixture(scope="module")
def big():
    return storm(events=400)


def test_ticks_and_claims_account_for_every_row_that_they_moved(big):
    log = big.transitions
    assert retry_ticks(big)["rows"].sum() == (log["cause"] == "retry").sum()
    assert claim_batches(big)["rows"].sum() == (log["cause"] == "claim").sum()
    assert retry_ticks(big)["t_s"].is_monotonic_increasing
    late = lags(big)
    assert (late["pick_up_lag_s"] >= late["requeue_lag_s"]).all()
    # Here due retries wait for the next whole second.
    assert late["requeue_lag_s"].between(0.0, 1.0).all()
    assert scheduler_lag_s(big) == pytest.approx(np.quantile(late["requeue_lag_s"], 0.95, method="inverted_cdf"))
    assert retry_ticks(big)["longest_lag_s"].max() == late["requeue_lag_s"].max()


def test_the_calls_of_a_bin_are_its_share_of_each_call():
    told = story(workers={"count": 2, "concurrency": 2})
    told.event(1).claim(0.5).ok(2.5)
    told.event(2).claim(1.0).ok(1.5)
    told.event(3).claim(1.0).rescue(3.0)
    told.samples += [{"t_s": float(t), "name": "workers_busy", "value": v} for t, v in enumerate((1, 3, 2))]
    table = utilisation(told.run(end_s=3.5))
    assert table["calling"].tolist() == [0.125, 0.375, 0.125, 0.0]
    assert table["busy"].tolist() == [0.25, 0.75, 0.5, pytest.approx(math.nan, nan_ok=True)]


def test_call_seconds_of_all_bins_are_those_of_all_calls(big):
    for bin_s in (0.3, 1.0, 7.0):
        table = utilisation(big, bin_s)
        widths_s = np.minimum(bin_s, big.end_s - table.index)
        spent_s = (big.attempts["finished_s"] - big.attempts["started_s"]).sum()
        assert (table["calling"] * widths_s).sum() * 4 == pytest.approx(spent_s)


def test_statements_are_counted_per_event_where_the_run_counted_them():
    told = three_retries()
    assert math.isnan(database_per_event(told.run()))
    told.samples.append({"t_s": 100.0, "name": "database_statements", "value": 27})
    told.samples.append({"t_s": 100.0, "name": "database_transactions", "value": 12})
    assert database_per_event(told.run()) == 9.0
    assert database_per_event(told.run(), "transactions") == 4.0

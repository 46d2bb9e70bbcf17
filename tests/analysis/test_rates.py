"""Load per second, and how many times over the downstream gets it."""

import numpy as np
import pytest
from frame_builder import story
from synthetic_storm import storm

from tem_sim.analysis.rates import amplification_over_time, rates
from tem_sim.analysis.storm import (
    amplification,
    attempts_by_number,
    attempts_per_event,
    dispersion,
    index_of_dispersion,
)


def three_events():
    """First tries at 0.5, 0.6 and 2.5 s; retries at 2.6, 2.9 and 4.5 s."""
    told = story()
    told.event(1).claim(0.5).error(0.6, 1.0).retry(2.0).claim(2.6).error(2.7, 1.0).retry(4.0).claim(4.5).ok(4.6)
    told.event(2, at_s=0.1).claim(0.6).error(0.7, 1.0).retry(2.0).claim(2.9).ok(3.0)
    told.event(3, at_s=2.2).claim(2.5).ok(2.6)
    return told


def test_the_load_is_told_apart_by_what_it_is():
    table = rates(three_events().run(end_s=4.9))
    assert table.index.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert table["accepted_per_s"].tolist() == [2, 0, 1, 0, 0]
    assert table["first_tries_per_s"].tolist() == [2, 0, 1, 0, 0]
    assert table["retries_per_s"].tolist() == [0, 0, 2, 0, 1]
    assert table["attempts_per_s"].tolist() == [2, 0, 3, 0, 1]
    assert table["offered_per_s"].isna().all()


def test_what_clients_offered_is_there_where_the_run_counted_it_in_bins_of_whole_seconds():
    told = three_events()
    told.samples += [{"t_s": at, "name": "submissions_sent_per_s", "value": n} for at, n in ((0.0, 3), (2.0, 1))]
    told.samples.append({"t_s": 4.9, "name": "submissions_offered", "value": 3})
    run = told.run(end_s=4.9)
    assert rates(run)["offered_per_s"].tolist() == [3, 0, 1, 0, 0]
    assert rates(run, 2.0)["offered_per_s"].tolist() == [1.5, 0.5, 0]
    assert rates(run, 0.5)["offered_per_s"].isna().all()


def test_amplification_is_the_load_over_its_first_tries_and_does_not_exist_without_any():
    table = amplification_over_time(three_events().run(end_s=4.9))
    assert (
        table["window"].tolist()
        == [1.0, pytest.approx(np.nan, nan_ok=True), 3.0] + [pytest.approx(np.nan, nan_ok=True)] * 2
    )
    assert table["cumulative"].tolist() == [1.0, 1.0, 5 / 3, 5 / 3, 2.0]


def test_without_events_every_rate_is_0_and_every_ratio_missing():
    run = story().run(end_s=2.0)
    assert rates(run)["attempts_per_s"].tolist() == [0, 0, 0]
    assert amplification_over_time(run).isna().all(axis=None)
    assert attempts_per_event(run)["events"].tolist() == [0]
    assert dispersion(run)["index"].isna().all()


@pytest.fixture(scope="module")
def big():
    return storm(events=400)


@pytest.mark.parametrize("bin_s", [0.1, 0.7, 1.0, 10.0])
def test_bins_add_up_to_the_totals(big, bin_s):
    table = rates(big, bin_s) * bin_s
    assert table["accepted_per_s"].sum() == pytest.approx(len(big.events))
    assert table["attempts_per_s"].sum() == pytest.approx(len(big.attempts))
    assert table["first_tries_per_s"].sum() == pytest.approx(len(big.events))
    assert (table["attempts_per_s"] == table["first_tries_per_s"] + table["retries_per_s"]).all()


def test_where_every_claim_led_to_a_call_the_cumulative_amplification_ends_at_the_metric(big):
    assert amplification_over_time(big)["cumulative"].iloc[-1] == pytest.approx(amplification(big))


def test_attempts_per_event_are_counted_by_what_became_of_the_event():
    told = three_events()
    told.event(4).claim(1.0).exhausted(2.0)
    told.event(5)
    table = attempts_per_event(told.run())
    assert table["processed"].tolist() == [0, 1, 1, 1]
    assert table["extinct"].tolist() == [0, 1, 0, 0]
    assert table["open"].tolist() == [1, 0, 0, 0]
    assert table["events"].tolist() == [1, 2, 1, 1]


def test_the_events_of_the_histogram_are_all_events_and_their_attempts_all_attempts(big):
    table = attempts_per_event(big)
    assert table["events"].sum() == len(big.events)
    assert (table.index * table["events"]).sum() == len(big.attempts)


def test_dispersion_is_the_variance_of_the_retries_per_bin_over_their_mean():
    # Two, none and one retry in the three bins from the first retry to the last.
    table = dispersion(three_events().run(end_s=50.0), [1.0, 5.0])
    assert table.loc[1.0, ["bins", "mean", "variance", "index"]].tolist() == [3, 1.0, 1.0, 1.0]
    assert table.loc[5.0, "bins"] == 1
    assert np.isnan(table.loc[5.0, "index"])


def evenly_and_by_luck(times_s):
    """Return a run with one retry at each of these times."""
    told = story()
    for number, at_s in enumerate(times_s):
        told.event(number).claim(0.0).error(0.1, 1.0).retry(float(at_s)).claim(float(at_s)).ok(float(at_s))
    return told.run(end_s=200.0)


def test_an_even_stream_has_no_dispersion_a_poisson_one_has_1_and_waves_have_much():
    luck = np.random.default_rng(1)
    even = evenly_and_by_luck(np.arange(20.0, 120.0, 0.25))
    poisson = evenly_and_by_luck(np.sort(luck.uniform(20.0, 120.0, 400)))
    waves = evenly_and_by_luck(np.repeat(np.arange(20.0, 120.0, 10.0), 40))
    assert index_of_dispersion(even) == 0.0
    # The standard deviation of the index is about √(2/99).
    assert index_of_dispersion(poisson) == pytest.approx(1.0, abs=0.45)
    assert index_of_dispersion(waves) > 30
    assert dispersion(poisson, [0.5, 2.0])["index"].between(0.4, 1.7).all()


def test_one_table_of_attempts_is_enough_for_every_rate(big):
    assert attempts_by_number(big).sum(axis=1).tolist() == rates(big)["attempts_per_s"].tolist()

"""The tables of `tem_sim.analysis` over real runs of shipped scenarios add up, and agree with one another."""

from __future__ import annotations

import math

import numpy as np
import pytest
from shipped import shipped
from test_shipped import SMALLER

from tem_sim.analysis.backlog import backlog, rows_by_state
from tem_sim.analysis.busy import utilisation
from tem_sim.analysis.counted import database_per_event, submissions
from tem_sim.analysis.duty import claim_batches, duty, lags, retry_ticks
from tem_sim.analysis.latency import latency_percentiles
from tem_sim.analysis.over_time import by_cohort, by_completion
from tem_sim.analysis.rates import amplification_over_time, rates
from tem_sim.analysis.stays import OPEN_PHASES, oldest_rows, time_in_state
from tem_sim.analysis.storm import attempts_per_event
from tem_sim.analysis.timeline import timeline, worst_event
from tem_sim.frames import Run

pytestmark = pytest.mark.xdist_group("shipped scenarios")

MICROSECOND = 1e-6
# The steps of a life that are transitions of its row.
MOVES = ("submitted", "claimed", "failed", "requeued", "rescued", "released", "replayed", "processed", "extinct")
# Those that differ most: faults of each part, rows that get stuck in turn, two schedulers, a storm, a bug.
VARIED = [
    *("beat_stopped", "lost_wakeup", "max_retry_extinct", "notification_loss", "poison_event", "retry_storm"),
    *("scheduler_backlog", "stale_read", "two_beats", "worker_death", "zombie_worker"),
]


@pytest.fixture(params=VARIED)
def run(request: pytest.FixtureRequest) -> Run:
    """Run a shipped scenario, the large ones smaller."""
    return shipped(request.param, *SMALLER.get(request.param, ()))


def test_rates_and_histogram_add_up_to_events_and_attempts(run: Run) -> None:
    load = rates(run)
    assert load["accepted_per_s"].sum() == len(run.events)
    assert load["attempts_per_s"].sum() == run.attempts["started_s"].notna().sum()
    table = attempts_per_event(run)
    assert table["events"].sum() == len(run.events)
    assert (table.index * table["events"]).sum() == run.events["attempt_no"].sum()
    assert (amplification_over_time(run)["cumulative"].dropna() >= 1.0).all()


def test_what_clients_offered_per_second_adds_up_to_what_they_sent(run: Run) -> None:
    counted = submissions(run)
    assert counted is not None
    # Repetitions and double clicks come on top.
    assert rates(run)["offered_per_s"].sum() >= counted["offered"] >= len(run.events)


def test_time_in_state_is_the_area_under_the_backlog(run: Run) -> None:
    steps = backlog(run)
    ends_s = np.append(steps.at_s[1:], run.end_s)
    area = float((steps.level * (ends_s - steps.at_s)).sum())
    assert time_in_state(run)["total_s"].sum() == pytest.approx(area, abs=1e-3)


def test_oldest_rows_agree_with_the_rows_by_state(run: Run) -> None:
    oldest, states = oldest_rows(run, step_s=0.5), rows_by_state(run, step_s=0.5)
    assert (oldest["backlog"] == states[list(OPEN_PHASES)].sum(axis=1)).all()
    assert (oldest["queued"] == states["QUEUED"] + states["RETRY"]).all()
    assert (oldest["oldest_s"].isna() == (oldest["backlog"] == 0)).all()
    assert (oldest["oldest_queued_s"].fillna(0) <= oldest["oldest_s"].fillna(0) + MICROSECOND).all()


def test_ticks_and_claims_moved_every_row_once(run: Run) -> None:
    log = run.transitions["cause"]
    assert retry_ticks(run)["rows"].sum() == len(lags(run)) == (log == "retry").sum()
    claims = claim_batches(run)
    assert claims["rows"].sum() == (log == "claim").sum()
    settings = run.scenario.settings()
    assert claims["rows"].max() <= settings.batch_size
    if settings.requeue_limit is not None and len(retry_ticks(run)):
        assert retry_ticks(run)["rows"].max() <= settings.requeue_limit
    assert duty(run).loc["claims", "n"] == len(claims)


def test_no_retry_was_requeued_before_it_was_due_or_picked_up_before_that(run: Run) -> None:
    table = lags(run)
    assert (table["requeue_lag_s"].dropna() >= -MICROSECOND).all()
    assert (table["claimed_s"] - table["requeued_s"]).dropna().ge(-MICROSECOND).all()


def test_cohorts_and_completions_count_the_same_events(run: Run) -> None:
    cohorts, completions = by_cohort(run), by_completion(run)
    done = int((run.events["status"] == "PROCESSED").sum())
    assert cohorts["events"].sum() == len(run.events)
    assert cohorts["processed"].sum() == completions["processed"].sum() == done
    assert cohorts["open"].sum() == len(run.events) - done - (run.events["status"] == "EXTINCT").sum()
    assert latency_percentiles(run)["n"].iloc[:-1].sum() == latency_percentiles(run).loc["all", "n"] == done


def test_workers_are_never_busier_than_they_are_many(run: Run) -> None:
    table = utilisation(run)
    assert table["calling"].dropna().between(0.0, 1.0 + 1e-9).all()
    assert table["busy"].dropna().between(0.0, 1.0).all()


def test_the_database_was_asked_and_what_it_was_asked_was_counted(run: Run) -> None:
    # Submit, claim and settle take three transactions at least, though of many events at once.
    assert database_per_event(run) > database_per_event(run, "transactions") > 0


def test_the_lives_of_some_events_tell_every_step_of_theirs_in_order(run: Run) -> None:
    worst = worst_event(run)
    assert worst is not None
    for event_id in {worst[0], *run.events["event_id"].sample(5, replace=True, random_state=1)}:
        life = timeline(run, event_id)
        log = run.transitions[run.transitions["event_id"] == event_id].sort_values("seq")
        assert life.loc[life["what"].isin(MOVES), "t_s"].tolist() == log["at_s"].tolist()
        assert (life["t_s"].diff().dropna() >= -MICROSECOND).all()
        assert life["what"].iloc[0] == "submitted"
        # Whoever queued the row told somebody, unless its sender died in between: not in these files.
        queued = life["what"].isin(["submitted", "requeued", "rescued"]).sum()
        assert (life["what"] == "woken").sum() >= queued


def test_a_row_whose_wake_up_was_lost_is_told_to_have_been_swept() -> None:
    run = shipped("lost_wakeup")
    slow = run.attempts.loc[(run.attempts["claimed_s"] - run.attempts["attempt_no"]).idxmax(), "event_id"]
    event_id, _ = worst_event(run) or (slow, "")
    woken = timeline(run, event_id)
    details = woken.loc[woken["what"] == "woken", "detail"]
    assert details.str.contains("lost").any()
    assert details.str.contains("sweep").any()


def test_the_worst_event_of_a_scenario_is_the_kind_that_it_is_about() -> None:
    about = ("max_retry_extinct", "zombie_worker", "recovery_flow", "stale_read")
    found = {name: (worst_event(shipped(name)) or (0, ""))[1] for name in about}
    assert found["max_retry_extinct"].startswith("EXTINCT after 4 attempts")
    assert found["zombie_worker"].startswith("its side effect happened 2 times")
    assert found["recovery_flow"].startswith("took longest")
    assert found["stale_read"].startswith("took longest, 119 s so far")


def test_a_metric_of_the_storm_is_a_row_of_its_table() -> None:
    run = shipped("recovery_flow")
    ticks = duty(run).loc["retry ticks"]
    from tem_sim.analysis.metrics import metrics

    numbers = metrics(run)
    assert numbers["scheduler_lag_p95_s"] == ticks["lag_p95_s"]
    assert numbers["full_tick_share"] == ticks["full_share"] == 0.0
    assert numbers["latency_p99_s"] == latency_percentiles(run).loc["all", "p99_s"]
    assert math.isnan(numbers["latency_p999_s"])
    assert numbers["queue_age_peak_s"] >= oldest_rows(run, 0.01)["oldest_queued_s"].max()

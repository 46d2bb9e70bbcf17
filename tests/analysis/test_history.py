"""The transition log as arrays."""

from frame_builder import story

from tem_sim.analysis.history import history, tries
from tem_sim.frames import conform


def two_events():
    told = story()
    second = told.event(20)
    first = told.event(10)
    second.claim(1.0).error(1.1, 10.0)
    first.claim(2.0).ok(3.0)
    second.retry(12.0).claim(13.0).error(14.0, 20.0)
    return told.run()


def test_the_history_goes_event_by_event_and_each_in_its_order():
    past = history(two_events())
    assert past.ids.tolist() == [10, 20]
    assert past.event.tolist() == [0] * 3 + [1] * 6
    assert past.at_s.tolist() == [0.0, 2.0, 3.0, 0.0, 1.0, 1.1, 12.0, 13.0, 14.0]
    assert past.first.nonzero()[0].tolist() == [0, 3]
    assert past.last.nonzero()[0].tolist() == [2, 8]


def test_it_counts_per_event():
    past = history(two_events())
    assert past.per_event(past.has("cause", "claim")).tolist() == [1, 2]
    assert past.per_event(past.has("cause", "no such cause")).tolist() == [0, 0]


def test_times_are_made_to_run_forward_within_each_event_and_only_there():
    told = story()
    told.event(1, at_s=10.0).claim(-20.0).ok(12.0)
    told.event(2, at_s=1.0).claim(2.0)
    assert history(told.run()).in_order_s().tolist() == [10.0, 10.0, 12.0, 1.0, 2.0]


def test_attempts_are_found_by_event_and_number():
    run = two_events()
    past = history(run)
    found = tries(run).find(past.event, past.attempt_no)
    assert found[past.has("cause", "submit")].tolist() == [-1, -1]
    rows = run.attempts.iloc[found[past.has("cause", "error")]]
    assert rows[["event_id", "attempt_no"]].values.tolist() == [[20, 1], [20, 2]]


def test_nothing_is_found_among_no_attempts():
    run = story().event(1).story.run()
    past = history(run)
    assert tries(run).find(past.event, past.attempt_no).tolist() == [-1]


def test_the_history_is_built_once_per_run_and_dies_with_it():
    import gc
    import weakref

    run = two_events()
    assert history(run) is history(run)
    ghost = weakref.ref(history(run).order)
    del run
    gc.collect()
    assert ghost() is None


def test_event_ids_of_any_size_are_numbered_densely():
    run = story().event(2**60).claim(1.0).ok(2.0).story.run()
    assert history(run).ids.tolist() == [2**60]
    assert conform("events", run.events)["event_id"].tolist() == [2**60]

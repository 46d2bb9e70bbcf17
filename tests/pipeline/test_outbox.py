"""The outbox: owed from PROCESSED on, published until somebody hears, sent again until acknowledged."""

import pytest
from fake_ports import Channel, DiesAt, Killed, pipeline
from pipeline_ledger import claim, ended, finish, owed, rows, statuses, submission, submit
from sqlalchemy.exc import IntegrityError

from tem_sim.pipeline import lifecycle, outbox
from tem_sim.pipeline.tables import notification
from tem_sim.pipeline.tasks import relay_notifications


def process(store, *numbers):
    submit(store, *numbers)
    finish(store, [ended(event, at=10.0 - event.event_id) for event in claim(store)])


def published(store):
    return {row["event_id"]: row["published_at"] for row in rows(store, notification)}


def test_the_outbox_row_and_the_status_are_written_together_or_not_at_all(store):
    submit(store, 1)
    (claimed,) = claim(store)
    with store.begin() as connection:
        # Makes the outbox insert of event 1 fail, whatever writes it.
        values = {"event_id": 1, "user_id": 7, "dedupe_key": "taken", "created_at": 0.0}
        connection.execute(notification.insert(), values)
    settled = finish(store, [ended(claimed)])
    assert (statuses(store), settled.superseded) == (["PROCESSING"], 1)


def test_a_notification_that_reached_a_subscriber_is_published_once(store):
    process(store, 1)
    channel = Channel()
    pipe = pipeline(store, publisher=channel)
    pipe.clock.t = 20.0
    assert (relay_notifications(pipe), relay_notifications(pipe)) == (1, 0)
    assert [note.dedupe_key for note in channel.said] == ["event-1-processed"]
    assert published(store) == {1: 20.0}


def test_a_notification_that_nobody_heard_stays_owed(store):
    process(store, 1)
    channel = Channel(subscribers=0)
    pipe = pipeline(store, publisher=channel)
    assert relay_notifications(pipe) == 0
    assert published(store) == {1: None}
    channel.subscribers = 2
    assert relay_notifications(pipe) == 1


def test_when_redis_is_away_everything_stays_owed(store):
    process(store, 1, 2)
    assert relay_notifications(pipeline(store, publisher=Channel(down=True))) == 0
    assert published(store) == {1: None, 2: None}


def test_a_crash_between_publish_and_mark_publishes_again_under_the_same_key(store):
    process(store, 1)
    channel = Channel()
    with pytest.raises(Killed):
        relay_notifications(pipeline(store, publisher=channel, failpoints=DiesAt("after_publish", 1)))
    assert relay_notifications(pipeline(store, publisher=channel)) == 1
    assert [note.dedupe_key for note in channel.said] == ["event-1-processed"] * 2


def test_the_oldest_are_published_first_and_no_more_than_asked_for(store):
    process(store, 1, 2, 3)
    assert [note.event_id for note in outbox.unpublished(store, 2)] == [3, 2]


def test_a_second_mark_does_not_move_the_first(store):
    process(store, 1)
    outbox.mark_published(store, [1], now=20.0)
    outbox.mark_published(store, [1], now=30.0)
    assert published(store) == {1: 20.0}


def test_what_is_not_acknowledged_is_sent_again_to_its_user_only(store):
    lifecycle.submit(store, [submission(n, user_id=n) for n in (1, 2, 3, 4)], now=0.0, actor="api")
    finish(store, [ended(event) for event in claim(store)])
    outbox.mark_published(store, [1, 2, 3], now=3.0)
    outbox.acknowledge(store, [2], now=4.0)
    again = [note.event_id for note in outbox.unacknowledged(store, [1, 2, 4])]
    # 2 is acknowledged, 3 is another user's; of 4 a relay may have published and not said so yet.
    assert again == [1, 4]


def test_what_is_sent_again_comes_by_user_and_event(store):
    lifecycle.submit(store, [submission(n, user_id=9 - n % 2) for n in (4, 3, 2, 1)], now=0.0, actor="api")
    finish(store, [ended(event) for event in claim(store)])
    outbox.mark_published(store, [1, 2, 3, 4], now=3.0)
    assert [note.event_id for note in outbox.unacknowledged(store, [9, 8])] == [1, 3, 2, 4]


def test_an_acknowledgement_is_kept_as_it_came_first(store):
    process(store, 1)
    outbox.acknowledge(store, [1], now=4.0)
    outbox.acknowledge(store, [1], now=5.0)
    assert [row["acked_at"] for row in rows(store, notification)] == [4.0]


def test_nothing_to_mark_and_nobody_to_tell_is_no_error(store):
    outbox.mark_published(store, [], now=0.0)
    outbox.acknowledge(store, [], now=0.0)
    assert outbox.unacknowledged(store, []) == []
    assert relay_notifications(pipeline(store)) == 0


def test_the_store_takes_no_second_notification_for_an_event_or_a_key(store):
    process(store, 1, 2)
    submit(store, 3)
    for clash in ({"event_id": 1, "dedupe_key": "new"}, {"event_id": 3, "dedupe_key": "event-1-processed"}):
        with pytest.raises(IntegrityError), store.begin() as connection:
            connection.execute(notification.insert(), {"user_id": 7, "created_at": 0.0, **clash})
    assert owed(store) == [1, 2]


def test_of_each_user_no_more_is_read_than_asked_for_the_lowest_ids_first(store):
    lifecycle.submit(store, [submission(n, user_id=9 - n % 2) for n in range(1, 9)], now=0.0, actor="api")
    finish(store, [ended(event) for event in claim(store)])
    outbox.acknowledge(store, [1], now=4.0)
    assert [note.event_id for note in outbox.first_unacknowledged(store, [9, 8, 7], 2)] == [3, 5, 2, 4]
    assert outbox.first_unacknowledged(store, [8, 9], 9) == outbox.unacknowledged(store, [8, 9])
    assert outbox.first_unacknowledged(store, [], 9) == []


def test_what_was_acknowledged_meanwhile_is_known(store):
    process(store, 1, 2, 3)
    outbox.acknowledge(store, [2], now=4.0)
    assert outbox.still_unacknowledged(store, [1, 2, 3, 4]) == {1, 3}
    assert outbox.still_unacknowledged(store, []) == set()

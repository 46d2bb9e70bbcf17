"""The task queue: order, prefetch, acknowledgements, redelivery, restarts and losses."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tem_sim.pipeline.ports import Unavailable
from tem_sim.scenario.streams import Streams
from tem_sim.sim.broker import Consumer, SimBroker
from tem_sim.sim.kernel import Kernel

Seen = list[tuple[float, int]]


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


def queue(
    kernel: Kernel, visibility_timeout_s: float = 3600.0, sweep_every_s: float = 100.0, loss: float = 0.0
) -> SimBroker:
    return SimBroker(
        kernel,
        visibility_timeout_s=visibility_timeout_s,
        sweep_every_s=sweep_every_s,
        loss=loss,
        luck=Streams(1).stream("wakeup-loss"),
    )


def slot(kernel: Kernel, consumer: Consumer, seen: Seen, work_s: float = 1.0, early: bool = True) -> Callable[[], None]:
    def body() -> None:
        while True:
            message = consumer.take()
            seen.append((kernel.now, message.number))
            if early:
                consumer.ack(message)
            kernel.sleep(work_s)
            if not early:
                consumer.ack(message)

    return body


def test_messages_come_out_in_the_order_in_which_they_went_in(kernel: Kernel) -> None:
    broker, seen = queue(kernel), Seen()
    broker.send(3)
    consumer = broker.connect("w", 1)
    kernel.node("w").spawn("0", slot(kernel, consumer, seen))
    kernel.call_later(0.5, lambda: broker.send(2))
    kernel.run(10)
    assert seen == [(0.0, 1), (1.0, 2), (2.0, 3), (3.0, 4), (4.0, 5)]


def test_a_consumer_holds_no_more_than_its_prefetch(kernel: Kernel) -> None:
    broker = queue(kernel)
    consumer = broker.connect("w", 3)
    broker.send(5)
    assert (len(consumer.unacked), len(broker.ready), broker.unacked) == (3, 2, 3)


def test_acknowledging_makes_room_for_the_next(kernel: Kernel) -> None:
    broker, seen = queue(kernel), Seen()
    late = broker.connect("late", 1)
    kernel.node("late").spawn("0", slot(kernel, late, seen, early=False))
    broker.send(3)
    kernel.run(0.5)
    assert (len(broker.ready), broker.unacked) == (2, 1)
    kernel.run(1.5)
    assert (len(broker.ready), broker.unacked) == (1, 1)


def test_messages_go_to_those_who_hold_the_fewest(kernel: Kernel) -> None:
    broker = queue(kernel)
    consumers = [broker.connect(name, 4) for name in ("a", "b", "c")]
    broker.send(7)
    assert [len(consumer.unacked) for consumer in consumers] == [3, 2, 2]
    assert list(consumers[1].unacked) == [2, 5]


def test_a_frozen_worker_hoards_what_it_has_prefetched(kernel: Kernel) -> None:
    broker, frozen_saw, other_saw = queue(kernel), Seen(), Seen()
    frozen, other = broker.connect("frozen", 4), broker.connect("other", 1)
    kernel.node("frozen").spawn("0", slot(kernel, frozen, frozen_saw))
    kernel.node("other").spawn("0", slot(kernel, other, other_saw))
    kernel.run(0)
    kernel.node("frozen").pause(30.0)
    broker.send(10)
    kernel.run(60)
    # Four were bound to the frozen one, and wait for it; the other does the rest.
    assert [at for at, _ in frozen_saw] == [30.0, 31.0, 32.0, 33.0]
    assert len(other_saw) == 6
    assert max(at for at, _ in other_saw) < 10.0


@pytest.mark.parametrize("early", [True, False])
def test_a_worker_that_dies_leaves_what_it_had_not_acknowledged_to_the_visibility_timeout(
    kernel: Kernel, early: bool
) -> None:
    broker, seen = queue(kernel, visibility_timeout_s=20.0, sweep_every_s=15.0), Seen()
    consumer = broker.connect("w", 1)
    kernel.node("w").on_death.append(lambda: broker.abandon(consumer))
    kernel.node("w").spawn("0", slot(kernel, consumer, seen, work_s=5.0, early=early))
    broker.send(1)
    kernel.call_later(1.0, kernel.node("w").kill)

    def second() -> None:
        kernel.node("v").spawn("0", slot(kernel, broker.connect("v", 1), seen, work_s=5.0))

    kernel.call_later(2.0, second)
    kernel.run(1.0)
    assert broker.unacked == (0 if early else 1)
    kernel.run(100)
    # Acknowledged early it is gone with its worker; late, it is back at the first sweep after 20 s, which is at 30 s.
    assert seen == ([(0.0, 1)] if early else [(0.0, 1), (30.0, 1)])


def test_a_task_longer_than_the_visibility_timeout_runs_twice_at_the_same_time(kernel: Kernel) -> None:
    broker, seen = queue(kernel, visibility_timeout_s=10.0, sweep_every_s=4.0), Seen()
    for name in ("a", "b"):
        kernel.node(name).spawn("0", slot(kernel, broker.connect(name, 1), seen, work_s=15.0, early=False))
    broker.send(1)
    kernel.run(14.0)
    assert seen == [(0.0, 1), (12.0, 1)]


def test_a_redelivered_message_says_so(kernel: Kernel) -> None:
    broker = queue(kernel, visibility_timeout_s=10.0, sweep_every_s=5.0)
    broker.connect("w", 1)
    broker.send(1)
    kernel.run(10.0)
    assert [(message.number, message.redelivered) for message in broker.ready] == [(1, True)]


def test_a_restart_with_its_messages_returns_them_to_the_head_of_the_queue(kernel: Kernel) -> None:
    broker = queue(kernel)
    consumer = broker.connect("w", 2)
    broker.send(4)
    assert broker.stop(keep_messages=True) == 0
    assert [message.number for message in broker.ready] == [1, 2, 3, 4]
    assert [message.redelivered for message in broker.ready] == [True, True, False, False]
    assert consumer.unacked == {}
    broker.start()
    assert list(consumer.unacked) == [1, 2]


def test_a_restart_without_its_messages_loses_those_delivered_too(kernel: Kernel) -> None:
    broker = queue(kernel)
    consumer = broker.connect("w", 1)
    dead = broker.connect("dead", 1)
    broker.send(5)
    broker.abandon(dead)
    assert broker.stop(keep_messages=False) == 5
    broker.start()
    assert (len(broker.ready), broker.unacked, consumer.unacked) == (0, 0, {})


def test_a_broker_that_is_down_refuses_and_delivers_nothing(kernel: Kernel) -> None:
    broker = queue(kernel)
    broker.send(1)
    broker.stop(keep_messages=True)
    consumer = broker.connect("booted meanwhile", 4)
    with pytest.raises(Unavailable):
        broker.send(1)
    assert consumer.unacked == {}
    broker.start()
    assert len(consumer.unacked) == 1


def test_of_overlapping_restarts_the_last_one_counts(kernel: Kernel) -> None:
    broker = queue(kernel)
    broker.stop(keep_messages=True)
    broker.stop(keep_messages=True)
    broker.start()
    assert not broker.up
    broker.start()
    assert broker.up


def test_acknowledging_what_the_broker_took_back_does_nothing(kernel: Kernel) -> None:
    broker, seen = queue(kernel), Seen()
    consumer = broker.connect("w", 1)
    kernel.node("w").spawn("0", slot(kernel, consumer, seen, work_s=5.0, early=False))
    broker.send(1)
    kernel.run(1.0)
    broker.stop(keep_messages=True)
    broker.start()
    kernel.run(7.0)
    assert seen == [(0.0, 1), (5.0, 1)]


def test_messages_get_lost_on_the_way_as_often_as_the_scenario_says(kernel: Kernel) -> None:
    broker = queue(kernel, loss=0.3)
    lost = broker.send(10_000)
    assert lost + len(broker.ready) == 10_000
    assert lost / 10_000 == pytest.approx(0.3, abs=4 * (0.3 * 0.7 / 10_000) ** 0.5)


def test_a_second_loss_leaves_the_luck_of_the_first_alone(kernel: Kernel) -> None:
    alone, both = queue(kernel, loss=0.3), queue(kernel, loss=0.3)
    both.losses.append((0.5, Streams(1).stream("fault", 0)))
    alone.send(1000)
    both.send(1000)
    survived_both = {message.number for message in both.ready}
    assert survived_both < {message.number for message in alone.ready}

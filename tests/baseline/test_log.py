"""Where two transition logs part, and what a baseline keeps of one."""

import pytest
from baseline_cases import LOG
from hypothesis import given, settings
from hypothesis import strategies as st

from tem_sim.baseline.log import kept, packed, parting, unpacked


def row(micros: int, event: int, actor: str = "worker-1", after: str = "PROCESSING") -> str:
    return f"{micros}|{event}|QUEUED|{after}|claim|{actor}|1"


def test_equal_logs_do_not_part():
    assert parting(kept(LOG), LOG) is None
    assert parting(kept(LOG, first=2), LOG) is None


def test_the_first_differing_transition_is_told_with_both_sides():
    new = (*LOG[:3], LOG[3].replace("worker-1", "worker-2"), *LOG[4:])
    found = parting(kept(LOG), new)
    assert str(found) == (
        "the first transition that differs is number 2 of event 1: "
        "was QUEUED → PROCESSING at 4.000000 s (claim, by worker-1), "
        "is QUEUED → PROCESSING at 4.000000 s (claim, by worker-2)"
    )


def test_of_an_event_that_came_earlier_its_own_transition_is_shown_on_both_sides():
    old = [row(1_000_000, 7), row(2_000_000, 8)]
    new = [row(500_000, 8), row(1_000_000, 7)]
    found = parting(kept(old), new)
    assert (found.event, found.number, found.old.at_s, found.new.at_s) == (8, 1, 2.0, 0.5)


def test_a_transition_that_is_there_no_more_was_something_and_is_none():
    found = parting(kept(LOG), LOG[:-1])
    assert (found.old.at_s, found.new) == (6.0, None)
    assert str(found).endswith("is none")


def test_a_transition_that_is_new_was_none():
    found = parting(kept(LOG[:-1]), LOG)
    assert (found.old, found.new.at_s) == (None, 6.0)


def test_beyond_the_rows_that_were_kept_the_times_are_told_between_which_it_lies():
    old = [row(n * 1_000_000, n) for n in range(300)]
    new = [*old[:200], row(200_500_000, 200), *old[201:]]
    found = parting(kept(old, first=50), new)
    assert not found.kept
    assert found.after_s <= 200.0 <= found.before_s
    assert "lies between 192.000000 s and 255.000000 s" in str(found)


def test_an_actor_may_have_a_bar_in_its_name():
    old, new = [row(1, 1, actor="a|b")], [row(1, 1, actor="a|c")]
    assert parting(kept(old), new).old.actor == "a|b"


logs = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=150).map(
    lambda rows: [row(n * 1000 + at, event) for n, (at, event) in enumerate(rows)]
)


@settings(max_examples=100, deadline=None)
@given(logs, logs, st.integers(0, 40))
def test_logs_part_exactly_where_they_differ(old, new, first):
    assert (parting(kept(old, first), new) is None) == (old == new)


def test_what_is_packed_comes_out_again():
    assert unpacked(packed(LOG)) == LOG
    assert unpacked(packed(())) == ()
    with pytest.raises(ValueError, match=r"base85|header"):
        unpacked("no such text")

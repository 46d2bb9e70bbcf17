"""How schedules are explored, on toy threads whose interleavings are known: counts, certificates, soundness."""

import random
from math import comb, factorial

import pytest

from tem_sim.races.dependence import Access
from tem_sim.races.explore import NotDeterministicError, bounded, exhaustive
from tem_sim.sim.schedules import Strategy

# What one step does to a variable: it adds to it what it reads from another, or only notes what it sees.
Step = tuple[str, str]
Programs = dict[str, list[Step]]


class Toy:
    """Threads that read and write variables; each step is `("r", x)`, `("w", x)`, `("lock", "")` or `("free", "")`."""

    def __init__(self, programs: Programs) -> None:
        self.programs = programs
        self.at: dict[str, int] = {}
        self.chosen = ""
        self.locked_by: str | None = None

    def play(self, strategy: Strategy) -> tuple[tuple[str, ...], object]:
        self.at = dict.fromkeys(self.programs, 0)
        self.locked_by = None
        state: dict[str, tuple[str, ...]] = {}
        seen: dict[str, list[object]] = {name: [] for name in self.programs}
        order: list[str] = []
        while ready := [name for name, steps in self.programs.items() if self.at[name] < len(steps)]:
            default = order[-1] if order and order[-1] in ready else ready[0]
            name = self.chosen = strategy.choose(len(order) + 1, ready, default)
            kind, variable = self.programs[name][self.at[name]]
            assert self.locked_by in (None, name) or kind != "lock", "a thread went on that was blocked"
            if kind == "r":
                seen[name].append(state.get(variable, ()))
            elif kind == "w":
                state[variable] = (*state.get(variable, ()), name)
            else:
                self.locked_by = name if kind == "lock" else None
            self.at[name] += 1
            order.append(name)
        return tuple(order), (sorted(state.items()), sorted((name, tuple(rows)) for name, rows in seen.items()))

    def access(self) -> Access:
        kind, variable = self.programs[self.chosen][self.at[self.chosen] - 1]
        touched = frozenset({variable})
        return Access(touched, frozenset()) if kind == "r" else Access(frozenset(), touched)

    def holder(self, name: str) -> str | None:
        wants = self.programs[name][self.at[name]][0] == "lock"
        return self.locked_by if wants and self.locked_by != name else None


def explored(programs: Programs, **how: bool) -> tuple[int, set[tuple[str, ...]], set[str], bool]:
    """Return the number of schedules, the schedules, what they ended in, and whether there are no others."""
    orders: list[tuple[str, ...]] = []
    ends: set[str] = set()

    def see(played: tuple[tuple[str, ...], object]) -> None:
        orders.append(played[0])
        ends.add(repr(played[1]))

    found = exhaustive(Toy(programs), see, budget=100_000, **how)
    assert found.schedules == len(orders)
    return found.schedules, set(orders), ends, found.complete


def writers(*lengths: int) -> Programs:
    return {f"t{n}": [("w", "x")] * length for n, length in enumerate(lengths)}


@pytest.mark.parametrize(
    ("programs", "unreduced", "reduced"),
    [
        (writers(1, 1), 2, 2),
        (writers(3, 4), comb(7, 3), comb(7, 3)),
        (writers(2, 2, 2), factorial(6) // 8, factorial(6) // 8),
        ({"a": [("w", "x")] * 3, "b": [("w", "y")] * 4}, comb(7, 3), 1),
        ({"a": [("r", "x")] * 3, "b": [("r", "x")] * 3}, comb(6, 3), 1),
        # The one write comes before, between or after the two reads.
        ({"a": [("w", "x")], "b": [("r", "x"), ("r", "x")]}, 3, 3),
        ({"a": [("r", "y"), ("w", "x")], "b": [("r", "x"), ("r", "z")]}, comb(4, 2), 2),
        # Each holds the lock from its first to its last step, so that all there is is who comes first.
        ({name: [("lock", "L"), ("w", "x"), ("free", "L")] for name in "ab"}, 2, 2),
        ({name: [("lock", "L"), ("w", "x"), ("free", "L")] for name in "abc"}, 6, 6),
        # Two who lock and one that looks in between: it sees none, one or both.
        (
            {"a": [("lock", "L"), ("w", "x"), ("free", "L")], "b": [("r", "x")]},
            4,
            2,
        ),
    ],
)
def test_the_number_of_interleavings_is_known(programs: Programs, unreduced: int, reduced: int) -> None:
    number, orders, _, complete = explored(programs, reduce=False)
    assert (number, len(orders), complete) == (unreduced, unreduced, True)
    number, orders, _, complete = explored(programs)
    assert (number, len(orders), complete) == (reduced, reduced, True)


def drawn(luck: random.Random) -> Programs:
    """Draw two or three threads of up to four steps on three variables, some of them under a lock."""
    programs: Programs = {}
    for name in "abc"[: luck.choice((2, 2, 3))]:
        steps = [(luck.choice("rrw"), luck.choice("xyz")) for _ in range(luck.randint(1, 3 if name == "c" else 4))]
        if luck.random() < 0.4:
            end = luck.randint(1, len(steps))
            steps = [("lock", "L"), *steps[:end], ("free", "L"), *steps[end:]]
        programs[name] = steps
    return programs


@pytest.mark.parametrize("seed", range(60))
def test_the_reduction_loses_no_end(seed: int) -> None:
    programs = drawn(random.Random(seed))
    while sum(map(len, programs.values())) > 11:
        programs.popitem()
    all_, _, ends, complete = explored(programs, reduce=False)
    some, orders, reduced_ends, reduced_complete = explored(programs)
    assert complete
    assert reduced_complete
    assert reduced_ends == ends
    assert some == len(orders) <= all_


def test_a_wrong_dependence_would_be_noticed() -> None:
    class Blind(Toy):
        def access(self) -> Access:
            return Access(frozenset(), frozenset())

    ends: set[str] = set()
    exhaustive(Blind(writers(1, 1)), lambda played: ends.add(repr(played[1])), budget=100)
    assert len(ends) == 1
    assert len(explored(writers(1, 1))[2]) == 2


def test_a_search_that_is_cut_short_says_so() -> None:
    found = exhaustive(Toy(writers(3, 3)), lambda played: None, budget=comb(6, 3) - 1)
    assert (found.schedules, found.complete) == (comb(6, 3) - 1, False)
    assert exhaustive(Toy(writers(3, 3)), lambda played: None, budget=comb(6, 3)).complete


@pytest.mark.parametrize(
    ("deviations", "schedules"),
    [
        # a a b b; b first; after one a, b.
        (0, 1),
        (1, 3),
        # As a deviation from a deviation: b a… and a b a….
        (9, comb(4, 2)),
    ],
)
def test_bounded_runs_all_schedules_with_so_many_deviations(deviations: int, schedules: int) -> None:
    orders: list[tuple[str, ...]] = []
    found = bounded(Toy(writers(2, 2)), lambda played: orders.append(played[0]), deviations=deviations, budget=1000)
    assert (found.schedules, found.complete) == (schedules, True)
    assert len(set(orders)) == schedules
    assert orders[0] == ("t0", "t0", "t1", "t1")


def test_bounded_is_no_certificate_when_it_is_cut_short() -> None:
    assert not bounded(Toy(writers(2, 2)), lambda played: None, deviations=2, budget=2).complete


def test_what_is_no_function_of_its_schedule_is_refused() -> None:
    class Moody(Toy):
        plays = 0

        def play(self, strategy: Strategy) -> tuple[tuple[str, ...], object]:
            self.plays += 1
            self.programs = writers(2, 2) if self.plays < 3 else {"t0": [("w", "x")] * 3}
            return super().play(strategy)

    with pytest.raises(NotDeterministicError, match="could go on before"):
        exhaustive(Moody({}), lambda played: None, budget=100)

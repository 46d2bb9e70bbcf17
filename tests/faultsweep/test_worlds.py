"""Random worlds: the same by their seed, of every mood, and in each what is promised holds."""

from tem_sim.faultsweep.judged import attempt
from tem_sim.faultsweep.worlds import _MAKE, MOST_FAULTS, worlds
from tem_sim.scenario.loader import loads

SOME = range(1, 201)


def test_a_seed_is_a_world_and_between_them_they_have_every_kind_and_every_mood():
    made = [worlds(seed) for seed in SOME]
    assert made[:5] == [worlds(seed) for seed in SOME[:5]]
    assert {fault.kind for one in made for fault in one.faults} == set(_MAKE)
    counts = [len(one.faults) for one in made]
    assert 5 < counts.count(0) < 40
    assert 5 < sum(count > MOST_FAULTS for count in counts) < 40
    assert {one.store.interleave for one in made} == {"transaction", "statement"}


def test_a_scenarios_own_settings_are_kept():
    own = loads("scenario: own\narrivals: {kind: burst, events: 3}\npipeline: {lease: 7s}\n")
    assert {worlds(seed, own).pipeline.lease_s for seed in SOME[:20]} == {7.0}
    assert any(worlds(seed, own).faults for seed in SOME[:20])


def test_nothing_breaks_in_the_first_worlds():
    tried = {seed: attempt(worlds(seed)) for seed in SOME[:6]}
    assert {seed: one.broken for seed, one in tried.items() if one.broken} == {}

"""Which policies are compared, under which names and seeds."""

import pytest

from tem_sim.analysis.lineup import jitters, lineup, retrying
from tem_sim.pipeline.backoff import Backoff, Fixed, Full
from tem_sim.pipeline.presets import PRESETS
from tem_sim.scenario.seeds import seed_list


def test_policies_come_by_mapping_by_preset_or_by_their_own_name():
    own = Backoff(Fixed(1), name="own")
    assert lineup({"a": own}) == {"a": own}
    assert lineup(["sidekiq", own]) == {"sidekiq": PRESETS["sidekiq"].policy, "own": own}
    assert lineup({"theirs": "sidekiq"}) == {"theirs": PRESETS["sidekiq"].policy}
    assert lineup("sidekiq") == {"sidekiq": PRESETS["sidekiq"].policy}
    assert lineup(own) == {"own": own}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([], "at least one"),
        ("sidekik", "did you mean 'sidekiq'"),
        (["sidekiq", "sidekiq"], "two are named 'sidekiq'"),
        (Backoff(Fixed(1), Full()), "has no name; hand in a mapping"),
    ],
)
def test_what_cannot_be_told_apart_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        lineup(wrong)


def test_there_is_nothing_to_see_of_a_policy_that_makes_no_retries():
    with pytest.raises(ValueError, match="never makes no retries; leave it out"):
        retrying({"never": Backoff(Fixed(1), max_retries=0)})
    assert retrying("sidekiq") == lineup("sidekiq")


def test_the_jitters_share_one_growth_and_differ_in_mean_as_1_to_three_quarters_to_a_half():
    of = jitters(base_s=8.0)
    assert [of[kind].mean_s(2) for kind in ("none", "equal", "full")] == [16.0, 12.0, 8.0]


def test_seeds_are_how_many_or_which():
    assert seed_list(3) == (1, 2, 3)
    assert seed_list([7, 5]) == (7, 5)
    for wrong in (0, [], [1, 1]):
        with pytest.raises(ValueError, match="seeds"):
            seed_list(wrong)

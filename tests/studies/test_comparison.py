"""Variants against the first of them: the table is the replications', and the verdict says what it shows."""

import math

from small_storm import storm

from tem_sim.scenario.variants import variants_of
from tem_sim.studies.cells import Row
from tem_sim.studies.comparison import JITTERS, compare, compare_jitters
from tem_sim.studies.replications import Replications, replicate


def test_jitters_are_compared_with_the_first_in_pairs():
    found = compare_jitters(storm(), ["none", "full"], seeds=2, measures=["drain_s", "retry_peak_per_s"], jobs=1)
    again = replicate(variants_of(storm(), "pipeline.backoff.jitter", ["none", "full"]), 2, jobs=1)
    expected = again.compare("none", measures=["drain_s", "retry_peak_per_s"])
    assert found.table.equals(expected)
    assert found.verdict.startswith("Least drain_s (s): ")


def test_every_jitter_of_the_default_needs_no_further_setting():
    made = variants_of(storm(), "pipeline.backoff.jitter", JITTERS)
    assert [scenario.pipeline.backoff.jitter.kind for scenario in made.values()] == list(JITTERS)


def luck(names, seeds, **_):
    """Rows as two variants would make them: `late` waits 5 s longer, `odd` differs in few seeds only."""
    rows = []
    for late, name in enumerate(names):
        for seed in range(1, seeds + 1):
            wait_s = 0.1 * seed + 5 * late + 0.01 * (seed % 2) * late
            rows.append(Row(name, seed, {"wait_s": wait_s, "odd": seed % 2 * (2.0 - late), "gone_s": math.nan}))
    return Replications.of(rows)


def test_the_verdict_names_who_has_least_and_how_sure_that_is(monkeypatch):
    monkeypatch.setattr("tem_sim.studies.comparison.replicate", luck)
    both = dict.fromkeys(["first", "late"], storm())
    found = compare(both, 10, measures=["wait_s", "odd", "gone_s"])
    assert found.verdict == (
        "Least wait_s (s): first, 0.55. Least odd: late, 0.5, -0.5 [-0.877, -0.123] from first. No run has a gone_s."
    )
    doubtful = compare(both, 3, measures=["odd"])
    assert doubtful.verdict == (
        "Least odd: late, 0.6667, -0.6667 [-2.101, 0.7676] from first, which luck alone may make."
    )

"""What is said of a file with mistakes: all of it, each in its place, with what was meant."""

import pytest
from scenario_text import MINIMAL, headlines_of, problems_of


def test_a_mistake_is_shown_with_place_path_rule_value_line_and_caret() -> None:
    (problem,) = problems_of(MINIMAL + "faults:\n  - {kind: outage, at: 0s, for: -5s}\n")
    assert str(problem).splitlines() == [
        "small.yaml:4:33: faults[0].for: must be > 0; write a duration such as 250ms, 10s or 1h30m; "
        "a bare number is seconds (got -5s)",
        "      - {kind: outage, at: 0s, for: -5s}",
        "                                    ^^^",
    ]


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    text = """\
scenario: many
horizn: 5m
horizon: 60s
arrivals:
  - {kind: poison, rate: 20/s}
  - {rate: 20/s}
  - {kind: poisson, rate: .nan}
pipeline:
  backof: {}
  lease: 60s
  lease: 3s
  write_guard: fence
  sweep_after:
workers: {count: 2}
handler: {service_time: {kind: lognormal, mean: 20ms, cv: -1}}
faults:
  - {kind: outage, at: 70s, for: 5s}
  - {kind: worker_pause, target: worker-3, for: 1, edge: before_cliam}
"""
    told = [(problem.line, problem.col, problem.path) for problem in problems_of(text)]
    assert told == [
        (2, 1, "horizn"),
        (5, 12, "arrivals[0].kind"),
        (6, 5, "arrivals[1].kind"),
        (7, 27, "arrivals[2].rate"),
        (9, 3, "pipeline.backof"),
        (11, 3, "pipeline.lease"),
        (12, 16, "pipeline.write_guard"),
        (13, 3, "pipeline.sweep_after"),
        (15, 59, "handler.service_time.cv"),
        (17, 24, "faults[0].at"),
        (18, 34, "faults[1].target"),
        (18, 58, "faults[1].edge"),
    ]


@pytest.mark.parametrize(
    ("section", "hint"),
    [
        ("pipelin: {}", "did you mean pipeline?"),
        ("pipeline: {write_guard: refersh}", "did you mean refresh?"),
        ("pipeline: {backoff: {growth: exponentiel}}", "did you mean exponential?"),
        ("pipeline: {backoff: {growth: fixed, bas: 3}}", "did you mean base?"),
        ("pipeline: {backoff: {jitter: fulll}}", "did you mean full?"),
        ("pipeline: {backoff: {jitter: {kind: additive, with: 3}}}", "did you mean width?"),
        ("pipeline: {backoff: {preset: sidekik}}", "did you mean sidekiq?"),
        ("pipeline: {backoff: {preset: sidekiq, max_retrys: 3}}", "did you mean max_retries?"),
        ("faults: [{kind: outtage, at: 1, for: 2}]", "did you mean outage?"),
        ("faults: [{kind: outage, at: 1, fro: 2, for: 2}]", "did you mean for?"),
        ("faults: [{kind: worker_pause, target: worker1, at: 1, for: 2}]", "did you mean worker-1?"),
        ("handler: {kinds: {normall: {effect: fail}}}", "did you mean normal?"),
        ("handler: {kinds: {normal: {efect: fail}}}", "did you mean effect?"),
        ("handler: {service_time: {kind: exponential, maen: 3}}", "did you mean mean?"),
        (
            "store: {nodes: {worker-9: {commit_latency: 3ms}}, interleave: statement}",
            "did you mean worker-4?",
        ),
        (
            "store: {interleave: statement, schedule: {strategy: replay, deviations: {3: wurker-1/0}}}",
            "did you mean worker-1?",
        ),
        (
            "store: {interleave: statement, schedule: {strategy: exhaustive}}",
            "a run follows one schedule; `tem-sim races` searches them exhaustively",
        ),
        ("store: {interleave: statement, schedule: {strategy: bouned}}", "did you mean bounded?"),
        (
            "users: {colour: blue}",
            "known here are count, connected, session, away, latency, pubsub_latency, heartbeat, resend_after",
        ),
    ],
)
def test_a_slip_of_the_pen_is_met_with_what_was_meant(section: str, hint: str) -> None:
    assert hint in [problem.hint for problem in problems_of(f"{MINIMAL}{section}\n")]


@pytest.mark.parametrize(
    ("section", "path", "rule"),
    [
        ("horizon: .inf", "horizon", "finite"),
        ("horizon: 0s", "horizon", "must be > 0"),
        ("seed: -1", "seed", "whole number >= 0"),
        ("seed: 1.5", "seed", "whole number >= 0"),
        ("events: {kinds: {a: 0}}", "events.kinds.a", "> 0"),
        ("events: {kinds: {a: .nan}}", "events.kinds.a", "finite"),
        ("events: {kinds: {}}", "events.kinds", "at least one kind"),
        ("pipeline: {lease: false}", "pipeline.lease", "write off"),
        ("pipeline: {outbox: perhaps}", "pipeline.outbox", "true or false"),
        ("pipeline: {outbox: yes}", "pipeline.outbox", "true or false"),
        ("broker: {durable: 1}", "broker.durable", "true or false"),
        ("pipeline: {backoff: {jitter: additive}}", "pipeline.backoff.jitter.width", "{kind: additive, width: ...}"),
        ("pipeline: [1]", "pipeline", "mapping"),
        ("pipeline: {backoff: {base: 10s, cap: 5s}}", "pipeline.backoff.cap", "at least the first wait (10 s)"),
        ("pipeline: {backoff: {preset: sidekiq, cap: 5s}}", "pipeline.backoff.cap", "has no cap"),
        ("pipeline: {backoff: {factor: 0.5}}", "pipeline.backoff.factor", ">= 1"),
        ("pipeline: {backoff: {growth: explicit, delays: []}}", "pipeline.backoff.delays", "at least one item"),
        ("workers: {count: 0}", "workers.count", "from 1 to 10000"),
        ("workers: {count: true}", "workers.count", "from 1 to 10000"),
        ("broker: {loss: 1.5}", "broker.loss", "between 0 and 1"),
        ("handler: {service_time: {kind: uniform, low: 2s, high: 1s}}", "handler.service_time.high", "above low"),
        (
            "store: {nodes: {workers: {}}}",
            "store.nodes.workers",
            "is no node of this scenario: worker-1, ..., worker-4",
        ),
        ("store: {nodes: {beat-2: {}}}", "store.nodes.beat-2", "is no node of this scenario"),
        ("store: {schedule: {strategy: exhaustive}}", "store.schedule.strategy", "one of random, walk, pct, bounded"),
        ("store: {schedule: {changes: 3}}", "store.schedule.strategy", "is required; one of random, walk, pct"),
        ("store: {schedule: {strategy: pct, changes: -1}}", "store.schedule.changes", "whole number >= 0"),
        (
            "store: {interleave: statement, schedule: {strategy: replay, deviations: {x: worker-1/0}}}",
            "store.schedule.deviations",
            "must have whole numbers >= 0, the steps, as its keys, such as {12: worker-2/0}; not x",
        ),
        (
            "store: {interleave: statement, schedule: {strategy: replay, deviations: {3: worker-5/0}}}",
            "store.schedule.deviations.3",
            "worker-5 is no node of this scenario",
        ),
        ("faults: {kind: outage}", "faults", "must be a list"),
        ("faults: [outage]", "faults[0]", "mapping"),
        ("faults: [{at: 1s, for: 2s}]", "faults[0].kind", "one of outage, broker_restart"),
        ("handler: {service_time: {mean: 3}}", "handler.service_time.kind", "one of constant, uniform"),
        ("faults: [{kind: outage, at: 601s, for: 1s}]", "faults[0].at", "before the horizon (600 s)"),
        ("faults: [{kind: outage, at: 1s}]", "faults[0].for", "is required"),
        ("faults: [{kind: outage, at: 1s, for: 1s, target: beat}]", "faults[0].target", "only handler"),
        ("faults: [{kind: clock_skew, target: redis, at: 1, for: 1}]", "faults[0].target", "cannot strike"),
        ("faults: [{kind: worker_death, target: beat-2, at: 1}]", "faults[0].target", "must be a node"),
        ("faults: [{kind: worker_death, target: worker-1}]", "faults[0]", "one trigger"),
        ("faults: [{kind: worker_death, target: worker-1, at: 1, rate: 1/s}]", "faults[0].rate", "one trigger"),
        ("faults: [{kind: worker_death, target: worker-1, at: 1, nth: 2}]", "faults[0].nth", "edge only"),
        ("faults: [{kind: worker_death, target: worker-1, at: 1, until: 2}]", "faults[0].until", "rate only"),
        (
            "faults: [{kind: worker_death, target: workers, rate: 1/s, from: 9, until: 2}]",
            "faults[0].until",
            "after from",
        ),
        (
            "faults: [{kind: worker_death, target: workers, rate: 1/s, from: 11m}]",
            "faults[0].from",
            "before the horizon",
        ),
        ("expect: {violations: [3]}", "expect.violations[0]", "quotes"),
    ],
)
def test_a_broken_rule_is_named_where_it_is_broken(section: str, path: str, rule: str) -> None:
    (problem,) = problems_of(f"{MINIMAL}{section}\n")
    assert problem.path == path
    assert rule in problem.message
    assert problem.line == 3


@pytest.mark.parametrize(
    ("arrivals", "path", "rule"),
    [
        ("{kind: burst}", "arrivals.events", "is required"),
        ("[]", "arrivals", "at least one item"),
        ("{kind: burst, at: 11m, events: 1}", "arrivals.at", "before the horizon"),
        ("{kind: poisson, rate: 1/s, from: 9s, until: 3s}", "arrivals.until", "after from (9 s)"),
        ("{kind: poisson, rate: 0/s}", "arrivals.rate", "> 0"),
        (
            "[{kind: burst, events: 1}, {kind: phases, phases: [{for: 3s}]}]",
            "arrivals[1].phases[0].rate",
            "is required",
        ),
        ("[{kind: phases, phases: [{for: 1, rate: 1}], form: 3}]", "arrivals[0].form", "unknown key"),
        ("{kind: poisson, rate: 9999/s}", "arrivals", "lower the rate"),
        ("{kind: replay}", "arrivals.file", "is required"),
        ("burst", "arrivals", "must be a mapping"),
    ],
)
def test_a_load_that_makes_no_sense_is_refused_in_its_place(arrivals: str, path: str, rule: str) -> None:
    (problem,) = problems_of(f"scenario: small\narrivals: {arrivals}\n")
    assert problem.path == path
    assert rule in problem.message


def test_too_many_events_are_refused_at_the_load_that_brings_them() -> None:
    (problem,) = problems_of(MINIMAL + "events: {limit: 2}\n")
    assert (problem.line, problem.path) == (2, "arrivals")
    assert "raise the limit" in problem.message


@pytest.mark.parametrize(
    ("fault", "paths"),
    [
        ("{kind: outage, at: 11m, for: x}", ["at", "for"]),
        ("{kind: outage, at: 11m}", ["at", "for"]),
        ("{kind: outage, at: 11m, for: 3s, colour: red}", ["at", "colour"]),
        ("{kind: outtage, at: 11m}", ["kind", "at"]),
        ("{kind: worker_death, target: worker-1, rate: x, from: 11m}", ["rate", "from"]),
        ("{kind: worker_death, target: worker-1, at: 11m, nth: 0}", ["at", "nth"]),
        ("{kind: outage, at: x, for: 3s}", ["at"]),
    ],
)
def test_a_fault_past_the_horizon_is_told_so_whatever_else_is_wrong_with_it(fault: str, paths: list[str]) -> None:
    told = problems_of(f"{MINIMAL}faults: [{fault}]\n")
    assert sorted(problem.path for problem in told) == sorted(f"faults[0].{key}" for key in paths)


def test_rules_between_sections_are_not_judged_by_a_section_that_is_wrong_itself() -> None:
    text = MINIMAL + "workers: {count: x}\nfaults: [{kind: worker_death, target: worker-9, at: 1}]\n"
    assert [problem.path for problem in problems_of(text)] == ["workers.count"]


@pytest.mark.parametrize(
    ("text", "place", "rule"),
    [
        ("", "1:1", "is empty"),
        ("# only a comment\n", "1:1", "is empty"),
        ("- a\n- b\n", "1:1", "not a list"),
        ("storm\n", "1:1", "not a single value"),
        ("scenario: a\n\tarrivals: b\n", "2:1", "indent with spaces"),
        ("scenario: a: b\n", "1:12", "not YAML"),
        ("scenario: [a\n", "2:1", "not YAML"),
        ("scenario: 'a\n", "2:1", "not YAML"),
        ("scenario: *a\n", "1:11", "no anchor &a"),
        ("a: &a [*a]\n", "1:8", "no anchor &a"),
        ("scenario: !!python/object:os.system x\n", "1:11", "tags"),
        ("scenario: a\n---\nscenario: b\n", "2:1", "second document"),
        ("scenario: a\x00\n", "1:12", "U+0000"),
        ('scenario: "\\U00110000"\n', "1:1", "not YAML"),
        ("? [a, b]\n: c\n", "1:3", "a key must be a word"),
        ("a: " + "[" * 60 + "]" * 60, "1:54", "nested"),
        ("a: " + "[" * 5000, "1:54", "nested"),
        ("scenario: {a: ${b}}\n", "1:16", "put quotes around a variable"),
    ],
)
def test_text_that_is_no_scenario_is_refused_where_it_goes_wrong(text: str, place: str, rule: str) -> None:
    problem = problems_of(text)[-1]
    assert str(problem.spot) == f"small.yaml:{place}"
    assert rule in problem.message


def test_a_few_aliases_cannot_stand_for_billions_of_values() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
    assert "aliases written out" in problems_of(bomb)[-1].message


def test_a_key_given_twice_is_told_with_the_first_place() -> None:
    assert headlines_of("scenario: a\narrivals: {kind: burst, events: 3}\nscenario: b\n") == [
        "small.yaml:3:1: scenario: is given twice, first in line 1"
    ]


def test_a_caret_stands_right_under_tabs_too() -> None:
    (problem,) = problems_of("scenario: a\narrivals: {kind:\tburst,\tevents: -1}\n")
    line, caret = str(problem).splitlines()[1:3]
    assert caret.expandtabs(8).index("^") == line.expandtabs(8).index("-1")

"""`tem-sim study`: a verdict first, a table, files where they are asked for; the user's mistakes told in a line."""

import csv
from pathlib import Path

import pytest
from cli_helpers import document, tem_sim, written

DOWNSTREAM = """
scenario: brink
horizon: 3m
arrivals: {kind: poisson, rate: 20/s, until: 60s}
pipeline: {backoff: {growth: fixed, base: 1s, jitter: full, max_retries: 5}}
workers: {count: 2, concurrency: 10}
handler: {service_time: 50ms, capacity: {servers: 2, queue: 50, timeout: 300ms}}
faults: [{kind: outage, at: 10s, for: 5s}]
"""


def test_the_verdict_is_the_first_line(folder):
    said = tem_sim("study", "size", "--outage", "2m")
    assert said.exit_code == 0
    assert said.stdout.startswith("An outage of 120 s makes ")
    assert "backoff: {growth: exponential, base: 10s" in said.stdout


def test_json_is_the_same_answer_as_one_document(folder):
    found = document("study", "jitter", "aws-full", "sidekiq", "--rows", "200", "--retries", "2")
    assert found["schema_version"] == 1
    assert {row["policy"] for row in found["table"]} == {"aws-full", "sidekiq"}
    assert "start a retry within" in found["verdict"]


def test_table_and_figure_are_saved_where_asked(folder):
    tem_sim("study", "outage", "aws-full", "--length", "30s", "--length", "5m", "--out", "answer")
    rows = list(csv.DictReader(Path("answer/table.csv").read_text(encoding="utf-8").splitlines()))
    assert [float(row["outage_s"]) for row in rows] == [30.0, 300.0]
    assert Path("answer/figure.png").read_bytes().startswith(b"\x89PNG")


def test_a_scenario_is_mapped_over_load_and_outage(folder):
    file = written("brink.yaml", DOWNSTREAM)
    words = ("--load", "0.3", "--length", "1s", "--length", "4s", "--seeds", "2", "--jobs", "1")
    found = document("study", "metastability", file, *words)
    assert [(row["load"], row["outage_s"], row["n"]) for row in found["table"]] == [(0.3, 1, 2), (0.3, 4, 2)]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("jitter", "sidekik"), "sidekik"),
        (("jitter", "aws-full", "--tick", "soon"), "soon"),
        (("outage", "--length", "-5s"), "-5s"),
        (("size", "--p-extinct", "2"), "p_extinct"),
        (("bakeoff", "missing.yaml"), "missing.yaml"),
        (("metastability", "storm.yaml"), "capacity"),
        (("mitigations", "storm.yaml", "--set", "workers.cuont=3"), "cuont"),
    ],
)
def test_a_mistake_is_told_in_words_and_exits_with_2(storm, words, names):
    said = tem_sim("study", *words)
    assert said.exit_code == 2
    assert names in said.stderr
    assert "Traceback" not in said.stderr

"""The other commands: validate, show, schema, init, policies, version."""

import json
from pathlib import Path

import pytest
from cli_helpers import STORM, document, tem_sim, written

from tem_sim.pipeline.presets import PRESETS, delay_table
from tem_sim.scenario.example import EXAMPLE
from tem_sim.scenario.schema import json_schema


def test_validate_names_each_file_that_is_fine(storm, stale):
    result = tem_sim("validate", storm, stale)
    assert (result.exit_code, result.stdout) == (0, "storm.yaml: ok (small_storm)\nstale.yaml: ok (stale)\n")


def test_validate_lists_all_that_is_wrong_in_all_files(storm):
    bad = written("bad.yaml", "scenario: bad\nhorizon: -1\narivals: []\n")
    result = tem_sim("validate", bad, storm, "none.yaml")
    assert (result.exit_code, result.stdout) == (2, "storm.yaml: ok (small_storm)\n")
    assert ["bad.yaml:2:10: horizon" in result.stderr, "arivals" in result.stderr] == [True, True]
    assert "none.yaml: cannot be read: No such file or directory" in result.stderr


def test_validate_keeps_the_caret_under_its_place(folder):
    result = tem_sim("validate", written("bad.yaml", STORM + "colour: blue\n"))
    lines = result.stderr.splitlines()
    at = lines.index("    colour: blue")
    assert lines[at + 1] == "    ^^^^^^"


def test_show_prints_a_saved_run_again(storm):
    ran = tem_sim("run", storm, "--no-plots", "--out", "here").stdout
    shown = tem_sim("show", "here")
    assert shown.exit_code == 0
    assert shown.stdout.split("\n\n")[:3] == ran.split("\n\n")[:3]


def test_show_gives_the_same_document_as_the_run(stale):
    ran = document("run", stale, "--no-plots", "--out", "here")
    assert document("show", "here") == ran


def test_show_exits_with_0_also_for_a_failed_run(stale):
    assert tem_sim("run", stale, "--no-plots", "--out", "here").exit_code == 1
    assert tem_sim("show", "here").exit_code == 0


def test_show_of_no_run_says_so(folder):
    result = tem_sim("show", folder)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no run here" in result.stderr


def test_schema_goes_to_stdout_or_to_a_file(folder):
    printed = tem_sim("schema").stdout
    tem_sim("schema", "--out", "schema.json")
    assert json.loads(printed) == json_schema()
    assert Path("schema.json").read_text(encoding="utf-8") == printed


def test_init_writes_the_example_and_the_schema_that_it_points_to(folder):
    result = tem_sim("init", "new/first.yaml")
    assert result.exit_code == 0
    assert Path("new/first.yaml").read_text(encoding="utf-8") == EXAMPLE
    assert json.loads(Path("new/scenario.schema.json").read_text(encoding="utf-8")) == json_schema()
    assert tem_sim("validate", "new/first.yaml").exit_code == 0


def test_init_overwrites_only_when_forced(folder):
    Path("scenario.yaml").write_text("mine")
    refused = tem_sim("init")
    assert (refused.exit_code, Path("scenario.yaml").read_text()) == (2, "mine")
    assert "--force" in refused.stderr
    assert tem_sim("init", "--force").exit_code == 0
    assert Path("scenario.yaml").read_text(encoding="utf-8") == EXAMPLE


def test_policies_list_every_preset_with_formula_and_source():
    out = tem_sim("policies").stdout
    assert [name for name, preset in PRESETS.items() if preset.formula not in out or preset.source not in out] == []


def test_policies_in_json_have_ten_delays_each():
    found = document("policies")
    assert [one["name"] for one in found["policies"]] == list(PRESETS)
    for one in found["policies"]:
        rows = delay_table(PRESETS[one["name"]].policy)
        assert one["delays"] == [
            {"retry": row.retry, "min_s": row.min_s, "mean_s": row.mean_s, "max_s": row.max_s} for row in rows
        ]


def test_one_policy_is_shown_with_its_notes():
    out = tem_sim("policies", "celery-autoretry").stdout
    assert "randrange" in out
    assert "Whole seconds" in out
    assert "  max s     1  2  4  8  16  32  64  128  256  512\n" in out
    assert [one["name"] for one in document("policies", "celery-autoretry")["policies"]] == ["celery-autoretry"]


def test_an_unknown_policy_is_answered_with_the_closest():
    result = tem_sim("policies", "sidekick")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "did you mean sidekiq?" in result.stderr


def test_version_in_three_ways():
    found = document("version")
    assert tem_sim("--version").stdout == f"tem-sim {found['version']}\n"
    assert f"tem_sim {found['version']}\n" in tem_sim("version").stdout
    assert set(found["versions"]) >= {"tem_sim", "python", "simpy", "sqlalchemy"}


@pytest.mark.parametrize(("words", "code"), [([], 2), (["--help"], 0), (["run", "--help"], 0), (["rnu"], 2)])
def test_help_and_usage_exit_as_usual(words, code):
    assert tem_sim(*words).exit_code == code

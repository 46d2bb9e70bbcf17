"""Files: a base and its changes, variables, anchors, and files that cannot be read."""

from pathlib import Path

import pytest
from scenario_text import MINIMAL, headlines_of, with_section

from tem_sim.pipeline.backoff import Backoff, Exponential, Fixed
from tem_sim.scenario.errors import ScenarioError
from tem_sim.scenario.example import EXAMPLE
from tem_sim.scenario.loader import load, loads

HERE = Path(__file__).parent
SHIPPED = sorted((HERE.parent.parent / "scenarios").glob("*.yaml"))


def write(folder: Path, **files: str) -> Path:
    """Write `name.yaml` for each name; return the folder."""
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def error_of(path: Path) -> str:
    with pytest.raises(ScenarioError) as caught:
        load(path)
    return str(caught.value)


@pytest.mark.parametrize("path", [*SHIPPED, HERE / "valid.yaml"], ids=lambda path: path.stem)
def test_every_shipped_scenario_loads(path: Path) -> None:
    assert load(path).name


def test_the_example_loads_and_has_something_of_everything() -> None:
    scenario = loads(EXAMPLE)
    assert scenario.faults
    assert scenario.handler.kinds
    assert len(scenario.arrivals) == 2


def test_every_alternative_in_the_example_is_valid_when_its_comment_sign_is_taken_away() -> None:
    faults = [line.removeprefix("# ") for line in EXAMPLE.splitlines() if line.startswith("# - {kind: ")]
    loads_ = [line for line in faults if "rate: 5/s" in line or "constant" in line or "phases" in line]
    inflicted = [line for line in faults if line not in loads_ and "replay" not in line]
    scenario = loads("\n".join([MINIMAL, "faults:", *(f"  {line}" for line in inflicted)]))
    assert len(scenario.faults) == len(inflicted) == 9
    assert len(loads("\n".join(["scenario: x", "arrivals:", *(f"  {line}" for line in loads_)])).arrivals) == 3


def test_yaml_is_1_2_where_off_is_a_word_and_there_are_no_octals_dates_or_sixties() -> None:
    scenario = loads("scenario: off\nabout: 2024-01-01\nseed: 010\narrivals: {kind: burst, events: 0x10}\n")
    assert (scenario.name, scenario.about, scenario.seed) == ("off", "2024-01-01", 10)
    assert scenario.arrivals[0].expected(1.0) == 16


def test_anchors_and_merge_keys_are_understood() -> None:
    scenario = with_section(
        "faults:\n  - &first {kind: outage, at: 1s, for: 2s}\n  - {<<: *first, at: 9s}\nstore: {latency: &fast 2ms}\n"
        "api: {latency: *fast}\n"
    )
    assert [(fault.at_s, fault.for_s) for fault in scenario.faults] == [(1.0, 2.0), (9.0, 2.0)]  # type: ignore[union-attr]
    assert scenario.api.latency_s == 0.002


def test_a_wrong_value_behind_an_alias_is_shown_where_it_is_used() -> None:
    assert headlines_of(MINIMAL + "about: &x text\nhorizon: *x\n")[0].startswith("small.yaml:4:10: horizon: must be")


# --- variables


def test_a_variable_stands_for_a_whole_value_of_any_kind() -> None:
    text = "vars: {base: 2s, wave: {kind: outage, at: 1s, for: 2s}}\npipeline:\n  backoff:\n    base: ${base}\n"
    scenario = with_section(text + 'faults: ["${wave}"]\n')
    assert scenario.policy() == Backoff(Exponential(2.0))
    assert scenario.faults[0].kind == "outage"


@pytest.mark.parametrize(
    ("text", "headline"),
    [
        ("horizon: ${hori}\nvars: {h: 3}\nabout: ${h}\n", "small.yaml:3:10: horizon: there is no variable hori"),
        ("vars: {unused: 3}\n", "small.yaml:3:8: vars.unused: is never used"),
        ("vars: {a: 1}\nabout: x ${a} y\n", "small.yaml:4:8: about: a variable is filled in for a whole value only"),
        ("vars: {a: '${b}'}\nseed: ${a}\n", "small.yaml:3:11: vars.a: must not refer to other variables"),
        ("vars: [1]\n", "small.yaml:3:7: vars: must be a mapping"),
        ("vars: {a: -5s}\nhorizon: ${a}\n", "small.yaml:4:10: horizon: must be > 0"),
    ],
)
def test_a_misused_variable_is_told_in_its_place(text: str, headline: str) -> None:
    assert headlines_of(MINIMAL + text)[0].startswith(headline)


def test_a_wrong_value_says_which_variable_it_came_from() -> None:
    assert headlines_of(MINIMAL + "vars: {a: -5s}\nhorizon: ${a}\n")[0].endswith("(got -5s from ${a})")


# --- extends


def test_a_file_changes_its_base_mappings_merge_and_lists_replace(tmp_path: Path) -> None:
    base = MINIMAL + "workers: {count: 2, concurrency: 3}\nfaults: [{kind: outage, at: 1, for: 2}]\nvars: {unused: 1}\n"
    child = "extends: base.yaml\nscenario: child\nworkers: {count: 5}\nfaults: []\n"
    scenario = load(write(tmp_path, base=base, child=child) / "child.yaml")
    assert (scenario.name, scenario.workers.count, scenario.workers.concurrency) == ("child", 5, 3)
    assert scenario.faults == ()


def test_another_growth_or_kind_replaces_the_bases_whole_mapping(tmp_path: Path) -> None:
    base = (
        "pipeline: {backoff: {growth: exponential, base: 2s, factor: 3}}\n"
        "handler: {service_time: {kind: lognormal, mean: 1s, cv: 2}}\n"
    )
    child = (
        "extends: base.yaml\n"
        "pipeline: {backoff: {growth: fixed, base: 5s}}\n"
        "handler: {service_time: {kind: exponential, mean: 2s}}\n"
    )
    scenario = load(write(tmp_path, base=MINIMAL + base, child=child) / "child.yaml")
    assert scenario.policy() == Backoff(Fixed(5.0))
    assert scenario.handler.service_time.mean_s == 2.0


def test_a_variable_of_the_base_can_be_changed(tmp_path: Path) -> None:
    base = MINIMAL + "vars: {seed: 1}\nseed: ${seed}\n"
    assert load(write(tmp_path, base=base, child="extends: base.yaml\nvars: {seed: 5}\n") / "child.yaml").seed == 5


def test_a_mistake_in_the_base_is_told_in_the_bases_file(tmp_path: Path) -> None:
    write(tmp_path, base=MINIMAL + "horizon: -3\n", child="extends: base.yaml\nseed: x\n")
    told = error_of(tmp_path / "child.yaml")
    assert f"{tmp_path / 'base.yaml'}:3:10: horizon: must be > 0" in told
    assert f"{tmp_path / 'child.yaml'}:2:7: seed: must be a whole number" in told


def test_a_base_must_not_extend_another(tmp_path: Path) -> None:
    write(tmp_path, top=MINIMAL, base="extends: top.yaml\n" + MINIMAL, child="extends: base.yaml\n")
    assert f"{tmp_path / 'base.yaml'}:1:1: extends: " in error_of(tmp_path / "child.yaml")


@pytest.mark.parametrize("base", ["none.yaml", ".", "3", "[a]", "''"])
def test_a_base_that_cannot_be_read_is_told_where_it_is_named(tmp_path: Path, base: str) -> None:
    write(tmp_path, child=f"{MINIMAL}extends: {base}\n")
    assert f"{tmp_path / 'child.yaml'}:3:10: extends: " in error_of(tmp_path / "child.yaml")


def test_a_file_that_extends_itself_is_refused(tmp_path: Path) -> None:
    write(tmp_path, child=f"{MINIMAL}extends: child.yaml\n")
    assert "a base must not extend another" in error_of(tmp_path / "child.yaml")


def test_a_base_in_another_folder_still_finds_its_csv(tmp_path: Path) -> None:
    folder = write(tmp_path / "bases", base="scenario: b\narrivals: [{kind: replay, file: a.csv}]\n")
    (folder / "a.csv").write_text("t_s\n4\n")
    write(tmp_path, child="extends: bases/base.yaml\n")
    assert load(tmp_path / "child.yaml").arrivals[0].start_s == 4.0


# --- files


def test_a_file_that_is_not_there_is_one_problem(tmp_path: Path) -> None:
    assert error_of(tmp_path / "none.yaml") == f"{tmp_path / 'none.yaml'}: cannot be read: No such file or directory"


def test_a_folder_is_no_scenario(tmp_path: Path) -> None:
    assert "Is a directory" in error_of(tmp_path)


def test_a_path_with_a_null_character_is_refused() -> None:
    assert "is no path" in error_of(Path("a\0b"))


@pytest.mark.parametrize("raw", [b"scenario: a\nabout: \xff\n", "scenario: ä".encode("utf-16")])
def test_a_file_that_is_not_utf8_is_refused_with_the_byte(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "a.yaml").write_bytes(raw)
    assert "byte 0xff is not UTF-8" in error_of(tmp_path / "a.yaml")


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbf" + (MINIMAL + "horizon: -1\n").replace("\n", "\r\n").encode())
    told = error_of(tmp_path / "a.yaml")
    assert ":3:10: horizon" in told
    assert "\r" not in told

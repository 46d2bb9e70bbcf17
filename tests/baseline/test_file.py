"""The baseline's file: it reads back, keeps its guards, can be read in a diff, and refuses what is none."""

import json
import math

import pytest
from baseline_cases import broken, case

from tem_sim.baseline.file import BaselineError, load_baseline, save_baseline
from tem_sim.baseline.guards import GUARDED, GuardError, guards_of, tolerance_of, with_effects

STEADY = {"amplification": [6.2, 6.3, 6.25], "drain_s": [30.0, math.nan, 31.0]}


def test_a_baseline_reads_back_as_it_was_written(tmp_path):
    saved = save_baseline([case(STEADY)], tmp_path / "b.json")
    read = load_baseline(tmp_path / "b.json")
    assert repr(read) == repr(saved)
    assert read.scenarios["made"].metrics["amplification"] == (6.2, 6.3, 6.25)


def test_a_value_that_changes_changes_one_line(tmp_path):
    one = case({**STEADY, "amplification": [6.2, 6.3, 6.25]})
    other = case({**STEADY, "amplification": [6.2, 6.3, 6.26]})
    texts = []
    for number, each in enumerate((one, other)):
        save_baseline([each], tmp_path / f"{number}.json", min_effects=["5%"])
        texts.append((tmp_path / f"{number}.json").read_text().splitlines())
    assert sum(a != b for a, b in zip(*texts, strict=True)) == 1


def test_saving_again_keeps_the_guards_that_someone_edited(tmp_path):
    file = tmp_path / "b.json"
    save_baseline([case(STEADY)], file)
    text = json.loads(file.read_text())
    text["scenarios"]["made"]["guards"] = {"amplification": {"min_effect": "2%", "worse": "more", "must_settle": True}}
    file.write_text(json.dumps(text))
    again = save_baseline([case(STEADY)], file).scenarios["made"].guards
    assert {name: guard.min_effect for name, guard in again.items()} == {"amplification": "2%"}


def test_other_scenarios_stay_only_where_they_are_asked_to(tmp_path):
    file = tmp_path / "b.json"
    save_baseline([case(STEADY), case(STEADY, scenario="other")], file)
    assert sorted(save_baseline([case(STEADY)], file, keep_others=True).scenarios) == ["made", "other"]
    assert sorted(save_baseline([case(STEADY)], file).scenarios) == ["made"]


def test_a_folder_is_read_as_one(tmp_path):
    save_baseline([case(STEADY)], tmp_path / "a.json")
    save_baseline([case(STEADY, scenario="other")], tmp_path / "b.json")
    assert sorted(load_baseline(tmp_path).scenarios) == ["made", "other"]
    save_baseline([case(STEADY)], tmp_path / "c.json")
    with pytest.raises(BaselineError, match="made is in another file"):
        load_baseline(tmp_path)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda text: "{", "is no baseline"),
        (lambda text: text.replace('"schema_version": 1', '"schema_version": 9'), "schema 9"),
        (lambda text: text.replace("[6.2, 6.3, 6.25]", "[6.2]"), "amplification: not one for each of the 3 seeds"),
        (lambda text: text.replace('"seeds": [1, 2, 3]', '"seeds": [1, 1, 3]'), "is damaged"),
        (lambda text: text.replace('"5%"', '"many"', 1), "must be a share such as 5%"),
        (lambda text: text.replace('"worse": "more"', '"worse": "most"', 1), "worse: more or less"),
        (lambda text: text.replace('"first": "', '"first": "~'), "is damaged"),
    ],
)
def test_what_is_no_baseline_is_refused_with_its_reason(tmp_path, damage, told):
    file = tmp_path / "b.json"
    save_baseline([case(STEADY)], file)
    file.write_text(damage(file.read_text()))
    with pytest.raises(BaselineError, match=told):
        load_baseline(file)
    with pytest.raises(BaselineError, match="It is not overwritten"):
        save_baseline([case(STEADY)], file)


def test_a_run_that_broke_is_no_baseline(tmp_path):
    with pytest.raises(BaselineError, match=r"seed 1: the run broke.*division by zero"):
        save_baseline([broken(case(STEADY))], tmp_path / "b.json")
    assert not list(tmp_path.iterdir())


def test_two_scenarios_of_one_name_are_refused(tmp_path):
    with pytest.raises(BaselineError, match="two scenarios have this name"):
        save_baseline([case(STEADY), case(STEADY)], tmp_path / "b.json")


# --- guards


def test_what_varies_too_much_for_the_seeds_is_watched_only():
    values = {name: [1.0] * 10 for name in GUARDED}
    values["amplification"] = [6.0, 6.1, 6.05, 5.95, 6.0, 6.1, 6.05, 5.95, 6.0, 6.0]
    values["drain_s"] = [20.0, 30.0, 10.0, 40.0, 25.0, 20.0, 30.0, 10.0, 40.0, 25.0]
    guards = guards_of(values)
    assert (guards["amplification"].must_settle, guards["drain_s"].must_settle) == (True, False)


def test_minimal_effects_are_for_all_or_for_one_or_off():
    guards = with_effects({"amplification": guards_of({n: [1.0] for n in GUARDED})["amplification"]}, ["10%"])
    assert guards["amplification"].min_effect == "10%"
    more = with_effects(guards, ["storm_factor=20%", "processed=1", "amplification=off"])
    assert {name: (guard.min_effect, guard.worse) for name, guard in more.items()} == {
        "storm_factor": ("20%", "more"),
        "processed": ("1", "less"),
    }


@pytest.mark.parametrize(
    ("metric", "text", "size", "relative"),
    [
        ("amplification", "5%", 0.05, True),
        ("amplification", " 2.5 % ", 0.025, True),
        ("drain_s", "500ms", 0.5, False),
        ("drain_s", "3", 3.0, False),
        ("lost_events", "2", 2.0, False),
    ],
)
def test_a_minimal_effect_is_a_share_or_in_the_metrics_unit(metric, text, size, relative):
    found = tolerance_of(metric, text)
    assert (found.size, found.relative) == (pytest.approx(size), relative)


@pytest.mark.parametrize("asked", ["amplification=much", "drain_s=-3s", "amplfication=5%", "amplification=nan", "x%"])
def test_a_minimal_effect_that_cannot_be_read_is_refused(asked):
    with pytest.raises(GuardError):
        with_effects(guards_of({name: [1.0] for name in GUARDED}), [asked])

"""A run saved and read back is the same run; what is no run is refused with a remedy."""

import json

import pandas as pd
import pytest
from frame_builder import story

from tem_sim.frames import SCHEMAS, Run, RunError


@pytest.fixture
def run():
    told = story().fault(0.0, 5.0)
    told.event(1, kind="NA").claim(1 / 3).error(0.1 + 0.2, 10.0).retry(11.2).claim(11.3).ok(11.5)
    told.event(2, at_s=1e-9).claim(2.0, worker="wörker|2")
    told.samples.append({"t_s": 1.0, "name": "backlog", "value": 2.0})
    return told.run(end_s=20.0)


def test_a_run_read_back_equals_the_one_saved_to_the_last_bit(run, tmp_path):
    again = Run.load(run.save(tmp_path / "run"))
    for name in SCHEMAS:
        pd.testing.assert_frame_equal(getattr(again, name), getattr(run, name), check_exact=True)
    for name in ("scenario_dict", "seed", "mode", "status", "store", "end_s", "digest", "versions"):
        assert getattr(again, name) == getattr(run, name)


def test_a_run_without_events_can_be_saved(tmp_path):
    again = Run.load(story().run().save(tmp_path / "run"))
    assert len(again.events) == 0


def test_the_same_run_makes_the_same_bytes(run, tmp_path):
    one, two = run.save(tmp_path / "one"), run.save(tmp_path / "two")
    names = sorted(path.name for path in one.iterdir())
    assert names == sorted([*(f"{name}.npz" for name in SCHEMAS), "run.json"])
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in names)


def test_numpy_alone_can_open_a_frame(run, tmp_path):
    import numpy as np

    with np.load(run.save(tmp_path / "run") / "attempts.npz") as archive:
        assert archive["attempt_no"].tolist() == [1, 2, 1]
        assert archive["worker.words"][archive["worker"]].tolist() == ["worker-1", "worker-1", "wörker|2"]


def test_saving_again_replaces_the_run_and_keeps_what_is_not_its_own(run, tmp_path):
    folder = run.save(tmp_path / "run")
    (folder / "notes.md").write_text("mine")
    (folder / "plots").mkdir()
    (folder / "plots" / "a.png").write_text("png")
    story().run().save(folder)
    assert len(Run.load(folder).events) == 0
    assert (folder / "notes.md").read_text() == "mine"
    assert (folder / "plots" / "a.png").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_save_that_fails_leaves_the_old_run_and_no_rubbish(run, tmp_path, monkeypatch):
    folder = run.save(tmp_path / "run")

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr("tem_sim.archive._write_frame", full)
    with pytest.raises(OSError, match="disk full"):
        story().run().save(folder)
    assert len(Run.load(folder).events) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_folder_that_holds_something_else_is_not_overwritten(run, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match="holds no run; choose another folder"):
        run.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_folder_without_a_run_says_so(tmp_path):
    with pytest.raises(RunError, match=r"no run here \(no run.json\); give a folder that `tem-sim run` wrote"):
        Run.load(tmp_path / "nowhere")


def test_a_run_of_a_newer_schema_is_refused(run, tmp_path):
    head = run.save(tmp_path / "run") / "run.json"
    head.write_text(json.dumps(json.loads(head.read_text()) | {"schema_version": 99}))
    with pytest.raises(RunError, match=r"written by a newer tem-sim .schema 99.*upgrade"):
        Run.load(tmp_path / "run")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema_version": null}', '{"schema_version": 1}'])
def test_a_damaged_head_is_one_clear_error(run, tmp_path, text):
    (run.save(tmp_path / "run") / "run.json").write_text(text)
    with pytest.raises(RunError, match="damaged"):
        Run.load(tmp_path / "run")


def test_a_missing_frame_is_named(run, tmp_path):
    (run.save(tmp_path / "run") / "faults.npz").unlink()
    with pytest.raises(RunError, match=r"faults.npz is missing; run the scenario again"):
        Run.load(tmp_path / "run")


@pytest.mark.parametrize("keep", [0, 10, 300, -1, -30])
def test_a_frame_cut_short_is_one_clear_error(run, tmp_path, keep):
    path = run.save(tmp_path / "run") / "transitions.npz"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(RunError, match="damaged"):
        Run.load(tmp_path / "run")


def test_a_flipped_byte_is_noticed(run, tmp_path):
    path = run.save(tmp_path / "run") / "transitions.npz"
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(RunError, match="damaged"):
        Run.load(tmp_path / "run")


def test_the_card_shows_the_name_the_seed_and_the_numbers(run):
    card = run._repr_html_()
    assert "story" in card
    assert "seed 1" in card
    assert "<b>2</b><br><small>events</small>" in card
    assert "PROCESSED=1" in repr(run)
    assert "FAILED=0" in repr(run)


def test_the_card_escapes_what_the_scenario_calls_itself():
    assert "<script>" not in story(scenario="<script>").run()._repr_html_()

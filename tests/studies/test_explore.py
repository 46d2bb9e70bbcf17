"""The panel of sliders, turned without a browser: a widget's value is set as its slider would set it."""

import sys

import pytest
from small_storm import storm

from tem_sim.sim.world import simulate
from tem_sim.studies.explore import MOST_LIVE_EVENTS, OFF, Explorer, explore, verdict
from tem_sim.studies.knobs import Knobs

ipywidgets = pytest.importorskip("ipywidgets")
PNG = b"\x89PNG\r\n"


@pytest.fixture
def opened() -> Explorer:
    """Open a panel of its own for each test."""
    return explore(storm())


def picture_of(panel: Explorer) -> bytes:
    return bytes(panel.picture.value)


def text_of(panel: Explorer) -> str:
    return str(panel.status.value)


def test_it_opens_with_the_scenario_as_it_is_run_drawn_and_told() -> None:
    panel = explore(storm())
    assert panel.run is not None
    assert panel.run.digest == simulate(storm()).digest
    assert picture_of(panel).startswith(PNG)
    assert "All 40 events processed. The backlog is back at its level" in text_of(panel)
    assert "No check is false." in text_of(panel)


def test_each_slider_changes_its_setting_and_starts_a_run(opened: Explorer) -> None:
    before = picture_of(opened)
    for name, value in {"base": 2.0, "cap": 5.0, "jitter": "none", "max_retries": 12, "outage": 10.0}.items():
        getattr(opened, name).value = value
        assert opened.run is not None
        assert opened.run.scenario == opened.knobs.on(storm()), name
    assert opened.knobs == Knobs(base_s=2.0, cap_s=5.0, jitter="none", max_retries=12, outage_s=10.0)
    assert picture_of(opened) != before


def test_settings_that_do_not_go_together_are_told_and_the_last_good_plots_stay(opened: Explorer) -> None:
    opened.cap.value = 5.0
    good, run = picture_of(opened), opened.run
    opened.base.value = 20.0
    assert "Not run: pipeline.backoff.cap: must be at least the first wait (20 s)." in text_of(opened)
    assert "The plots show the settings before." in text_of(opened)
    assert (picture_of(opened), opened.run) == (good, run)
    opened.cap.value = OFF
    assert "Not run" not in text_of(opened)
    assert picture_of(opened) != good


def test_retries_spent_before_the_outage_ends_are_told_as_extinct(opened: Explorer) -> None:
    opened.max_retries.value = 0
    assert "0 of 40 events processed, 40 EXTINCT." in text_of(opened)
    assert opened.run is not None
    assert not verdict(opened.run).well


def test_a_run_starts_when_a_slider_is_let_go_not_on_its_way() -> None:
    panel = explore(storm())
    sliders = [widget for widget in panel.controls if isinstance(widget, ipywidgets.SelectionSlider)]
    assert len(sliders) == 4
    assert not any(slider.continuous_update for slider in sliders)


def test_a_large_scenario_waits_for_the_button(monkeypatch: pytest.MonkeyPatch) -> None:
    events = MOST_LIVE_EVENTS + 1
    panel = explore(storm(arrivals={"kind": "burst", "at": "1s", "events": events}))
    assert panel.run is None
    assert f"{events:,} events take a while" in text_of(panel)
    # What the button does is the same for a small one, and sooner done.
    monkeypatch.setattr(panel, "scenario", storm())
    panel.outage.value = 5.0
    assert "press run" in text_of(panel)
    assert panel.run is None
    panel.button.click()
    assert "All 40 events processed" in text_of(panel)
    assert panel.run is not None


def test_a_slider_has_the_scenarios_own_value_even_if_it_is_an_odd_one() -> None:
    odd = storm(pipeline={"backoff": {"growth": "fixed", "base": "1234ms", "cap": "off", "max_retries": 33}})
    panel = explore(odd)
    assert panel.base.label == "1.234 s"
    assert (panel.cap.label, panel.max_retries.label) == ("off", "33")


def test_a_policy_that_is_replaced_is_told_to_be() -> None:
    panel = explore(storm(pipeline={"backoff": {"preset": "celery-autoretry", "max_retries": 12}}))
    assert "own policy has no base, and is replaced" in text_of(panel)


def test_what_is_shown_is_the_panel_itself(opened: Explorer) -> None:
    bundle = opened._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert repr(opened).startswith("<Explorer small storm: Knobs(")


def test_without_ipywidgets_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(ImportError, match=r"pip install 'tem-sim\[notebook\]'"):
        explore(storm())

"""Sliders beside a storm: five settings on the left, what they lead to on the right, in a notebook.

Needs ipywidgets, which the extra `notebook` brings. The plots are pictures made by the kernel, so they look the same in
JupyterLab, in Notebook and in an editor.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Iterable
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tem_sim.scenario.loader import load
from tem_sim.studies.knobs import Knobs, expected_events, has_base, jitters_of, small_storm

if TYPE_CHECKING:
    from tem_sim.frames import Run
    from tem_sim.scenario.models import Scenario

# Up to so many events a run takes two seconds or less, and each move of a slider starts one.
MOST_LIVE_EVENTS = 2000
# How often a run that takes longer says how far it is.
TELL_EVERY_S = 0.3
SIZE_INCHES = (8.0, 6.6)
DPI = 96

# A slider's value for `off`; ipywidgets takes None for no choice at all.
OFF = math.inf
BASES_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0)
CAPS_S = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, OFF)
OUTAGES_S = (0.0, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 300.0)
RETRIES = (*range(21), OFF)

_COLOURS = {"good": "#1b7837", "bad": "#b2182b", "busy": "#666666"}


def explore(scenario: Scenario | str | Path | None = None, seed: int | None = None) -> Explorer:
    """Return sliders for base, cap, jitter, max retries and outage length beside live plots of the storm.

    `scenario` is one, or its file; without any a small storm of 500 events is explored. Scenarios of more than 2,000
    events are run when the button is pressed, smaller ones whenever a slider is let go. Raises ImportError where
    ipywidgets is missing.
    """
    if isinstance(scenario, (str, Path)):
        scenario = load(scenario)
    return Explorer(small_storm() if scenario is None else scenario, seed)


class Explorer:
    """The panel: its widgets by name, and the last `run` that came to its end under the settings shown."""

    def __init__(self, scenario: Scenario, seed: int | None = None) -> None:
        self.scenario = scenario
        self.seed = seed
        self.run: Run | None = None
        widgets = _ipywidgets()
        knobs = Knobs.of(scenario)
        self.base = _slider(widgets, "base", BASES_S, knobs.base_s, "s")
        self.cap = _slider(widgets, "cap", CAPS_S, knobs.cap_s, "s")
        self.jitter = widgets.Dropdown(description="jitter", options=jitters_of(scenario), value=knobs.jitter)
        self.max_retries = _slider(widgets, "max retries", RETRIES, knobs.max_retries)
        self.outage = _slider(widgets, "outage", OUTAGES_S, knobs.outage_s, "s")
        self.live = widgets.Checkbox(
            description="run on every change", value=expected_events(scenario) <= MOST_LIVE_EVENTS, indent=False
        )
        self.button = widgets.Button(description="run", icon="play")
        self.status = widgets.HTML()
        self.picture = widgets.Image(
            format="png", layout={"width": "100%", "max_width": f"{SIZE_INCHES[0] * DPI:.0f}px"}
        )
        self._wire()
        self.panel = self._laid_out(widgets)
        if self.live.value:
            self.update()
        else:
            self._say("busy", f"{expected_events(scenario):,.0f} events take a while: set the sliders and press run.")

    @property
    def controls(self) -> tuple[Any, ...]:
        """The five settings' widgets."""
        return self.base, self.cap, self.jitter, self.max_retries, self.outage

    @property
    def knobs(self) -> Knobs:
        """The settings as the sliders say them."""
        cap_s, max_retries = (None if limit.value == OFF else limit.value for limit in (self.cap, self.max_retries))
        return Knobs(self.base.value, cap_s, self.jitter.value, max_retries, self.outage.value)

    def update(self, *_: object) -> None:
        """Run the scenario with the sliders' settings; the plots before stay when it cannot be run."""
        from tem_sim.scenario.errors import ScenarioError
        from tem_sim.sim.kernel import SimulationError
        from tem_sim.sim.world import simulate

        self._say("busy", "running …")
        try:
            self.run = simulate(self.knobs.on(self.scenario), self.seed, progress=self._telling())
        except (ScenarioError, SimulationError) as error:
            self._say("bad", f"Not run: {_problem(error)}.{self._kept()}")
            return
        self.picture.value = drawn(self.run)
        found = verdict(self.run)
        self._say("good" if found.well else "bad", found.text + self._replaced())

    def _wire(self) -> None:
        for widget in self.controls:
            widget.observe(self._moved, names="value")
        self.button.on_click(self.update)

    def _moved(self, _: object) -> None:
        if self.live.value:
            self.update()
        else:
            self._say("busy", f"The settings have changed: press run.{self._kept()}")

    def _kept(self) -> str:
        return " The plots show the settings before." if self.picture.value else ""

    def _replaced(self) -> str:
        if has_base(self.scenario):
            return ""
        return " The scenario's own policy has no base, and is replaced by an exponential one with these settings."

    def _say(self, colour: str, text: str) -> None:
        style = f"border-left:4px solid {_COLOURS[colour]};padding-left:8px;line-height:1.4"
        self.status.value = f"<div style='{style}'>{escape(text)}</div>"

    def _telling(self) -> Callable[[float, float], None]:
        """Return what says how far a run is, now and then."""
        told_s = [time.perf_counter()]

        def tell(now_s: float, horizon_s: float) -> None:
            if time.perf_counter() - told_s[0] > TELL_EVERY_S:
                told_s[0] = time.perf_counter()
                self._say("busy", f"running … {now_s:,.0f} s of at most {horizon_s:,.0f} s of simulated time")

        return tell

    def _laid_out(self, widgets: Any) -> Any:
        switches = widgets.HBox([self.button, self.live])
        left = widgets.VBox([*self.controls, switches], layout={"flex": "0 0 320px"})
        # Beside the sliders where there is room for it, else below.
        right = widgets.VBox([self.status, self.picture], layout={"flex": "1 1 480px", "min_width": "0"})
        return widgets.HBox([left, right], layout={"flex_flow": "row wrap"})

    def __repr__(self) -> str:
        return f"<Explorer {self.scenario.name}: {self.knobs}>"

    def _repr_mimebundle_(self, **arguments: Any) -> Any:
        return self.panel._repr_mimebundle_(**arguments)


class Verdict(NamedTuple):
    """What a storm came to, in words; `well` when every event was processed and no check is false."""

    well: bool
    text: str


def verdict(run: Run) -> Verdict:
    """Say what became of the events, how long it took, and how hard the retries hit."""
    from tem_sim.analysis.metrics import metrics
    from tem_sim.checks.registry import run_checks

    numbers = metrics(run)
    false = [check.name for check in run_checks(run) if check.verdict == "false"]
    parts = [
        _fates(run, numbers),
        _drained(run, numbers),
        f"{numbers['amplification']:.3g} attempts per event, at most {numbers['retry_peak_per_s']:,.0f} retries in "
        "any one second.",
        f"Checks that are false: {', '.join(false)}." if false else "No check is false.",
    ]
    well = numbers["processed"] == numbers["events"] and run.status == "complete" and not false
    return Verdict(well, " ".join(part for part in parts if part))


def _fates(run: Run, numbers: dict[str, float]) -> str:
    total = f"{numbers['events']:,.0f}"
    if numbers["processed"] == numbers["events"]:
        return f"All {total} events processed."
    parts = [f"{numbers['processed']:,.0f} of {total} events processed"]
    parts += [f"{numbers['extinct']:,.0f} EXTINCT"] if numbers["extinct"] else []
    parts += [f"{numbers['in_flight']:,.0f} still in flight after {run.end_s:,.0f} s"] if numbers["in_flight"] else []
    return ", ".join(parts) + "."


def _drained(run: Run, numbers: dict[str, float]) -> str:
    if run.faults.empty:
        return ""
    if not math.isnan(numbers["drain_s"]):
        return f"The backlog is back at its level {numbers['drain_s']:,.3g} s after the last fault."
    return "The backlog did not come back to its level before the fault." if numbers["in_flight"] else ""


def drawn(run: Run) -> bytes:
    """Return attempts per second above the rows by state, as a PNG."""
    from matplotlib.figure import Figure

    from tem_sim.plots.rows import rows_by_state
    from tem_sim.plots.storm import attempts_per_second

    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    top, bottom = figure.subplots(2, sharex=True)
    attempts_per_second(run, top)
    rows_by_state(run, bottom)
    top.set_xlabel("")
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI, metadata={"Software": None})
    return file.getvalue()


def _slider(widgets: Any, name: str, values: Iterable[float], value: float | None, unit: str = "") -> Any:
    """Return a slider over these values and the scenario's own."""
    own = OFF if value is None else value
    options = [(_said(each, unit), each) for each in sorted({*values, own})]
    return widgets.SelectionSlider(description=name, options=options, value=own, continuous_update=False)


def _said(value: float, unit: str) -> str:
    if value == OFF:
        return "off"
    return f"{value * 1e3:g} ms" if unit == "s" and 0 < value < 1 else f"{value:g} {unit}".rstrip()


def _problem(error: Exception) -> str:
    """Return what is wrong without where it stands: the settings stand in sliders, not in a file."""
    problems = getattr(error, "problems", ())
    return "; ".join(f"{problem.path}: {problem.message}" for problem in problems) if problems else str(error)


def _ipywidgets() -> Any:
    """Return the module; ImportError that says how to get it."""
    try:
        import ipywidgets  # type: ignore[import-untyped]  # ipywidgets has no types.
    except ImportError:
        raise ImportError("tem_sim.explore needs ipywidgets; get it with: pip install 'tem-sim[notebook]'") from None
    return ipywidgets

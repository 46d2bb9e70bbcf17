"""Where a page's numbers come from: scenario as resolved, seed, versions, digest, and the command that repeats them."""

from __future__ import annotations

import base64
import re
import shlex
from html import escape
from typing import TYPE_CHECKING

from tem_sim.report.page.blocks import Html, element, facts_list, folded, wrap
from tem_sim.scenario.yaml_writer import yaml_text

if TYPE_CHECKING:
    from tem_sim.frames import Run
    from tem_sim.report.page.runs import Runs


def provenance(runs: Runs) -> Html:
    """Return what it takes to repeat each run."""
    return Html("".join(runs.heading(number) + _of(run, runs.letters[number]) for number, run in enumerate(runs)))


def _of(run: Run, letter: str) -> str:
    yaml = scenario_yaml(run)
    file = safe_name(run.name) + (f"-{letter.lower()}" if letter else "") + ".yaml"
    how = "simulated" if run.mode == "sim" else "on real processes"
    facts = {
        "scenario": escape(f"{run.name}, seed {run.seed}"),
        "run": escape(f"{how}, {run.status} after {run.end_s:,.6g} s, on {run.store}"),
        "retry policy": element("code", run.scenario.settings().policy),
        **({"digest": element("code", run.digest)} if run.digest else {}),
        "versions": escape(", ".join(f"{name} {number}" for name, number in run.versions.items())),
    }
    return facts_list(facts) + _repeat(run, file) + folded(f"The scenario as resolved: {file}", _scenario(yaml, file))


def _repeat(run: Run, file: str) -> str:
    if run.mode != "sim":
        command = shlex.join(["tem-sim", "live", "run", file, "--seed", str(run.seed)])
        why = (
            "It ran on real processes, so it has no digest and another run of this seed will not be the same, although "
            f"its arrivals and its handler's luck are. Save the scenario below as {file}; this command then runs it:"
        )
        return element("p", why) + wrap("pre", element("code", command), class_="command", tabindex="0")
    command = shlex.join(["tem-sim", "run", file, "--seed", str(run.seed)])
    # Without the file of the first run, the scenario that stands below is what repeats it.
    told = element("p", f"Save the scenario below as {file}; this command then repeats the run, digest and all:")
    return told + wrap("pre", element("code", command), class_="command", tabindex="0")


def _scenario(yaml: str, file: str) -> str:
    data = base64.b64encode(yaml.encode()).decode()
    link = element("a", f"Save {file}", href=f"data:application/yaml;base64,{data}", download=file)
    return wrap("p", link, class_="save") + wrap("pre", element("code", yaml), tabindex="0")


def safe_name(name: str) -> str:
    """Return a name that can be a file's; a scenario's may hold a slash."""
    return re.sub(r"[^\w.-]+", "-", name).strip(".-") or "scenario"


def scenario_yaml(run: Run) -> str:
    """Return the scenario as resolved, every default written out, as a file that `tem-sim run` takes."""
    return yaml_text(run.scenario_dict)

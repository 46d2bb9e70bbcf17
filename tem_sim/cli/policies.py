"""`tem-sim policies`: the retry policies of other systems."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tem_sim.cli.console import USAGE, AsJson, complain, write_json

if TYPE_CHECKING:
    from tem_sim.pipeline.presets import Preset


def policies(
    name: Annotated[str | None, typer.Argument(help="One policy; all of them if left out.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """List the retry policies of other systems.

    Each with its formula, its source, and min, mean and max of the delay in seconds before retries 1 to 10.
    """
    from tem_sim.report.policies import policy_blocks, policy_document
    from tem_sim.report.screen import show as show_on_screen

    presets = _presets(name)
    if as_json:
        write_json(policy_document(presets))
    else:
        show_on_screen(policy_blocks(presets, notes=name is not None))


def _presets(name: str | None) -> list[Preset]:
    from tem_sim.pipeline.presets import PRESETS

    if name is None:
        return list(PRESETS.values())
    if name not in PRESETS:
        from tem_sim.scenario.errors import did_you_mean

        hint = did_you_mean(name, PRESETS) or "`tem-sim policies` lists them"
        complain(f"policies: there is no policy {name}; {hint}")
        raise typer.Exit(USAGE)
    return [PRESETS[name]]

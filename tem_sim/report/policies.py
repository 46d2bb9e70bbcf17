"""The retry policies of other systems, listed for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tem_sim.pipeline.presets import Preset, delay_table
from tem_sim.report.document import SCHEMA_VERSION, Document
from tem_sim.report.numbers import seconds_text

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tem_sim.pipeline.presets import DelayRow


def policy_document(presets: Sequence[Preset]) -> Document:
    """Return the presets as JSON, with the delays before retries 1 to 10 in seconds."""
    return {
        "schema_version": SCHEMA_VERSION,
        "policies": [
            {
                "name": preset.name,
                "formula": preset.formula,
                "source": preset.source,
                "notes": preset.notes,
                "max_retries": preset.policy.max_retries,
                "delays": [
                    {"retry": row.retry, "min_s": row.min_s, "mean_s": row.mean_s, "max_s": row.max_s}
                    for row in delay_table(preset.policy)
                ],
            }
            for preset in presets
        ],
    }


def policy_blocks(presets: Sequence[Preset], *, notes: bool = False) -> Iterator[RenderableType]:
    """Yield a block per preset: name, formula and source, then min, mean and max of the delay per retry."""
    for index, preset in enumerate(presets):
        if index:
            yield ""
        yield Text.assemble((preset.name, "bold"), "  ", preset.formula, _limits(preset))
        yield Padding(Text(preset.source, "dim"), (0, 0, 0, 2))
        if notes:
            yield Padding(Text(preset.notes), (0, 0, 0, 2))
        yield Padding(_delays(delay_table(preset.policy)), (0, 0, 0, 2))


def _limits(preset: Preset) -> Text:
    retries = preset.policy.max_retries
    return Text("  retries for ever" if retries is None else f"  at most {retries} retries", "dim")


def _delays(rows: Sequence[DelayRow]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("retry", style="dim", no_wrap=True)
    for row in rows:
        table.add_column(str(row.retry), justify="right", no_wrap=True)
    for label, name in (("min s", "min_s"), ("mean s", "mean_s"), ("max s", "max_s")):
        table.add_row(label, *(seconds_text(getattr(row, name)) for row in rows))
    return table

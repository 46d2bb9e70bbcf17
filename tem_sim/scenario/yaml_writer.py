"""From a scenario back to YAML: every setting written out, as a file that `tem-sim run` takes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import JsonValue

WIDTH = 100


def yaml_text(resolved: Mapping[str, JsonValue]) -> str:
    """Return plain settings (`Scenario.resolved()`) as YAML, inner mappings in flow style."""
    from ruamel.yaml import YAML

    writer = YAML()
    writer.default_flow_style = None
    writer.width = WIDTH
    text = io.StringIO()
    writer.dump(dict(resolved), text)
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())

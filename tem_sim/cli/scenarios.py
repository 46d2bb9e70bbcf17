"""`tem-sim validate`, `schema` and `init`: scenario files before they are run."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from tem_sim.cli.console import Files, Settings, load_all, refuse_all, usage_errors, write


def validate(files: Files, settings: Settings = None) -> None:
    """List everything that is wrong with scenario files."""
    with usage_errors():
        refuse_all(load_all(files, settings or [], say_ok=True)[1])


def schema(
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it to a file instead of stdout.")] = None,
) -> None:
    """Print the JSON Schema of scenario files, for editors."""
    with usage_errors():
        text = schema_text()
        if out is None:
            write(text)
        else:
            out.write_text(text, encoding="utf-8")
            write(f"wrote {out}\n")


def init(
    path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("scenario.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
) -> None:
    """Write a commented scenario to start from, and its schema."""
    with usage_errors():
        from tem_sim.scenario.example import EXAMPLE

        if path.exists() and not force:
            refuse_all([f"{path}: exists; give another path, or --force to overwrite it"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(EXAMPLE, encoding="utf-8")
        schema_file = path.with_name("scenario.schema.json")
        schema_file.write_text(schema_text(), encoding="utf-8")
        write(f"wrote {path} and {schema_file}\ntry: tem-sim run {shlex.quote(str(path))}\n")


def schema_text() -> str:
    import json

    from tem_sim.scenario.schema import json_schema

    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"

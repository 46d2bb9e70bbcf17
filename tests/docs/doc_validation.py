"""Writes the measured part of docs/validation.md from the document of a full run.

    tem-sim validate-model --json > measured.json
    python tests/docs/doc_validation.py measured.json 1080

The second number is the processor time that the run took, in seconds, which the document does not know.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from doc_pages import ROOT

PAGE = ROOT / "docs/validation.md"
MARK = re.compile(r"(<!-- measured -->\n)(.*?)(<!-- end of measured -->)", re.DOTALL)
HEAD = (
    "| c | ρ | jitter | measure | predicted | simulated | 95 % interval | error | z | plain z |",
    "|--:|--:|---|---|--:|--:|--:|--:|--:|--:|",
)


def measured(document: dict[str, Any], cpu_s: float) -> str:
    """Return the verdict, a summary per measure, and every number, as Markdown."""
    rows = document["table"]
    about = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    return "\n".join(
        [
            "",
            f"> {document['verdict']}",
            "",
            *(f"{note}\n" for note in document["notes"] if note.startswith("Off at first")),
            f"It took {cpu_s / 60:.0f} minutes of processor time, so about half of that on two idle cores ({about}).",
            "",
            *("| measure | largest error | largest \\|z\\| | median variance reduction |", "|---|--:|--:|--:|"),
            *(_summary(name, rows) for name in dict.fromkeys(row["measure"] for row in rows)),
            "",
            "### Every number",
            "",
            *HEAD,
            *map(_row, rows),
            "",
            "",
        ]
    )


def _summary(name: str, rows: list[dict[str, Any]]) -> str:
    found = [row for row in rows if row["measure"] == name]
    gains = sorted(float("inf") if row["variance_reduction"] is None else row["variance_reduction"] for row in found)
    gain = gains[len(gains) // 2]
    return (
        f"| `{name}` | {max(abs(row['error']) for row in found):.2%} | {max(abs(row['z']) for row in found):.2f} "
        f"| {'–' if gain == float('inf') else f'{gain:,.0f}'} |"
    )


def _row(row: dict[str, Any]) -> str:
    return (
        f"| {row['servers']} | {row['load']:g} | {row['jitter']} | `{row['measure']}` | {row['predicted']:.4g} "
        f"| {row['simulated']:.4g} | {row['low']:.4g} – {row['high']:.4g} | {row['error']:+.2%} | {row['z']:+.2f} "
        f"| {row['plain_z']:+.2f} |"
    )


def main() -> None:
    """Put a document's numbers into the page."""
    document, cpu_s = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), float(sys.argv[2])
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(MARK.sub(lambda found: found[1] + measured(document, cpu_s) + found[3], text), encoding="utf-8")


if __name__ == "__main__":
    main()

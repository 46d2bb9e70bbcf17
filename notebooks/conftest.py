"""nbmake runs each notebook; here it must also show what the committed one shows: its text speaks of those outputs.

Text must be the same to the letter. Pictures may differ by what another processor rounds differently. Of a cell that
begins with `# Differs each time`, since it shows what a live run came to, only the outputs' kinds must be the same.
"""

import base64
import io
import os
import shutil
from collections.abc import Iterator

import nbformat
import numpy as np
import pytest
from nbformat import NotebookNode
from nbmake import pytest_items
from nbmake.nb_result import NotebookError, NotebookResult
from nbmake.nb_run import NotebookRun
from PIL import Image

# Root mean square of the differences between two pictures' pixels, which go from 0 to 255.
MOST_DIFFERENCE = 3.0
DIFFERS = "# Differs each time"
# Starts a live system.
LIVE = "08_"
ADVICE = "look at the cell; if it is right, `make notebooks` writes the notebooks anew"


class CurrentRun(NotebookRun):
    """nbmake's run of a notebook, which fails as well when its outputs are not the committed ones."""

    def execute(self) -> NotebookResult:
        """Run the notebook, and hold it against the file."""
        result = super().execute()
        if result.error is None:
            committed = nbformat.read(str(self.filename), as_version=4)
            result.error = next(differences(committed, result.nb), None)
        return result


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the notebooks as what is too long for the quick set."""
    for item in items:
        if isinstance(item, pytest_items.NotebookItem):
            item.add_marker(pytest.mark.long)
            if item.path.name.startswith(LIVE) and shutil.which("redis-server") is None and "CI" not in os.environ:
                item.add_marker(pytest.mark.skip(reason="needs redis-server"))


# nbmake has no hook between running a notebook and judging it.
pytest_items.NotebookRun = CurrentRun


def differences(committed: NotebookNode, now: NotebookNode) -> Iterator[NotebookError]:
    """Yield an error for each code cell that shows something else than the committed one."""
    for number, (before, after) in enumerate(zip(committed.cells, now.cells, strict=True)):
        alike = _alike_in_kind if before.source.startswith(DIFFERS) else _alike
        if before.cell_type != "code" or alike(before.outputs, after.outputs):
            continue
        summary = f"cell {number + 1} shows something else than the committed notebook; {ADVICE}"
        trace = f"{summary}\n\n{before.source}\n\ncommitted:\n{_told(before)}\n\nnow:\n{_told(after)}"
        yield NotebookError(summary=summary, trace=trace, failing_cell_index=number)


def _alike_in_kind(before: list[NotebookNode], after: list[NotebookNode]) -> bool:
    kinds = [[(one.output_type, *sorted(one.get("data", {}))) for one in outputs] for outputs in (before, after)]
    return kinds[0] == kinds[1]


def _alike(before: list[NotebookNode], after: list[NotebookNode]) -> bool:
    if len(before) != len(after):
        return False
    for old, new in zip(before, after, strict=True):
        if old.output_type != new.output_type or old.get("text") != new.get("text"):
            return False
        shown, shows = old.get("data", {}), new.get("data", {})
        if set(shown) != set(shows) or not all(_same(kind, shown[kind], shows[kind]) for kind in shown):
            return False
    return True


def _same(kind: str, before: str, after: str) -> bool:
    return before == after or (kind == "image/png" and difference(before, after) <= MOST_DIFFERENCE)


def difference(before: str, after: str) -> float:
    """Return how far two pictures (PNG, base64) are apart; infinitely far when they differ in size."""
    old, new = (np.asarray(Image.open(io.BytesIO(base64.b64decode(text))), dtype=float) for text in (before, after))
    return float(np.sqrt(np.mean((old - new) ** 2))) if old.shape == new.shape else float("inf")


def _told(cell: NotebookNode) -> str:
    """Return a cell's outputs as text."""
    return "\n".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs)

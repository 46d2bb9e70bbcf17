"""Runs a notebook in a kernel of this very Python, out of reach of the network and of the user's Jupyter.

No kernel has to be registered, none that is registered is used, nothing is written below the user's home, and the
kernel is spoken to through files of a folder that goes with it.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from tem_sim.frames import RunError

if TYPE_CHECKING:
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError
    from nbformat import NotebookNode

# A path of a socket may be about a hundred bytes long, whatever the system allows for other paths.
LONGEST_SOCKET = 80

_KERNEL = (
    *("-m", "ipykernel_launcher", "-f", "{connection_file}"),
    # A module in the user's folder must not stand in for one of ours, nor a start-up file change what is drawn.
    *("--IPKernelApp.ignore_cwd=True", "--IPKernelApp.exec_PYTHONSTARTUP=False", "--HistoryManager.enabled=False"),
)


class ReportError(Exception):
    """A page could not be made; the message says which cell failed, and how."""


def execute(notebook: NotebookNode, progress: Callable[[int, int], None] | None = None) -> NotebookNode:
    """Run all cells in the current folder and keep what they show; `progress` is told (cells done, of how many).

    Raises `RunError` where a run could not be loaded, and `ReportError` where a cell or the kernel failed.
    """
    with tempfile.TemporaryDirectory(prefix="tem-sim-") as name:
        folder = Path(name)
        manager = _manager(folder)
        with (folder / "kernel.log").open("w+", encoding="utf-8") as log, _ended(manager):
            _run_cells(_client(notebook, manager), log, folder, progress)
    _drop_streams(notebook)
    return notebook


def _run_cells(client: NotebookClient, log: TextIO, folder: Path, progress: Callable[[int, int], None] | None) -> None:
    from nbclient.exceptions import CellExecutionError, DeadKernelError

    cells = client.nb.cells
    try:
        client.start_new_kernel(env=_environment(folder), cwd=os.getcwd(), stdout=log, stderr=log)
        client.start_new_kernel_client()
        for number, cell in enumerate(cells):
            client.execute_cell(cell, number)
            if progress is not None:
                progress(number + 1, len(cells))
    except CellExecutionError as error:
        raise _failure(cell, error) from None
    except (DeadKernelError, RuntimeError) as error:
        log.seek(0)
        raise ReportError(f"the report's kernel failed: {error}\n{log.read()}".rstrip()) from error
    finally:
        if client.kc is not None:
            client.kc.stop_channels()


@contextmanager
def _ended(manager: Any) -> Iterator[None]:
    """Kill the kernel when the block is left, also by Ctrl-C while it starts; it has nothing to say good-bye for."""
    from jupyter_core.utils import run_sync

    try:
        yield
    finally:
        if manager.has_kernel:
            run_sync(manager.shutdown_kernel)(now=True)


def _client(notebook: NotebookNode, manager: Any) -> NotebookClient:
    from nbclient import NotebookClient

    options: dict[str, Any] = {"record_timing": False, "timeout": None, "store_widget_state": False}
    return NotebookClient(notebook, km=manager, **options)


def _manager(folder: Path) -> Any:
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    class OwnKernel(AsyncKernelManager):
        """A kernel of this Python, whatever kernels are registered."""

        @property
        def kernel_spec(self) -> KernelSpec:
            return KernelSpec(argv=[sys.executable, *_KERNEL], display_name="Python 3", language="python")

    file = folder / "kernel.json"
    sockets = os.name == "posix" and len(str(file)) < LONGEST_SOCKET
    where = {"transport": "ipc"} if sockets else {"transport": "tcp", "ip": "127.0.0.1"}
    return OwnKernel(connection_file=str(file), **where)


def _environment(folder: Path) -> dict[str, str]:
    own = dict.fromkeys(("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR"), str(folder))
    return {**os.environ, **own, "MPLBACKEND": "agg", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}


def _failure(cell: NotebookNode, error: CellExecutionError) -> Exception:
    if error.ename == "RunError":
        return RunError(error.evalue)
    return ReportError(f"cell {cell.id} of the report failed: {error.ename}: {error.evalue}\n{_plain(error.traceback)}")


def _plain(text: str) -> str:
    """Return text without the colours of a terminal."""
    return re.sub(r"\x1b\[[\d;]*m", "", text)


def _drop_streams(notebook: NotebookNode) -> None:
    """Leave out what libraries muttered, such as that a font cache is being built: it differs from time to time."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.output_type != "stream"]

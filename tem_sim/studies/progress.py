"""How far a study is: a callback of the caller's, a bar in an interactive notebook, and nothing anywhere else."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Called with (runs done, runs in all) after each run.
Progress = Callable[[int, int], None]


@contextmanager
def reported(title: str, total: int, progress: Progress | None) -> Iterator[Progress]:
    """Yield what is to be told of each finished run: the caller's function, a notebook's bar, or one for nobody."""
    if progress is not None or not in_interactive_kernel():
        yield progress or _nobody
        return
    with warnings.catch_warnings():
        # Without ipywidgets tqdm warns and draws its bar as text, which serves as well.
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm
    with tqdm(total=total, desc=title, unit="run") as bar:

        def advance(done: int, _: int) -> None:
            bar.update(done - bar.n)

        yield advance


def in_interactive_kernel() -> bool:
    """Tell whether a person sits before this code in a notebook.

    nbclient, nbmake and nbconvert run the same kernel for a page that nobody watches; a bar would stay in it. They
    cannot answer questions, and the kernel is told so with every cell.
    """
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    kernel = getattr(shell, "kernel", None)
    return kernel is not None and bool(kernel.get_parent().get("content", {}).get("allow_stdin"))


def _nobody(done: int, total: int) -> None:
    pass

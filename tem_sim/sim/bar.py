"""How far a run is, for whoever sits before a notebook: a bar of simulated time, once the run has taken a while."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Called with (simulated seconds so far, horizon in seconds) about once per simulated second.
Progress = Callable[[float, float], None]

# Runs that are over sooner show no bar: it would only flicker.
AFTER_S = 2.0
# Without a rate and an estimate of the end: most runs end well before their horizon.
FORMAT = "{desc}: {bar} {n} s of at most {total} s of simulated time, after {elapsed}"


@contextmanager
def watched(title: str, horizon_s: float, progress: Progress | None) -> Iterator[Progress | None]:
    """Yield what a run is to tell its progress: the caller's function, a notebook's bar, or None for nobody."""
    if progress is not None or not in_interactive_kernel():
        yield progress
        return
    with warnings.catch_warnings():
        # Without ipywidgets tqdm warns and draws its bar as text, which serves as well.
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm
    with tqdm(total=round(horizon_s), desc=title, bar_format=FORMAT, delay=AFTER_S, leave=False) as bar:

        def advance(now_s: float, _: float) -> None:
            bar.update(round(now_s) - bar.n)

        yield advance


def in_interactive_kernel() -> bool:
    """Tell whether a person sits before this code in a notebook.

    nbclient, nbmake and nbconvert run the same kernel for a page that nobody watches; a bar would stay in it. They
    cannot answer questions, and the kernel is told so with every cell.
    """
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    kernel = getattr(shell, "kernel", None)
    return kernel is not None and bool(kernel.get_parent().get("content", {}).get("allow_stdin"))

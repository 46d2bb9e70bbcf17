"""How far a study is: a callback of the caller's, a bar in an interactive notebook, and nothing anywhere else."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tem_sim.sim.bar import in_interactive_kernel

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


def _nobody(done: int, total: int) -> None:
    pass

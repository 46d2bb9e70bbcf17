"""Where text goes: to a terminal in its width and colours, into a pipe as wide plain lines, nowhere once it is shut."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TextIO

from rich.console import Console, RenderableType

# Rich folds to 80 columns where there is no terminal; what reads a pipe wants one row a line.
PIPE_WIDTH = 1000


def show(renderables: Iterable[RenderableType], stream: TextIO | None = None) -> None:
    """Write the parts to stdout, or to the stream."""
    stream = sys.stdout if stream is None else stream
    console = console_for(stream)
    with console.capture() as captured:
        for renderable in renderables:
            console.print(renderable)
    text = captured.get()
    if not console.is_terminal:
        text = "".join(f"{line.rstrip()}\n" for line in text.splitlines())
    write(text, stream)


def console_for(stream: TextIO) -> Console:
    """Return a console that takes text as it is: a path such as `faults[0]` must not be read as markup."""
    width = None if stream.isatty() else PIPE_WIDTH
    return Console(file=stream, width=width, markup=False, highlight=False, emoji=False)


def write(text: str, stream: TextIO | None = None) -> None:
    """Write text at once. When the reader has gone (`| head`), this and all later output goes nowhere, quietly."""
    stream = sys.stdout if stream is None else stream
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        discard(stream)


def discard(stream: TextIO) -> None:
    """Point the stream's descriptor at nothing: also Python's own flush at exit must not fail."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
    stream.flush()


def speaks_unicode(stream: TextIO) -> bool:
    """Whether the stream's encoding can show every sign."""
    return (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "").startswith("utf")

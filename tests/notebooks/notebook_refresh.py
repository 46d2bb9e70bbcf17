"""Runs the notebooks and writes each .ipynb anew from its .py, or those that are named.

Run it with `make notebooks`; look at the difference before you commit it. The same code writes the same bytes.
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from notebook_pairs import SOURCES, executed, notebook_of, text_of

# Each notebook runs in a process of its own; this one only waits.
AT_ONCE = 2


def main() -> None:
    """Write the notebooks that the arguments name (their .py or .ipynb), or all; say which changed."""
    named = [Path(name).resolve().with_suffix(".py") for name in sys.argv[1:]]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for line in pool.map(_refreshed, named or SOURCES):
            sys.stdout.write(line)


def _refreshed(source: Path) -> str:
    began_s = time.perf_counter()
    target, text = notebook_of(source), text_of(executed(source))
    took_s = time.perf_counter() - began_s
    same = target.exists() and target.read_text(encoding="utf-8") == text
    if not same:
        target.write_text(text, encoding="utf-8")
    return f"{target.name}: {took_s:.1f} s, {len(text) / 1e3:,.0f} kB, {'as it was' if same else 'written anew'}\n"


if __name__ == "__main__":
    main()

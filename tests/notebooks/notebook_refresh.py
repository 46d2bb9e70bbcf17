"""Runs the notebooks and writes each .ipynb anew from its .py, or those that are named.

Run it with `make notebooks`; look at the difference before you commit it. The same code writes the same bytes.
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from nbclient.exceptions import CellExecutionError
from notebook_pairs import SOURCES, executed, notebook_of, text_of

# Each notebook runs in a process of its own; this one only waits.
AT_ONCE = 2


def main() -> int:
    """Write the notebooks that the arguments name (their .py or .ipynb), or all; say which changed and which failed."""
    named = [Path(name).resolve().with_suffix(".py") for name in sys.argv[1:]]
    failed = 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done in [pool.submit(_refreshed, source) for source in named or SOURCES]:
            try:
                sys.stdout.write(done.result())
            except CellExecutionError as error:
                failed += 1
                sys.stdout.write(f"{error}\n")
    return min(failed, 1)


def _refreshed(source: Path) -> str:
    began_s = time.perf_counter()
    target, text = notebook_of(source), text_of(executed(source))
    took_s = time.perf_counter() - began_s
    same = target.exists() and target.read_text(encoding="utf-8") == text
    if not same:
        target.write_text(text, encoding="utf-8")
    return f"{target.name}: {took_s:.1f} s, {len(text) / 1e3:,.0f} kB, {'as it was' if same else 'written anew'}\n"


if __name__ == "__main__":
    sys.exit(main())

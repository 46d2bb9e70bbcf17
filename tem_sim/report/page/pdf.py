"""A page as PDF, printed by the Chromium of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
# Names a browser that stands elsewhere.
VARIABLE = "TEM_SIM_CHROMIUM"
PATIENCE_S = 120

_QUIETLY = (
    *("--headless", "--disable-gpu", "--no-first-run", "--hide-scrollbars", "--no-pdf-header-footer"),
    # It prints one file and has nobody to talk to.
    *("--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


class PdfError(OSError):
    """There is no Chromium, or it did not print; the message says what to do."""


def chromium() -> str:
    """Return the browser's path. Raises `PdfError` where none is installed."""
    named = os.environ.get(VARIABLE)
    found = next(filter(None, map(shutil.which, [named] if named else NAMES)), None)
    if found is None:
        looked = f"{VARIABLE} names {named}, which is no program" if named else f"looked for {', '.join(NAMES)}"
        raise PdfError(
            f"--pdf needs Chromium, and there is none ({looked}); install the package chromium "
            f"(Debian: apt-get install chromium), or print the page from any browser"
        )
    return found


def print_pdf(page: Path, pdf: Path) -> None:
    """Print a page. Raises `PdfError` when the browser does not."""
    with tempfile.TemporaryDirectory(prefix="tem-sim-") as profile:
        printed = Path(profile) / "page.pdf"
        command = [chromium(), *_QUIETLY, *_as_root(), f"--user-data-dir={profile}/profile"]
        command += [f"--print-to-pdf={printed}", page.resolve().as_uri()]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        except subprocess.TimeoutExpired:
            raise PdfError(f"{pdf}: {command[0]} has not printed the page after {PATIENCE_S} s") from None
        if not printed.exists():
            reason = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
            raise PdfError(f"{pdf}: {command[0]} did not print the page: {reason[0]}")
        shutil.copyfile(printed, pdf)


def _as_root() -> tuple[str, ...]:
    """Chromium refuses to run as root with its sandbox; as anybody else it keeps it."""
    return ("--no-sandbox",) if hasattr(os, "geteuid") and os.geteuid() == 0 else ()

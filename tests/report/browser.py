"""The Chromium of this machine, driven by Playwright; skipped at home where it is missing, a failure in CI."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from tem_sim.report.page.pdf import PdfError, chromium

# The tests may run as root, and the machine may have no network that a browser could ask.
ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


def missing(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def launched() -> Iterator[object]:
    """Yield a browser."""
    try:
        from playwright.sync_api import sync_playwright

        path = chromium()
    except (ImportError, PdfError) as error:
        missing(str(error))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()


def pixels(page, clip):
    """Return a part of what the page shows, as linear luminance between 0 and 1."""
    from PIL import Image

    shown = np.asarray(Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")) / 255
    linear = np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)
    return linear @ np.array([0.2126, 0.7152, 0.0722])


def contrast(luminance) -> float:
    """Return the contrast between the lightest and the darkest pixel, as WCAG counts it."""
    return float((luminance.max() + 0.05) / (luminance.min() + 0.05))

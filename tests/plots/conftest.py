"""What most tests of plots draw on."""

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure


@pytest.fixture
def ax() -> Axes:
    """Return empty axes in a figure of their own."""
    return Figure(layout="constrained").add_subplot()

"""A matplotlib figure as an SVG that stands inside a page: small, the same bytes each time, its text still text.

What matplotlib writes is a document of its own, with a prologue, fonts, an id on every group and six decimals. Inside
a page the prologue names a stranger's server, ids meet those of the other figures, and a step function of a thousand
samples takes half a megabyte. Here paths keep a hundredth of a point, which is less than a pixel on any screen, steps
are written as steps, what lies on a straight line between its neighbours is left out, and rastered parts get a palette.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HEAD = re.compile(r"^.*?(?=<svg\b)", re.DOTALL)
_ROOT = re.compile(r"<svg\b[^>]*?viewBox=\"([^\"]+)\"[^>]*>")
_STYLE = re.compile(r"<defs>\s*<style[^>]*>.*?</style>\s*</defs>", re.DOTALL)
_ID = re.compile(r' id="([^"]+)"')
_USED = re.compile(r'(?:url\(#|href="#)([^)"]+)')
_FONT = re.compile(r"font-family: [^;\"]*;? ?|font: (?=[\d.]+px [^\d])")
_PATH = re.compile(r'(?<= d=")[^"]+')
_SUBPATH = re.compile(r"[MLCQz][^MLCQz]*")
_DECIMALS = re.compile(r"(?<=[\s\"(,])-?\d+\.\d{3,}")
_RASTER = re.compile(r'"data:image/png;base64,\s*([^"]+)"')
_BLANKS = re.compile(r">\s+<")

# Of what is rastered, such as a scatter of fifty thousand dots; sharp on a screen of twice the usual density.
RASTER_DPI = 160
# Dots of two or three colours and their soft edges; a quarter of the bytes of what matplotlib writes.
COLOURS = 64

Point = tuple[float, float]


def svg(figure: Figure, name: str, alt: str) -> str:
    """Return the figure as one `<svg>` element; `name` keeps its ids apart from those of the page's other figures."""
    import matplotlib as mpl

    written = io.StringIO()
    # Without a salt matplotlib draws its ids anew each time; without these keys it writes the date and its version.
    unsaid = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(written, format="svg", transparent=True, metadata=unsaid, dpi=RASTER_DPI)
    return _for_a_page(written.getvalue(), name, alt)


def _for_a_page(text: str, name: str, alt: str) -> str:
    from html import escape

    text = _STYLE.sub("", _HEAD.sub("", text), count=1)
    root = rf'<svg viewBox="\1" role="img" aria-label="{_literal(escape(alt))}">'
    text = _ROOT.sub(root, text, count=1).replace("xlink:href", "href")
    text = _RASTER.sub(lambda match: f'"data:image/png;base64,{_fewer_colours(match[1])}"', _FONT.sub("", text))
    text = _PATH.sub(lambda match: _path(match[0]), text)
    text = _DECIMALS.sub(lambda match: _short(float(match[0])), text)
    return _BLANKS.sub("><", _own_ids(text, name)).strip()


def _fewer_colours(data: str) -> str:
    """Return a picture, in base64, with a palette of its own."""
    from PIL import Image

    whole = Image.open(io.BytesIO(base64.b64decode(data)))
    written = io.BytesIO()
    whole.quantize(COLOURS, method=Image.Quantize.FASTOCTREE).save(written, "PNG", optimize=True)
    return base64.b64encode(written.getvalue()).decode()


def _literal(text: str) -> str:
    return text.replace("\\", r"\\")


def _own_ids(text: str, name: str) -> str:
    """Drop the ids that nothing points to, and put the figure's name before the others."""
    used = set(_USED.findall(text))
    text = _ID.sub(lambda match: f' id="{name}-{match[1]}"' if match[1] in used else "", text)
    return _USED.sub(lambda match: match[0].replace(f"#{match[1]}", f"#{name}-{match[1]}"), text)


# --- paths


def _path(data: str) -> str:
    """Return path data with the same outline in fewer characters."""
    commands = list(_commands(data))
    if any(command not in "MLz" for command, _ in commands):
        return "".join(command + " ".join(map(_short, numbers)) for command, numbers in commands)
    made: list[str] = []
    line: list[Point] = []
    for command, numbers in [*commands, ("M", [])]:
        if command != "L" and line:
            made.append(_polyline(line))
            line = []
        if command == "z":
            made.append("z")
        elif numbers:
            line.append((numbers[0], numbers[1]))
    return "".join(made)


def _commands(data: str) -> Iterator[tuple[str, list[float]]]:
    for match in _SUBPATH.finditer(data):
        yield match[0][0], [round(float(number), 2) for number in match[0][1:].split()]


def _polyline(points: list[Point]) -> str:
    kept = _corners(points)
    return f"M{_pair(kept[0])}" + "".join(_step(before, after) for before, after in pairwise(kept))


def _corners(points: list[Point]) -> list[Point]:
    """Leave out the points that lie on a level or upright line between their neighbours."""
    kept = points[:1]
    for point in points[1:]:
        if len(kept) > 1 and _between(kept[-2], kept[-1], point):
            kept.pop()
        if point != kept[-1] or len(points) == 2:
            kept.append(point)
    return kept


def _between(before: Point, here: Point, after: Point) -> bool:
    for axis in (0, 1):
        low, high = sorted((before[axis], after[axis]))
        if before[1 - axis] == here[1 - axis] == after[1 - axis] and low <= here[axis] <= high:
            return True
    return False


def _step(before: Point, after: Point) -> str:
    if before[1] == after[1]:
        return f"H{_short(after[0])}"
    if before[0] == after[0]:
        return f"V{_short(after[1])}"
    return f"L{_pair(after)}"


def _pair(point: Point) -> str:
    return f"{_short(point[0])} {_short(point[1])}"


def _short(number: float) -> str:
    return f"{round(number, 2) + 0.0:.2f}".rstrip("0").rstrip(".")

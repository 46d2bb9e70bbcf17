"""What a reader's browser makes of a page: on a desk, in the dark, on a phone, on paper."""

import re

import pytest
from browser import contrast, launched, pixels

from tem_sim.report.page.pdf import print_pdf

pytestmark = [pytest.mark.server, pytest.mark.xdist_group("report")]

DESK, PHONE = {"width": 1200, "height": 900}, {"width": 390, "height": 844}
# Every piece of text with its own colour and the first background below it, as the browser computes them.
COLOURS = """() => {
  const solid = (colour) => !/rgba\\(.*, 0\\)|transparent/.test(colour);
  const found = new Set();
  for (const one of document.querySelectorAll('main *:not(svg *)')) {
    if (![...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim())) continue;
    let below = one;
    while (below && !solid(getComputedStyle(below).backgroundColor)) below = below.parentElement;
    found.add(getComputedStyle(one).color + '|' + getComputedStyle(below || document.body).backgroundColor);
  }
  return [...found];
}"""


@pytest.fixture(scope="module")
def browser():
    with launched() as found:
        yield found


@pytest.fixture
def opened(browser):
    """Open a page as a reader would; what it asks of the network or complains of is kept beside it."""
    contexts = []

    def opened(file, viewport, scheme="light"):
        context = browser.new_context(viewport=viewport, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        heard = []
        page.on("request", lambda request: heard.append(f"asked for {request.url[:80]}"))
        page.on("console", lambda message: heard.append(f"said {message.text}"))
        page.on("pageerror", lambda error: heard.append(f"broke {error}"))
        page.goto(file.as_uri())
        return page, [one for one in heard if not one.startswith(("asked for file:", "asked for data:"))]

    yield opened
    for context in contexts:
        context.close()


@pytest.mark.parametrize(
    ("name", "viewport", "scheme"),
    [
        ("storm_page", DESK, "light"),
        ("storm_page", PHONE, "dark"),
        ("odd_page", DESK, "dark"),
        ("odd_page", PHONE, "light"),
    ],
    ids=["storm on a desk", "storm on a phone", "odd runs on a desk", "odd runs on a phone"],
)
def test_the_verdict_is_seen_at_once_and_nothing_leaves_the_page(name, viewport, scheme, request, opened):
    page, heard = opened(request.getfixturevalue(name).file, viewport, scheme)
    assert heard == []
    box = page.locator(".sentence").first.bounding_box()
    assert box["y"] + box["height"] < viewport["height"]
    assert page.locator(".badge").first.is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]


def test_only_the_file_itself_is_read(storm_page, browser):
    context = browser.new_context(viewport=DESK)
    page = context.new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(storm_page.file.as_uri())
    context.close()
    assert asked[0] == storm_page.file.as_uri()
    assert [url for url in asked[1:] if not url.startswith("data:")] == []


def test_what_is_too_wide_for_a_phone_scrolls_in_a_box_that_keys_can_reach(storm_page, opened):
    page, _ = opened(storm_page.file, PHONE)
    boxes = page.locator(".scroll")
    wide = [one for one in boxes.all() if one.evaluate("box => box.scrollWidth > box.clientWidth")]
    assert wide
    assert {one.get_attribute("tabindex") for one in wide} == {"0"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out(storm_page, odd_page, opened, scheme):
    for made in (storm_page, odd_page):
        page, _ = opened(made.file, DESK, scheme)
        pairs = [pair.split("|") for pair in page.evaluate(COLOURS)]
        faint = [pair for pair in pairs if _contrast(*pair) < 4.5]
        assert len(pairs) > 5
        assert faint == []


def _contrast(*colours: str) -> float:
    values = []
    for colour in colours:
        channels = [float(number) / 255 for number in colour[colour.index("(") + 1 : -1].split(",")[:3]]
        linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in channels]
        values.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(values) + 0.05) / (min(values) + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_labels_of_figures_stand_out_from_the_page(storm_page, opened, scheme):
    page, _ = opened(storm_page.file, DESK, scheme)
    label = page.locator("figure svg text", has_text="attempts/s").first
    label.scroll_into_view_if_needed()
    shown = pixels(page, label.bounding_box())
    assert contrast(shown) > 4.5
    # Mostly paper, and the paper is the page's.
    assert (float(sorted(shown.ravel())[shown.size // 2]) > 0.5) == (scheme == "light")


def test_on_paper_everything_is_light_and_nothing_stays_folded(storm_page, opened):
    page, _ = opened(storm_page.file, DESK, "dark")
    page.emulate_media(media="print")
    assert page.locator("details pre").first.is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.querySelector('figure svg')).filter") == "none"


def test_the_pdf_has_the_whole_page_on_sheets(odd_page, browser, tmp_path):
    print_pdf(odd_page.file, tmp_path / "page.pdf")
    printed = (tmp_path / "page.pdf").read_bytes()
    assert printed.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type /Page\b", printed)) > 5

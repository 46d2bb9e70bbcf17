"""Figures inside a page: small, with ids of their own, and the same shapes as matplotlib drew."""

import re

import pytest
from matplotlib.figure import Figure

from tem_sim.report.page.svg import _path, svg


def drawn(name="a", alt="alt"):
    figure = Figure()
    ax = figure.add_subplot()
    ax.step(range(100), [number // 10 for number in range(100)], label="steps")
    ax.legend()
    return svg(figure, name, alt)


@pytest.mark.parametrize(
    ("data", "shorter"),
    [
        ("M 0 0 \nL 1.00001 0 \nL 2 0 \nL 3 0 \n", "M0 0H3"),
        ("M 0 0 \nL 0 5 \nL 0 2 \n", "M0 0V5V2"),
        ("M 0 0 \nL 1 0 \nL 1 2.005 \nL 4 3.129 \nz\n", "M0 0H1V2L4 3.13z"),
        ("M 1 1 \nL 2 1 \nM 5 5 \nL 5 9 \n", "M1 1H2M5 5V9"),
        ("M 0 0 \nL 1 1 \nL 2 2 \n", "M0 0L1 1L2 2"),
        ("M 0 0 \nC 1 1 2 2 3.004 3 \nL 4 3 \nz\n", "M0 0C1 1 2 2 3 3L4 3z"),
        ("M 3 3 \nL 3 3 \n", "M3 3H3"),
        ("M -0.001 1 \nL 5 1 \n", "M0 1H5"),
    ],
)
def test_a_path_keeps_its_outline_in_fewer_characters(data, shorter):
    assert _path(data) == shorter


def test_a_step_function_is_written_as_steps():
    data = "M 0 0 \n" + "".join(f"L {x} {x // 50} \nL {x + 1} {x // 50} \n" for x in range(1000))
    assert len(_path(data)) < len(data) / 40


def test_it_is_the_same_each_time_and_names_no_other_place():
    made = drawn()
    assert made == drawn()
    assert made.startswith('<svg viewBox="')
    assert "http" not in made
    assert "<metadata" not in made


def test_ids_are_kept_where_something_points_to_them_and_differ_between_figures():
    ids = [set(re.findall(r' id="([^"]+)"', drawn(name))) for name in ("one", "two")]
    used = set(re.findall(r'(?:url\(|href=")#([^)"]+)', drawn("one")))
    assert ids[0] == used
    assert ids[0] & ids[1] == set()


def test_what_is_said_of_a_figure_is_escaped():
    assert 'aria-label="&lt;b&gt; &amp; \\1 &quot;x&quot;"' in drawn(alt='<b> & \\1 "x"')


def test_fonts_are_the_page_s():
    made = drawn()
    assert ">steps</text>" in made
    assert "DejaVu" not in made

"""Charts: axes, thinning, and where a point lands."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest

from atelier.report import charts
from atelier.report.charts import Series, bar_chart, line_chart, linear_scale, nice_step, thin, value_scale


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 1, [0, 0.25, 0.5, 0.75, 1]), (0, 100000, [0, 25000, 50000, 75000, 100000]), (-3, 5, [-2, 0, 2, 4])],
)
def test_ticks_are_round_and_inside(low: float, high: float, ticks: list[float]) -> None:
    assert linear_scale(low, high, nice_step((high - low) / 4)).ticks == ticks


def test_nice_steps() -> None:
    assert [nice_step(x) for x in (1, 1.1, 2.1, 2.6, 6, 0.03)] == [1, 2, 2.5, 5, 10, pytest.approx(0.05)]


def test_a_value_axis_holds_every_value() -> None:
    for values in ([0.2, 0.9], [-5.0, 3.0], [7.0], [0.0], [1e-9, 2e-9], [1.0, 1e7]):
        for logarithmic in (False, True):
            scale = value_scale(values, logarithmic)
            assert all(-1e-9 <= scale.share(value) <= 1 + 1e-9 for value in values), values
    assert value_scale([1.0, 1e7], logarithmic=True).logarithmic and not value_scale([1.0, 1e7]).logarithmic
    assert not value_scale([-1.0, 1e7], logarithmic=True).logarithmic
    assert value_scale([1.0, 1e4], logarithmic=True).share(100) == pytest.approx(0.5)


@pytest.mark.parametrize("logarithmic", [False, True])
def test_a_value_axis_has_a_tick_at_both_ends(logarithmic: bool) -> None:
    for values in ([1.09, 3.42], [0.651, 0.83], [7.0], [-0.3, 4.4], [2e-14, 9e-14], [1.0, 9e6], [0.04, 300.0]):
        scale = value_scale(values, logarithmic)
        assert (scale.ticks[0], scale.ticks[-1]) == pytest.approx((scale.low, scale.high)), values


@pytest.mark.parametrize("images", [1600, 25600, 100000, 200000, 1250000, 999999999])
def test_every_tick_has_room(images: int) -> None:
    """11 px digits are less than 7 px wide."""
    for value in (0.00075, -0.025, 125000.0):
        for text in ElementTree.fromstring(line_chart([Series("a", [(0, 0.0), (images, value)])], "t")).findall("text"):
            x, width = float(text.attrib["x"]), 6.6 * len(str(text.text))
            before, after = (width / 2, width / 2) if text.attrib["text-anchor"] == "middle" else (width, 0)
            assert x - before >= -5 and x + after <= charts.WIDTH, text.text


def test_small_ticks_say_their_value() -> None:
    svg = line_chart([Series("a", [(0, 0.0), (1, 0.001)])], "t")
    assert re.findall(r">([\d.e-]+)</text>", svg)[:5] == ["0", "0.00025", "0.0005", "0.00075", "0.001"]


def lines(svg: str) -> list[list[tuple[float, float]]]:
    found = ElementTree.fromstring(svg).findall("polyline")
    return [[tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()] for line in found]  # type: ignore[misc]


def test_a_point_lands_where_its_value_says() -> None:
    svg = line_chart([Series("a", [(0, 0.0), (50, 0.5), (100, 1.0)])], "t", bounds=(0, 1), best=(50, 0.5))
    top, bottom = charts.TOP, charts.HEIGHT - charts.BOTTOM
    left, right = charts.LEFT, charts.WIDTH - charts.RIGHT
    middle = ((left + right) / 2, (top + bottom) / 2)
    assert lines(svg) == [[(left, bottom), middle, (right, top)]]
    (ring,) = [circle for circle in ElementTree.fromstring(svg).findall("circle") if circle.attrib["class"] == "best"]
    assert (float(ring.attrib["cx"]), float(ring.attrib["cy"])) == middle


def test_a_value_that_is_not_finite_breaks_the_line() -> None:
    svg = line_chart([Series("a", [(0, 1.0), (1, 2.0), (2, math.nan), (3, math.inf), (4, 3.0), (5, 4.0)])], "t")
    assert [len(line) for line in lines(svg)] == [2, 2]
    assert "nan" not in svg and "inf" not in svg


def test_a_point_alone_is_a_dot() -> None:
    points = [(0, 1.0), (1, math.nan), (2, 2.0), (3, math.inf), (4, 3.0), (5, 4.0)]
    svg = line_chart([Series("a", points), Series("b", [(5, 4.0)])], "t")
    dots = [dot.attrib["class"] for dot in ElementTree.fromstring(svg).findall("circle") if "dot" in dot.attrib["class"]]
    assert dots == ["dot s1", "dot s1", "dot s2"] and [len(line) for line in lines(svg)] == [2]


def test_nothing_to_draw_is_still_a_chart() -> None:
    for points in ([], [(0, math.nan)], [(0, 0.0)], [(5, 2.0)]):
        ElementTree.fromstring(line_chart([Series("a", points)], "t"))  # type: ignore[arg-type]


def test_thinning_keeps_spikes_and_order() -> None:
    points = [(float(n), math.sin(n / 500)) for n in range(10000)]
    points[5003] = (5003.0, 99.0)
    points[7001] = (7001.0, -99.0)
    points[9000] = (9000.0, math.nan)
    kept = thin(points)
    assert len(kept) <= charts.MAX_POINTS + 1 and kept == sorted(kept)
    assert (5003.0, 99.0) in kept and (7001.0, -99.0) in kept and any(math.isnan(y) for _, y in kept)
    assert thin(points[:100]) == points[:100]


def test_bars_are_as_long_as_their_shares() -> None:
    svg = bar_chart([("a", 0.2, 0.1), ("<b>", 0.1, 0.4)], "t")
    drawn = ElementTree.fromstring(svg)
    bars, marks = drawn.findall("rect"), [float(line.attrib["x1"]) for line in drawn.findall("line")]
    start, lengths = float(bars[0].attrib["x"]), [float(bar.attrib["width"]) for bar in bars]
    assert marks == [pytest.approx(start + lengths[1], abs=0.2), pytest.approx(start + 2 * lengths[0], abs=0.2)]
    first, second = (float(bar.attrib["width"]) for bar in bars)
    assert first == pytest.approx(2 * second, abs=0.2) and "<b>" not in svg
    assert re.findall(r">([\d.]+%)<", svg) == ["20.0%", "10.0%"]


def test_titles_and_names_are_escaped() -> None:
    svg = line_chart([Series('"<i>', [(0, 1.0)])], '"><script>')
    assert "<script>" not in svg and "<i>" not in svg
    assert ElementTree.fromstring(svg).attrib["aria-label"] == '"><script>'

"""Charts as inline SVG. Colors and fonts come from the page's style sheet, so they follow light and dark by themselves."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

WIDTH, HEIGHT = 340, 180
LEFT, RIGHT, TOP, BOTTOM = 48, 20, 10, 26  # room for the widest ticks: "0.00075" before an axis, half of "1.25M" after it
MAX_POINTS, MAX_HOVERS = 400, 120
LOG_FROM = 50

Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """A named curve of (images seen, value), in order of images. Values that are not finite break the line."""

    name: str
    points: Sequence[Point]


@dataclass(frozen=True)
class Scale:
    """A value axis: from `low` to `high`, with ticks, linear or logarithmic."""

    low: float
    high: float
    ticks: list[float]
    logarithmic: bool = False

    def share(self, value: float) -> float:
        """The place of a value between low (0) and high (1)."""
        convert: Callable[[float], float] = math.log10 if self.logarithmic else float
        return (convert(value) - convert(self.low)) / (convert(self.high) - convert(self.low))


def line_chart(
    series: Sequence[Series],
    title: str,
    bounds: tuple[float, float] | None = None,
    logarithmic: bool = False,
    best: Point | None = None,
    unit: str = "images",
) -> str:
    """Curves over the number of images seen, or of another `unit`. `bounds` fixes the value axis; `best` rings a point.

    `logarithmic` allows such an axis, which is used where positive values span more than a factor of LOG_FROM.

    Hovering over a point tells its values. Raises nothing for empty or constant curves: they give an axis around what there is.
    """
    finite = [point for one in series for point in one.points if math.isfinite(point[1])]
    values = [y for _, y in finite] or [0.0]
    scale = linear_scale(*bounds, nice_step((bounds[1] - bounds[0]) / 4)) if bounds else value_scale(values, logarithmic)
    last = max((x for one in series for x, _ in one.points), default=1) or 1
    across = linear_scale(0, last, nice_step(last / 5))

    def place(point: Point) -> Point:
        x = LEFT + min(point[0] / across.high, 1) * (WIDTH - LEFT - RIGHT)
        y = TOP + (1 - min(max(scale.share(point[1]), 0), 1)) * (HEIGHT - TOP - BOTTOM)
        return round(x, 1), round(y, 1)

    parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title, quote=True)}">']
    parts += [_level(tick, place((0, tick))[1]) for tick in scale.ticks]
    for tick in across.ticks:
        x = place((tick, scale.low))[0]
        parts.append(f'<text class="tick" x="{x}" y="{HEIGHT - 8}" text-anchor="middle">{compact(tick)}</text>')
    for number, one in enumerate(series):
        for run in _runs(thin(one.points)):
            parts.append(_stroke([place(point) for point in run], f"s{number + 1}"))
    parts += [_hover(point, one.name, place(point), unit) for one in series for point in _hovers(one.points)]
    if best is not None:
        x, y = place(best)
        parts.append(f'<circle class="best" cx="{x}" cy="{y}" r="6"><title>best: {number_text(best[1])}</title></circle>')
    return "".join([*parts, "</svg>"])


def bar_chart(bars: Sequence[tuple[str, float, float]], title: str) -> str:
    """Horizontal bars of (name, share, mark), shares in [0, 1], each with a dashed line at its mark."""
    row, name_width, value_width = 20, 92, 44
    span = WIDTH - name_width - value_width
    top = max(max(share, mark) for _, share, mark in bars) or 1.0
    height = row * len(bars) + 6
    parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title, quote=True)}">']
    for number, (name, share, mark) in enumerate(bars):
        y, length = number * row + 4, round(share / top * span, 1)
        label = name if len(name) <= 14 else name[:13] + "…"
        parts.append(f'<text class="name" x="{name_width - 8}" y="{y + 12}" text-anchor="end">{escape(label)}</text>')
        parts.append(f'<rect class="bar" x="{name_width}" y="{y}" width="{length}" height="{row - 6}" rx="2">')
        parts.append(f"<title>{escape(name)}: {share:.1%}, of the real images {mark:.1%}</title></rect>")
        parts.append(f'<text class="tick" x="{WIDTH}" y="{y + 11}" text-anchor="end">{share:.1%}</text>')
        x = round(name_width + mark / top * span, 1)
        parts.append(f'<line class="mark" x1="{x}" x2="{x}" y1="{y - 3}" y2="{y + row - 3}"/>')
    return "".join([*parts, "</svg>"])


def linear_scale(low: float, high: float, step: float) -> Scale:
    """An axis from `low` to `high` exactly, with ticks at the multiples of `step`."""
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return Scale(low, high, [float(f"{n * step:.12g}") for n in range(first, last + 1)])


def value_scale(values: Sequence[float], logarithmic: bool = False) -> Scale:
    """An axis that holds all values (finite) and has a tick at both ends.

    It is logarithmic if that is allowed and positive values span more than LOG_FROM.
    """
    low, high = min(values), max(values)
    if logarithmic and low > 0 and high / low > LOG_FROM:
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        every = -(-(last - first) // 5)
        ticks = [10.0**n for n in range(first, last + every, every)]
        return Scale(ticks[0], ticks[-1], ticks, logarithmic=True)
    if low == high:
        low, high = low - (abs(low) or 1), high + (abs(high) or 1)
    step = nice_step((high - low) / 4)
    return linear_scale(math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step, step)


def nice_step(rough: float) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= rough * (1 - 1e-9))


def thin(points: Sequence[Point], limit: int = MAX_POINTS) -> list[Point]:
    """At most about `limit` of the points: of each bucket its lowest and highest, so that spikes stay visible."""
    if len(points) <= limit:
        return list(points)
    edges = [round(n * len(points) / (limit // 2)) for n in range(limit // 2 + 1)]
    kept: list[Point] = []
    for start, stop in pairwise(edges):
        bucket = range(start, stop)
        odd = [n for n in bucket if not math.isfinite(points[n][1])]
        even = [n for n in bucket if math.isfinite(points[n][1])]
        extremes = {min(even, key=lambda n: points[n][1]), max(even, key=lambda n: points[n][1])} if even else set()
        kept += [points[n] for n in sorted(extremes | set(odd[:1]))]
    return kept


def compact(value: float) -> str:
    """A tick's text: 0, 40k, 2.5M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def number_text(value: float) -> str:
    """A value with four significant digits."""
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def _level(tick: float, y: float) -> str:
    line = f'<line class="level" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>'
    return f'{line}<text class="tick" x="{LEFT - 6}" y="{y + 3.5}" text-anchor="end">{compact(tick)}</text>'


def _stroke(places: Sequence[Point], color: str) -> str:
    """A line through these places; a dot where there is but one, which a line would leave invisible."""
    if len(places) == 1:
        return f'<circle class="dot {color}" cx="{places[0][0]}" cy="{places[0][1]}" r="2.5"/>'
    path = " ".join(f"{x},{y}" for x, y in places)
    return f'<polyline class="line {color}" points="{path}"/>'


def _runs(points: Sequence[Point]) -> list[list[Point]]:
    """The points cut where a value is not finite."""
    runs: list[list[Point]] = [[]]
    for point in points:
        if math.isfinite(point[1]):
            runs[-1].append(point)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _hovers(points: Sequence[Point]) -> list[Point]:
    finite = [point for point in points if math.isfinite(point[1])]
    return finite[:: -(-len(finite) // MAX_HOVERS) or 1]


def _hover(point: Point, name: str, place: Point, unit: str) -> str:
    text = f"{name}: {number_text(point[1])} at {point[0]:,.0f} {unit}"
    return f'<circle class="hover" cx="{place[0]}" cy="{place[1]}" r="5"><title>{escape(text)}</title></circle>'

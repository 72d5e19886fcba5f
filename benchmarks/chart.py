"""Line charts in SVG: little, and nothing to install."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from math import floor, log10
from pathlib import Path
from typing import NamedTuple

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 70, 150, 36, 48
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b")

Points = Sequence[tuple[float, float]]


class Axes(NamedTuple):
    """What a chart shows.

    Attributes:
        title: above it.
        x: what its width shows, with the unit.
        y: what its height shows, with the unit.
        logarithmic: whether the height is; all values are above 0 then.
    """

    title: str
    x: str
    y: str
    logarithmic: bool = False


class _Scale:
    """From values to places.

    Invariants: `lowest` is below `highest`.
    """

    def __init__(
        self, values: Sequence[float], places: tuple[int, int], logarithmic: bool
    ) -> None:
        """Spread values over places.

        Args:
            values: all that are shown.
            places: of the lowest and of the highest.
            logarithmic: whether equal factors are equally far apart.
        """
        self._places, self._logarithmic = places, logarithmic
        self.lowest, self.highest = 0.0, max(values, default=1.0) or 1.0
        if logarithmic:
            self.lowest = 10.0 ** floor(log10(min(values, default=1.0)))
            self.highest = max(self.highest, self.lowest * 10)

    def place(self, value: float) -> float:
        """Return where a value stands."""
        share = value / self.highest
        if self._logarithmic:
            share = log10(value / self.lowest) / log10(self.highest / self.lowest)
        first, last = self._places
        return round(first + share * (last - first), 1)

    def ticks(self) -> Iterator[float]:
        """Name some values to mark."""
        if self._logarithmic:
            value = self.lowest
            while value <= self.highest:
                yield value
                value *= 10
            return
        step = 10.0 ** floor(log10(self.highest))
        step /= next(n for n in (1, 2, 5, 10) if self.highest / step * n >= 3)
        for number in range(int(self.highest / step) + 1):
            yield number * step


def draw(path: Path, axes: Axes, lines: Mapping[str, Points]) -> None:
    """Write a chart.

    Args:
        path: where to.
        axes: what it shows.
        lines: by name, each of points from left to right.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(_elements(axes, lines)) + "\n")


def _elements(axes: Axes, lines: Mapping[str, Points]) -> Iterator[str]:
    """Spell a chart, element by element."""
    values = [point for points in lines.values() for point in points]
    across = _Scale([x for x, _ in values], (LEFT, WIDTH - RIGHT), False)
    up = _Scale([y for _, y in values], (HEIGHT - BOTTOM, TOP), axes.logarithmic)
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        ' font-family="sans-serif" font-size="12">'
    )
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
    yield _text(LEFT, 20, axes.title, "start", "font-weight='bold'")
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield _text(middle, HEIGHT - 10, axes.x)
    yield _text(16, HEIGHT / 2, axes.y, "middle", f"transform='{_turned(16)}'")
    for value in across.ticks():
        place = across.place(value)
        yield _line((place, TOP), (place, HEIGHT - BOTTOM))
        yield _text(place, HEIGHT - BOTTOM + 16, f"{value:,g}")
    for value in up.ticks():
        place = up.place(value)
        yield _line((LEFT, place), (WIDTH - RIGHT, place))
        yield _text(LEFT - 6, place + 4, f"{value:,g}", "end")
    for number, (name, points) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        spelled = " ".join(f"{across.place(x)},{up.place(y)}" for x, y in points)
        yield (
            f'<polyline points="{spelled}" fill="none" stroke="{colour}"'
            ' stroke-width="2"/>'
        )
        key = TOP + 8 + 18 * number
        yield _text(WIDTH - RIGHT + 12, key, name, "start", f"fill='{colour}'")
    yield "</svg>"


def _turned(x: float) -> str:
    """Spell how text runs upwards."""
    return f"rotate(-90 {x} {HEIGHT / 2})"


def _line(start: tuple[float, float], end: tuple[float, float]) -> str:
    """Spell a line of the grid."""
    ends = f'x1="{start[0]}" y1="{start[1]}" x2="{end[0]}" y2="{end[1]}"'
    return f'<line {ends} stroke="#ddd"/>'


def _text(
    x: float, y: float, words: str, anchor: str = "middle", more: str = ""
) -> str:
    """Spell words.

    Args:
        x: from the left.
        y: from above.
        words: what they say.
        anchor: which part of them stands at ``x``.
        more: attributes.
    """
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" {more}>{escape(words)}</text>'

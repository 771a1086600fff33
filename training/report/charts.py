"""The lines of a chart. Where they go in the picture is up to the template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

Line = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class LineChart:
    """Lines over the same axes.

    Args:
        x, y: the lowest and the highest value of each axis.
        lines: each as it is and as its moving average, in fractions of the axes.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    lines: Mapping[str, tuple[Line, Line]]


def line_chart(lines: Mapping[str, Line]) -> LineChart | None:
    """None if there is no point to draw."""
    points = [point for line in lines.values() for point in line]
    if not points:
        return None
    (left, right), (low, high) = ((min(v), max(v)) for v in zip(*points, strict=True))
    if low == high:
        low, high = low - 0.5, high + 0.5
    span = (right - left) or 1

    def scaled(line: Line) -> Line:
        return [((x - left) / span, (y - low) / (high - low)) for x, y in line]

    drawn = {name: (scaled(line), scaled(_smoothed(line))) for name, line in lines.items()}
    return LineChart((left, right), (low, high), drawn)


def _smoothed(line: Line) -> Line:
    """The moving average over a twentieth of the points."""
    window = max(1, len(line) // 20)
    ys = [y for _, y in line]
    return [(x, fmean(ys[max(0, i - window) : i + 1])) for i, (x, _) in enumerate(line)]

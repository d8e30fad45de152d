"""Small SVG charts, without matplotlib."""

import math
import xml.etree.ElementTree as ET
from collections.abc import Sequence

from gtn_jax.analysis.html import Element, element

_WIDTH, _HEIGHT = 360, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 8, 12, 30
_COLORS = ("var(--strong)", "var(--other)")

Points = Sequence[tuple[float, float]]


def line_chart(title: str, curves: dict[str, Points]) -> Element | None:
    """Curves, name -> (epoch, value), at most two; None if there are no finite values."""
    kept = {
        name: [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
        for name, points in curves.items()
    }
    kept = {name: points for name, points in kept.items() if points}
    every = [point for points in kept.values() for point in points]
    if not every:
        return None
    right = max(max(x for x, _ in every), 1e-9)
    low, high = _limits([y for _, y in every])

    def place(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + x / right * (_WIDTH - _LEFT - _RIGHT)
        return across, _TOP + (high - y) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    bottom = _HEIGHT - _BOTTOM
    parts = [_line(_LEFT, bottom, _WIDTH - _RIGHT, bottom), _line(_LEFT, _TOP, _LEFT, bottom)]
    for value in (low, (low + high) / 2, high):
        parts.append(_text(_LEFT - 6, place(0, value)[1] + 4, f"{value:.3g}", "end"))
    parts.append(_text(_LEFT, _HEIGHT - 10, "0", "middle"))
    parts.append(_text(_WIDTH - _RIGHT, _HEIGHT - 10, f"{right:.3g}", "end"))
    parts.append(_text((_LEFT + _WIDTH) / 2, _HEIGHT - 10, "epoch", "middle"))
    for color, points in zip(_COLORS, kept.values(), strict=False):
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
        parts.append(element("polyline", {
            "points": drawn, "fill": "none", "stroke": color, "stroke-width": "2",
        }))  # fmt: skip
        parts += [_dot(*place(*points[0]), color)] if len(points) == 1 else []
    ends = "; ".join(f"{name} ends at {points[-1][1]:.4g}" for name, points in kept.items())
    chart = element(
        "svg",
        {"viewBox": f"0 0 {_WIDTH} {_HEIGHT}", "role": "img", "aria-label": f"{title}: {ends}"},
        *parts,
    )
    legend = [
        element("span", {"style": f"color: {color}"}, f" — {name}")
        for color, name in zip(_COLORS, kept, strict=False)
    ]
    return element("figure", None, chart, element("figcaption", None, title, *legend))


def dot_chart(title: str, values: dict[str, Sequence[float]]) -> Element | None:
    """A row per name: a dot for each (finite) value, a bar at their mean; None without values."""
    kept = {name: list(numbers) for name, numbers in values.items() if len(numbers)}
    every = [number for numbers in kept.values() for number in numbers]
    if not every:
        return None
    low, high = _limits(every)
    left = 16 + 7 * max(map(len, kept))  # room for the longest name
    bottom = _TOP + 28 * len(kept)
    height = bottom + _BOTTOM

    def across(number: float) -> float:
        return left + 8 + (number - low) / (high - low) * (_WIDTH - left - 24)

    parts = [_line(left, bottom, _WIDTH - _RIGHT, bottom)]
    for number, anchor in ((low, "start"), (high, "end")):
        parts.append(_text(across(number), bottom + 14, f"{number:.4g}", anchor))
    parts.append(_text((left + _WIDTH) / 2, height - 4, title, "middle"))
    for row, (name, numbers) in enumerate(kept.items()):
        y, mean = _TOP + 28 * row + 14, across(sum(numbers) / len(numbers))
        parts.append(_text(left - 8, y + 4, name, "end"))
        parts.append(_line(mean, y - 9, mean, y + 9))
        parts += [_dot(across(number), y, _COLORS[0]) for number in numbers]
    means = "; ".join(f"{name} {sum(n) / len(n):.4g} on average" for name, n in kept.items())
    size = {"viewBox": f"0 0 {_WIDTH} {height}", "role": "img", "aria-label": f"{title}: {means}"}
    return element("svg", size, *parts)


def standalone(chart: Element) -> str:
    """Text of an .svg file, for light and dark pages."""
    style = element("style")
    style.text = (
        ":root { font-family: system-ui, sans-serif; color: #222; --strong: #2563eb; } "
        "@media (prefers-color-scheme: dark) { :root { color: #ddd; --strong: #7aa7ff; } }"
    )
    width = chart.attrib["viewBox"].split()[2]
    shown = {"xmlns": "http://www.w3.org/2000/svg", "width": f"{2 * int(width)}"}
    return ET.tostring(element("svg", chart.attrib | shown, style, *chart), encoding="unicode")


def _limits(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low - 0.5, high + 0.5) if low == high else (low, high)


def _line(x1: float, y1: float, x2: float, y2: float) -> Element:
    ends = {"x1": f"{x1}", "y1": f"{y1}", "x2": f"{x2}", "y2": f"{y2}"}
    return element("line", {**ends, "stroke": "currentColor", "stroke-opacity": "0.4"})


def _text(x: float, y: float, words: str, anchor: str) -> Element:
    place = {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor}
    return element("text", {**place, "font-size": "11", "fill": "currentColor"}, words)


def _dot(x: float, y: float, color: str) -> Element:
    return element("circle", {"cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": "3", "fill": color})

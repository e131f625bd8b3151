"""Plots of a report, drawn by Matplotlib as SVG text that is the same for the same figures."""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from cbir.errors import UsageError

Place = tuple[float, float]
_COLOURS = (
    "#0f766e",
    "#b45309",
    "#4338ca",
    "#be123c",
    "#15803d",
    "#7e22ce",
    "#0369a1",
    "#a16207",
    "#475569",
    "#db2777",
)
_MARKS = "os^Dvp*hX<"


def curves(x: str, y: str, series: Mapping[str, Sequence[tuple[Place, bool]]], floor: float | None = None) -> str:
    """Return curves of points, those on the front joined and dark and the others faded, as SVG; y is logarithmic.

    Args:
        x: What is on the horizontal axis.
        y: What is on the vertical one.
        series: By name: points, and whether each is on the front.
        floor: A vertical line, the least x that is wanted.
    """
    figure, axes = _axes(8, 4.6)
    for at, (name, points) in enumerate(series.items()):
        colour, mark = _COLOURS[at % len(_COLOURS)], _MARKS[at % len(_MARKS)]
        front = sorted(place for place, is_on in points if is_on)
        rest = [place for place, is_on in points if not is_on]
        if rest:
            axes.plot(*zip(*rest, strict=True), mark, color=colour, alpha=0.25, markersize=5)
        if front:
            axes.plot(*zip(*front, strict=True), f"{mark}-", color=colour, label=name, markersize=5, linewidth=1.4)
    if floor is not None:
        axes.axvline(floor, color="#94a3b8", linewidth=0.8, linestyle=":")
    axes.set_yscale("log")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.legend(frameon=False, fontsize=8)
    return _svg(figure)


def ranges(x: str, rows: Sequence[tuple[str, float, float, float]], logarithmic: bool = False) -> str:
    """Return rows of a value with its interval, (name, value, lowest, highest), from the top down, as SVG."""
    figure, axes = _axes(8, 0.9 + 0.32 * len(rows))
    for at, (_, value, low, high) in enumerate(rows):
        axes.plot([low, high], [at, at], color=_COLOURS[0], linewidth=2, alpha=0.5)
        axes.plot([value], [at], "o", color=_COLOURS[0], markersize=5)
    axes.set_yticks(range(len(rows)), [name for name, *_ in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel(x)
    if logarithmic:
        axes.set_xscale("log")
    return _svg(figure)


def _axes(width: float, height: float) -> tuple[Any, Any]:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError("the plots of a report need Matplotlib: pip install 'cbir[bench]'") from None
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.grid(True, which="both", color="#e2e8f0", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _svg(figure: Any) -> str:
    import matplotlib as mpl

    target = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "cbir", "font.family": "sans-serif"}):
        figure.savefig(target, format="svg", metadata={"Date": None, "Creator": None})
    text = target.getvalue()
    return re.sub(r"[ \t]+$", "", text[text.index("<svg") :].strip(), flags=re.MULTILINE)

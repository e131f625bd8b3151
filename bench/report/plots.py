"""Plots of a report, drawn by Matplotlib as SVG text that is the same for the same figures."""

import io
import re
from typing import Any

from ..core.document import Curves, Ranges

_COLOURS = (
    "#0f766e", "#b45309", "#4338ca", "#be123c", "#15803d", "#7e22ce", "#0369a1", "#a16207", "#475569", "#db2777",
)  # fmt: skip
_MARKS = "os^Dvp*hX<"


def draw(plot: Curves | Ranges) -> str:
    """Return a plot as SVG."""
    return _curves(plot) if isinstance(plot, Curves) else _ranges(plot)


def _curves(plot: Curves) -> str:
    figure, axes = _axes(8, 4.6)
    for at, (name, points) in enumerate(plot.series.items()):
        colour, mark = _COLOURS[at % len(_COLOURS)], _MARKS[at % len(_MARKS)]
        front = sorted(place for place, is_on in points if is_on)
        rest = [place for place, is_on in points if not is_on]
        if rest:
            axes.plot(*zip(*rest, strict=True), mark, color=colour, alpha=0.25, markersize=5)
        if front:
            axes.plot(*zip(*front, strict=True), f"{mark}-", color=colour, label=name, markersize=5, linewidth=1.4)
    if plot.floor is not None:
        axes.axvline(plot.floor, color="#94a3b8", linewidth=0.8, linestyle=":")
    axes.set_yscale("log")
    axes.set_xlabel(plot.x)
    axes.set_ylabel(plot.y)
    axes.legend(frameon=False, fontsize=8)
    return _svg(figure)


def _ranges(plot: Ranges) -> str:
    rows = plot.rows
    figure, axes = _axes(8, 0.9 + 0.32 * len(rows))
    for at, (_, value, low, high) in enumerate(rows):
        axes.plot([low, high], [at, at], color=_COLOURS[0], linewidth=2, alpha=0.5)
        axes.plot([value], [at], "o", color=_COLOURS[0], markersize=5)
    axes.set_yticks(range(len(rows)), [name for name, *_ in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel(plot.x)
    if plot.logarithmic:
        axes.set_xscale("log")
    return _svg(figure)


def _axes(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

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

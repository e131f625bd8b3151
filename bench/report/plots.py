"""Plots of a report, drawn by Matplotlib as SVG text that is the same for the same numbers."""

import io
import re
from typing import Any

from cbir.evaluation.sections import Bars, Curves

_COLOURS = (
    "#0f766e", "#b45309", "#4338ca", "#be123c", "#15803d", "#7e22ce", "#0369a1", "#a16207", "#475569", "#db2777",
)  # fmt: skip
_MARKS = "os^Dvp*hX<"


def draw(plot: Curves | Bars) -> str:
    """Return a plot as SVG."""
    if isinstance(plot, Bars):
        return _bars(plot)
    figure, axes = _axes(8, 4.6)
    for index, (name, points) in enumerate(plot.series.items()):
        colour, mark = _COLOURS[index % len(_COLOURS)], _MARKS[index % len(_MARKS)]
        front = sorted((point.x, point.y) for point in points if point.on_front)
        rest = [(point.x, point.y) for point in points if not point.on_front]
        if rest:
            axes.plot(*zip(*rest, strict=True), mark, color=colour, alpha=0.25, markersize=5)
        if front:
            axes.plot(*zip(*front, strict=True), f"{mark}-", color=colour, label=name, markersize=5, linewidth=1.4)
        for point in points:
            if point.name:
                axes.annotate(point.name, (point.x, point.y), (5, 4), textcoords="offset points", fontsize=7)
    if plot.target is not None:
        axes.axvline(plot.target, color="#94a3b8", linewidth=0.8, linestyle=":")
    axes.set_yscale("log")
    axes.set_xlabel(plot.x)
    axes.set_ylabel(plot.y)
    if len(plot.series) > 1:
        axes.legend(frameon=False, fontsize=8)
    return _svg(figure)


def _bars(plot: Bars) -> str:
    bars = plot.bars
    figure, axes = _axes(8, 0.9 + 0.32 * len(bars))
    for row, bar in enumerate(bars):
        axes.plot([bar.low, bar.high], [row, row], color=_COLOURS[0], linewidth=2, alpha=0.5)
        axes.plot([bar.value], [row], "o", color=_COLOURS[0], markersize=5)
    axes.set_yticks(range(len(bars)), [bar.name for bar in bars], fontsize=8)
    axes.set_ylim(len(bars) - 0.5, -0.5)
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

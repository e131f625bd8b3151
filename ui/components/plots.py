"""Altair plots of rows of figures, and the colour of their text. What has no figure is left out, never drawn as 0."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import altair as alt
import streamlit as st

_INK = {"light": "#4b5753", "dark": "#c3ccc9"}
Row = Mapping[str, Any]
Plot = Callable[[Sequence[Row]], Any]
"""Makes an Altair chart of rows."""


def theme() -> Literal["light", "dark"]:
    """Return which theme the visitor sees."""
    return "dark" if st.context.theme.type == "dark" else "light"


def readable(chart: Any) -> Any:
    """Return the chart with text that stands out from the page; Streamlit's own grey has a contrast of 3.7."""
    ink = _INK[theme()]
    return chart.configure_axis(labelColor=ink, titleColor=ink).configure_legend(labelColor=ink, titleColor=ink)


def _chart(rows: Sequence[Row], *defined: str) -> alt.Chart:
    """Return a chart of the rows in which these fields are defined."""
    kept = [dict(row) for row in rows if all(row[name] is not None for name in defined)]
    return alt.Chart(alt.Data(values=kept))  # type: ignore[no-untyped-call]


def _tooltip(rows: Sequence[Row]) -> list[alt.Tooltip]:
    return [alt.Tooltip(f"{name}:N") for name in rows[0]]


def _axis(field: str) -> alt.X:
    return alt.X(f"{field}:Q", scale=alt.Scale(zero=False, nice=True), title=field)


def _legend(field: str) -> alt.Color:
    return alt.Color(f"{field}:N", legend=alt.Legend(orient="bottom", columns=1, labelLimit=300), title=None)


def ranged(x: str, x2: str, y: str, color: str, shape: str = "") -> Plot:
    """Return what plots a point for each row, and a line from it to another value of x."""

    def plot(rows: Sequence[Row]) -> Any:
        base = _chart(rows, x, y).encode(
            alt.Y(f"{y}:Q", scale=alt.Scale(zero=False, padding=12), axis=alt.Axis(format=".4~f")),
            color=_legend(color),
            tooltip=_tooltip(rows),
        )
        point = base.mark_point(filled=True, size=110).encode(_axis(x))
        if shape:
            point = point.encode(
                shape=alt.Shape(f"{shape}:N", legend=alt.Legend(orient="bottom", columns=1), title=None)
            )
        return (base.mark_rule(strokeWidth=2).encode(_axis(x), x2=f"{x2}:Q") + point).interactive()

    return plot


def down_to(field: str, name: str) -> Plot:
    """Return what plots the mean of each row, and a line to the lowest."""

    def plot(rows: Sequence[Row]) -> Any:
        low = "lowest"  # a comma in a field's name is one thing more to go wrong
        base = _chart([{**row, low: row[f"{field}, lowest"]} for row in rows], field, low).encode(
            alt.Y(f"{name}:N", title=None, axis=alt.Axis(labelLimit=140)),
            alt.YOffset("search:N"),
            color=_legend("search"),
            tooltip=[f"{name}:N", "search:N", f"{field}:Q", f"{low}:Q"],
        )
        line = base.mark_rule(strokeWidth=2).encode(_axis(field), x2=f"{low}:Q")
        ticks = base.mark_tick(thickness=3).encode(_axis(low).title(field))
        return (line + ticks + base.mark_point(filled=True, size=110).encode(_axis(field))).interactive()

    return plot


def lines(x: str, y: str, color: str) -> Plot:
    """Return what plots a line for each colour, over values in steps."""

    def plot(rows: Sequence[Row]) -> Any:
        marks = _chart(rows, x, y).mark_line(point=alt.OverlayMarkDef(size=70))
        axes = alt.X(f"{x}:O", axis=alt.Axis(labelAngle=0)), alt.Y(f"{y}:Q")
        return marks.encode(*axes, _legend(color), tooltip=_tooltip(rows)).interactive()

    return plot


def logarithmic(x: str, y: str, color: str) -> Plot:
    """Return what plots a line for each colour, over two logarithmic axes."""

    def plot(rows: Sequence[Row]) -> Any:
        several = alt.Scale(type="log")
        return (
            _chart([row for row in rows if row[x] > 0 and row[y] > 0])  # a logarithm knows no 0
            .mark_line(point=alt.OverlayMarkDef(size=70))
            .encode(
                alt.X(f"{x}:Q", scale=several, axis=alt.Axis(format="~s", tickCount=4)),
                alt.Y(f"{y}:Q", scale=several, axis=alt.Axis(format="~s", tickCount=5)),
                _legend(color),
                tooltip=_tooltip(rows),
            )
            .interactive()
        )

    return plot


def bars(x: str, y: str, color: str) -> Plot:
    """Return what plots bars beside each other, by name and colour."""

    def plot(rows: Sequence[Row]) -> Any:
        return (
            _chart(rows, x)
            .mark_bar()
            .encode(
                alt.X(f"{x}:Q", title=x),
                alt.Y(f"{y}:N", title=None, axis=alt.Axis(labelLimit=140)),
                _legend(color),
                alt.YOffset(f"{color}:N"),
                tooltip=_tooltip(rows),
            )
        )

    return plot


def spread(rows: Sequence[Row]) -> Any:
    """Return a plot of images a second: the median of each part, and a line from the lowest to the highest."""
    base = _chart(rows).encode(
        alt.Y("part:N", sort=None, title=None, axis=alt.Axis(labelLimit=140)),
        alt.YOffset("model:N"),
        color=_legend("model"),
        tooltip=["model:N", "part:N", "images/s:Q", "lowest:Q", "highest:Q"],
    )
    line = base.mark_rule(strokeWidth=2).encode(_axis("lowest").title("images/s"), x2="highest:Q")
    return (line + base.mark_point(filled=True, size=110).encode(_axis("images/s"))).interactive()


def intervals(name: str) -> Plot:
    """Return what plots the `value` of each row, with a line from its `low` to its `high`."""

    def plot(rows: Sequence[Row]) -> Any:
        base = _chart(rows, "value").encode(
            alt.Y(f"{name}:N", sort=None, title=None, axis=alt.Axis(labelLimit=260)), tooltip=_tooltip(rows)
        )
        line = base.mark_rule(strokeWidth=2).encode(_axis("low").title(None), x2="high:Q")
        return (line + base.mark_point(filled=True, size=90).encode(_axis("value").title(None))).interactive()

    return plot


def tradeoff(x: str, y: str, color: str) -> Plot:
    """Return what plots a line of points for each colour; y is logarithmic."""

    def plot(rows: Sequence[Row]) -> Any:
        base = _chart([row for row in rows if (row[y] or 0) > 0], x).encode(
            _axis(x),
            alt.Y(f"{y}:Q", scale=alt.Scale(type="log"), axis=alt.Axis(format="~s", tickCount=5)),
            _legend(color),
            tooltip=_tooltip(rows),
        )
        return base.mark_line(point=alt.OverlayMarkDef(size=60)).interactive()

    return plot

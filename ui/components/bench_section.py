"""A section of a bench result on the page: the same data as on the console and in the report."""

import base64
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import altair as alt
import streamlit as st

from cbir.errors import ImageError
from cbir.evaluation.result_files import shortened
from cbir.evaluation.sections import Bars, Curves, Section, Strip
from cbir.images.decode import decode
from cbir.tables import Range, Table, to_csv

from .plots import readable
from .problems import literal

_MAX_IMAGES = 40
_IMAGE_SIDE = 64
_DOWNLOAD = ":material/download:"


def draw(section: Section, kind: str) -> None:
    """Draw the section of a kind of result: verdicts first, then plots and tables, and the notes folded away."""
    st.subheader(literal(section.title), anchor=False)
    for verdict in section.verdicts:
        st.markdown(f"**{_text(verdict)}**")
    st.markdown(_text(section.subject))
    for number, part in enumerate(section.parts):
        match part:
            case Curves():
                st.altair_chart(readable(_curves(part)), width="stretch")
            case Bars():
                st.altair_chart(readable(_bars(part)), width="stretch")
            case Strip():
                _strip(part)
            case table:
                _table(table, f"{kind}-{number}.csv")
    if section.notes:
        with st.expander("How to read this"):
            for note in section.notes:
                st.markdown(_text(note))


def _table(table: Table, file: str) -> None:
    rows = [[shortened(cell) if isinstance(cell, str) else cell for cell in row] for row in table.rows]
    table = replace(table, rows=rows)
    if table.title:
        st.markdown(f"**{_text(table.title)}**")
    formats = {column.heading: number_format(column.format) for column in table.columns if column.format}
    config = {heading: st.column_config.NumberColumn(format=text) for heading, text in formats.items()}
    st.dataframe(as_columns(table), hide_index=True, column_config=config)
    st.download_button(
        "Download CSV", to_csv(table), file, "text/csv", file, on_click="ignore", type="tertiary", icon=_DOWNLOAD
    )


def as_columns(table: Table) -> dict[str, Sequence[Any]]:
    """Return a table's plain values by column; a range becomes its value and its bounds as text."""
    found: dict[str, Sequence[Any]] = {}
    for index, column in enumerate(table.columns):
        cells = [row[index] for row in table.rows]
        if not any(isinstance(cell, Range) for cell in cells):
            found[column.heading] = [column.shown(cell) if isinstance(cell, int | float) else cell for cell in cells]
            continue
        found[column.heading] = [column.shown(cell.value) if isinstance(cell, Range) else cell for cell in cells]
        found[f"{column.header}, range"] = [
            f"{column.text(cell.low)} to {column.text(cell.high)}" if isinstance(cell, Range) else None
            for cell in cells
        ]
    return found


def number_format(python_format: str) -> str:
    """Return Streamlit's format of numbers for one of Python's."""
    if python_format.endswith("%"):
        return "percent"
    if python_format.endswith("f"):
        return f"%{python_format.replace(',', '').replace('+', '')}"
    return "localized" if "," in python_format else "plain"


def _strip(strip: Strip) -> None:
    st.markdown(f"**{_text(strip.title)}**")
    for image in strip.images[:_MAX_IMAGES]:
        with suppress(ImageError, ValueError):  # the file of a result may hold anything
            st.image(decode(base64.b64decode(image.data or ""), _IMAGE_SIDE), image.caption, width=_IMAGE_SIDE)


def _curves(plot: Curves) -> Any:
    rows = [
        {
            "series": shortened(name),
            "name": shortened(point.name),
            "x": point.x,
            "y": point.y,
            "front": point.on_front,
        }
        for name, points in plot.series.items()
        for point in points
    ]
    named = any(row["name"] for row in rows)
    base = alt.Chart(alt.Data(values=rows)).encode(  # type: ignore[no-untyped-call]
        alt.X("x:Q", scale=alt.Scale(zero=False, nice=True), title=plot.x),
        alt.Y("y:Q", scale=alt.Scale(type="log"), title=plot.y, axis=alt.Axis(format="~s", tickCount=5)),
        alt.Color("series:N", legend=alt.Legend(orient="bottom", columns=1, labelLimit=300), title=None),
        tooltip=[
            alt.Tooltip("name:N" if named else "series:N"),
            alt.Tooltip("x:Q", title=plot.x),
            alt.Tooltip("y:Q", title=plot.y),
        ],
    )
    line = base.transform_filter("datum.front").mark_line()
    faded = alt.condition("datum.front", alt.value(1), alt.value(0.3))
    points = base.mark_point(filled=True, size=70).encode(opacity=faded)
    names = base.mark_text(align="left", dx=7, dy=-5).encode(text="name:N")
    height = 300 + 24 * len(plot.series)
    return (line + points + names).properties(height=height, description=plot.caption)


def _bars(plot: Bars) -> Any:
    rows = [{"name": shortened(bar.name), "value": bar.value, "low": bar.low, "high": bar.high} for bar in plot.bars]
    scale = alt.Scale(type="log") if plot.logarithmic else alt.Scale(zero=False, nice=True)
    base = alt.Chart(alt.Data(values=rows)).encode(  # type: ignore[no-untyped-call]
        alt.Y("name:N", sort=None, title=None, axis=alt.Axis(labelLimit=300)),
        tooltip=[alt.Tooltip("name:N"), alt.Tooltip("value:Q"), alt.Tooltip("low:Q"), alt.Tooltip("high:Q")],
    )
    line = base.mark_rule(strokeWidth=2).encode(alt.X("low:Q", scale=scale, title=plot.x), x2="high:Q")
    points = base.mark_point(filled=True, size=90).encode(alt.X("value:Q", scale=scale, title=plot.x))
    return (line + points).properties(height=80 + 26 * len(rows), description=plot.caption)


def _text(text: str) -> str:
    return literal(shortened(text))

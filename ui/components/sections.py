"""The sections of a report of `cbir-bench`: rows of figures with a plot of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from cbir.errors import CbirError
from cbir.evaluation.result_files import shortened
from cbir.stores.display import display_names

from . import plots
from .plots import Plot, Row
from .problems import literal

MAX_NOTES = 20
Result = Mapping[str, Any]
_NAME_LENGTH = 60
_LEGEND_LINE = 24
_COLOURED = ("store", "stores", "search", "model", "how", "what", "index", "candidate")


@dataclass(frozen=True)
class Section:
    """Rows of figures, as a plot and a table.

    Attributes:
        title: Its heading, "" for none.
        rows: The rows of the table; without any, the section is left out.
        plot: Makes its plot.
        plotted: What is plotted, if other rows than those of the table.
        table: False for a plot alone.

    Raises:
        TypeError: A value is no plain figure or text.
    """

    title: str
    rows: Sequence[Row]
    plot: Plot | None = None
    plotted: Sequence[Row] | None = None
    table: bool = True

    def __post_init__(self) -> None:
        for row in (*self.rows, *(self.plotted or ())):
            for name, value in row.items():
                if not isinstance(value, str | int | float | None):
                    raise TypeError(f"{name} is {type(value).__name__}")

    def chart(self) -> Any:
        """Return its plot, None if there is nothing to plot."""
        rows = self.rows if self.plotted is None else self.plotted
        if not self.plot or not rows:
            return None
        legend = max(len({row[field] for row in rows}) for field in _COLOURED if field in rows[0])
        height = 240 + _LEGEND_LINE * legend  # the legend takes its room from the plot
        return plots.readable(self.plot(rows).properties(height=height, description=self.title))


@dataclass(frozen=True)
class Sections:
    """What there is to show of a report, and why some of it could not be measured."""

    sections: Sequence[Section]
    failures: Sequence[str] = ()


def draw(found: Sections) -> None:
    """Draw all sections that have rows; nothing is drawn if one of them cannot be.

    Raises:
        TypeError: A figure that is plotted is no number.
    """
    charts = [(section, section.chart()) for section in found.sections if section.rows]
    for section, chart in charts:
        if section.title:
            st.markdown(f"**{section.title}**")
        if chart is not None:
            st.altair_chart(chart, width="stretch")
        if section.table:
            st.dataframe(section.rows, hide_index=True)
    for reason in found.failures[:MAX_NOTES]:
        st.warning(literal(shortened(reason)), icon=":material/warning:")
    if len(found.failures) > MAX_NOTES:
        st.caption(f"and {len(found.failures) - MAX_NOTES:,} more")


def figure(value: Any, *path: str) -> Any:
    """Return the figure at a path in nested JSON, None below a null.

    Raises:
        LookupError: There is no such figure.
        TypeError: Something on the path is neither an object nor null.
    """
    for name in path:
        if value is None:
            return None
        value = value[name]
    return value


def spread(value: Any, name: str) -> Row:
    """Return the columns of the median of some rounds, the lowest and the highest."""
    return {name: figure(value, "median"), "lowest": figure(value, "lowest"), "highest": figure(value, "highest")}


def times(milliseconds: Any, without: str = "") -> Row:
    """Return the columns of a search's time; `without` names one to leave out."""
    return {f"{name} ms": milliseconds[name] for name in ("median", "p95", "p99") if name != without}


def recall(summary: Any, name: str = "recall") -> Row:
    """Return the columns of a recall: its mean, what 5 in 100 queries are worse than, and the lowest."""
    return {name: summary["mean"], f"{name}, p5": summary["p5"], f"{name}, lowest": summary["worst"]}


def short_names(urls: Sequence[str]) -> dict[str, str]:
    """Return a short name for each store of a report, whose URLs may be anything."""
    known = list(dict.fromkeys(urls))
    try:
        return display_names(known)
    except (CbirError, ValueError):
        return {url: shortened(url)[:_NAME_LENGTH] for url in known}

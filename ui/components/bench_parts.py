"""What the sections of the page Bench are made of."""

from collections.abc import Sequence

import streamlit as st

from cbir.errors import CbirError
from cbir.evaluation.result_files import shortened

from . import choice, plots
from .bench_figures import Measured, Summary
from .plots import Plot, Row
from .problems import literal

MOST_NOTES = 20
_NAME_LENGTH = 60
_LEGEND_LINE = 24
_COLOURED = ("store", "stores", "search", "model", "how", "what", "index", "candidate")


def section(
    title: str,
    rows: Sequence[Row],
    plot: Plot | None = None,
    drawn: Sequence[Row] | None = None,
    table: bool = True,
) -> None:
    """Draw a plot and the figures behind it; nothing, if there are none."""
    if not rows:
        return
    st.markdown(f"**{title}**")
    shown = rows if drawn is None else drawn
    if plot and shown:
        legend = max(len({row[field] for row in shown}) for field in _COLOURED if field in shown[0])
        height = 240 + _LEGEND_LINE * legend  # the legend takes its room from the plot
        st.altair_chart(plots.readable(plot(shown).properties(height=height, description=title)), width="stretch")
    if table:
        st.dataframe(rows, hide_index=True)


def ways(title: str, models: Sequence[Measured]) -> None:
    """Draw images a second of each model's ways from files to vectors, and say which were not measured."""
    rows = [
        {
            "model": one.model,
            "part": part.name,
            "images/s": part.images_per_second and part.images_per_second.median,
            "lowest": part.images_per_second and part.images_per_second.lowest,
            "highest": part.images_per_second and part.images_per_second.highest,
            "processor ms": part.core_milliseconds,
            "peak MB": part.peak_megabytes,
            "what": (part.missing and f"not measured: {part.missing}") or part.what,
        }
        for one in models
        for part in one.parts
    ]
    section(title, rows, plots.spread, [row for row in rows if row["images/s"] is not None])
    say_failed([f"{one.model}, {part.name}: {part.missing}" for one in models for part in one.parts if part.missing])


def say_failed(reasons: Sequence[str]) -> None:
    """Say what could not be measured, and why."""
    for reason in reasons[:MOST_NOTES]:
        st.warning(literal(shortened(reason)), icon=":material/warning:")
    if len(reasons) > MOST_NOTES:
        st.caption(f"and {len(reasons) - MOST_NOTES:,} more")


def recall_columns(summary: Summary, name: str = "recall") -> Row:
    """Return the columns of a recall: its mean, what 5 in 100 queries are worse than, and the lowest."""
    return {name: summary.mean, f"{name}, p5": summary.p5, f"{name}, lowest": summary.worst}


def short_names(urls: Sequence[str]) -> dict[str, str]:
    """Return a short name for each store of a report, whose URLs may be anything."""
    known = list(dict.fromkeys(urls))
    try:
        return choice.store_names(known)
    except (CbirError, ValueError):
        return {url: shortened(url)[:_NAME_LENGTH] for url in known}

"""The colours of plots on the page."""

from typing import Any, Literal

import streamlit as st

_INK = {"light": "#4b5753", "dark": "#c3ccc9"}


def theme() -> Literal["light", "dark"]:
    """Return which theme the visitor sees."""
    return "dark" if st.context.theme.type == "dark" else "light"


def readable(chart: Any) -> Any:
    """Return the chart with text that stands out from the page; Streamlit's own grey has a contrast of 3.7."""
    ink = _INK[theme()]
    return chart.configure_axis(labelColor=ink, titleColor=ink).configure_legend(labelColor=ink, titleColor=ink)

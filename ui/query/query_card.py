"""The query's card: its images and texts with buttons to change each, a title, and the time of its search."""

from collections.abc import Mapping, Sequence

import streamlit as st

from ..components.web import data_url, web_component
from . import state
from .images import ReadyExample

_query = web_component("query", "crop")


def draw(
    examples: Sequence[ReadyExample],
    title: str,
    line: str,
    notes: Sequence[str] = (),
    milliseconds: Mapping[str, float] | None = None,
) -> None:
    """Draw the query, and the milliseconds of each stage of its search."""
    cards = [
        {"sign": ready.example.sign, "title": ready.title, "src": data_url(ready.image), "words": ready.example.words}
        | {"preview": data_url(ready.preview)}
        | {"crop": [crop.left, crop.top, crop.right, crop.bottom] if (crop := ready.example.crop) else None}
        for ready in examples
    ]
    times = [[stage, f"{spent:.1f} ms"] for stage, spent in (milliseconds or {}).items()]
    data = {"examples": cards, "title": title, "line": line, "notes": list(notes), "times": times}
    _query(key="query_card", data=data, on_act_change=_acted)


def _acted() -> None:
    match st.session_state["query_card"].get("act"):  # a browser may send anything
        case ["remove" | "turn" | "crop" as action, int(index), box]:
            state.change(action, index, box)


def heading(examples: Sequence[ReadyExample]) -> tuple[str, str]:
    """Return the title of a query, and a line about it."""
    if len(examples) == 1:
        return examples[0].title, examples[0].line
    like = sum(ready.example.sign == "like" for ready in examples)
    unlike = f", not like {len(examples) - like}" if like < len(examples) else ""
    what = "examples" if any(ready.example.words for ready in examples) else "images"
    return f"{len(examples)} {what}", f"Like {like} of them{unlike}"

"""The query's card: its images with what can be done with each, what to call it, and the time that it took."""

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
    """Show the query, and the milliseconds that each stage of its search took."""
    shown = [
        {"sign": example.sign, "title": example.title, "alt": example.title}
        | {"src": data_url(example.picture), "large": data_url(example.large)}
        | {"crop": [crop.left, crop.top, crop.right, crop.bottom] if (crop := example.example.crop) else None}
        for example in examples
    ]
    times = [[stage, f"{spent:.1f} ms"] for stage, spent in (milliseconds or {}).items()]
    data = {"examples": shown, "title": title, "line": line, "notes": list(notes), "times": times}
    _query(key="query_card", data=data, on_act_change=_acted)


def _acted() -> None:
    match st.session_state["query_card"].get("act"):  # what comes from a browser may be anything
        case ["remove" | "turn" | "crop" as action, int(index), box]:
            state.change(action, index, box)


def heading(examples: Sequence[ReadyExample]) -> tuple[str, str]:
    """Return what to call a query, and what else there is to say of it."""
    if len(examples) == 1:
        return examples[0].title, examples[0].line
    like = sum(example.sign == "like" for example in examples)
    unlike = f", not like {len(examples) - like}" if like < len(examples) else ""
    return f"{len(examples)} pictures", f"Like {like} of them{unlike}"

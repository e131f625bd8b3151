"""The parts of the page that Streamlit has no widget for: a gallery, the query's card, facts, and pasting.

Their scripts in `web/` put what they are given on the page as text, never as HTML, so a file may be called
`<b>` or `:red[x]`.
"""

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import streamlit as st

from cbir.errors import ImageError
from cbir.records import Hit

Action = Callable[[], None]

_WEB = Path(__file__).with_name("web")
LOGO = str(_WEB / "logo.svg")
PAGE_STYLE = _WEB / "page.css"
_SHOWN_CHARACTERS = 500
_TOO_LARGE = "too large"
_NAMES = ("name", "title", "caption", "productDisplayName")


def _component(name: str) -> Any:
    style, script = (_WEB / file for file in ("style.css", f"{name}.js"))
    root = f'<div class="root {name}"></div>'
    return st.components.v2.component(f"cbir_{name}", html=root, css=style.read_text(), js=script.read_text())


_gallery = _component("gallery")
_query = _component("query")
_facts = _component("facts")
_paste = _component("paste")


@dataclass(frozen=True)
class Tile:
    """A picture to choose: its point's id, its thumbnail, what a screen reader says, and what stands below it."""

    id: str
    picture: bytes | None
    alt: str
    caption: str = ""


def heading(hit: Hit) -> str:
    """Return what people call the picture: the name in its payload, or else its file name, or its key."""
    names = (hit.payload.get(field) for field in _NAMES)
    return next((name for name in names if isinstance(name, str) and name), hit.key.rpartition("/")[2] or hit.key)


def subheading(hit: Hit) -> str:
    """Return its key and label, as far as the heading does not say them."""
    parts = (hit.key if heading(hit) != hit.key else None, hit.label)
    return " · ".join(part for part in parts if part)


def gallery(hits: Sequence[Hit], thumbnails: Sequence[bytes | None], on_choice: Callable[[str], None]) -> None:
    """Show hits as cards; `on_choice` is given the id of the one the visitor wants more of."""
    cards = [
        {
            "id": hit.id,
            "src": _url(thumbnail),
            "rank": rank,
            "score": f"{hit.score:.3f}",
            "bar": max(0.0, min(1.0, hit.score)),
            "heading": heading(hit),
            "subheading": subheading(hit),
            "rows": [[name, _text(value)] for name, value in hit.payload.items()] + [["point", hit.id]],
        }
        for rank, (hit, thumbnail) in enumerate(zip(hits, thumbnails, strict=True), 1)
    ]
    _gallery(key="gallery", data={"cards": cards}, on_chosen_change=_chosen("gallery", on_choice))


def tiles(key: str, shown: Sequence[Tile], on_choice: Callable[[str], None]) -> None:
    """Show pictures in rows; `on_choice` is given the id of the one the visitor chooses."""
    data = [{"id": one.id, "src": _url(one.picture), "alt": one.alt, "caption": one.caption} for one in shown]
    _gallery(key=key, data={"tiles": data}, on_chosen_change=_chosen(key, on_choice))


def query_card(picture: bytes | None, title: str, line: str, times: Mapping[str, float]) -> None:
    """Show what is being asked, and the milliseconds that answering took."""
    spent = [[stage, f"{milliseconds:.1f} ms"] for stage, milliseconds in times.items()]
    _query(key="query_card", data={"src": _url(picture), "title": title, "line": line, "times": spent})


def facts(rows: Sequence[tuple[str, str]]) -> None:
    """Show names and values below each other."""
    _facts(key="facts", data={"rows": [list(row) for row in rows]})


def paste_box(max_bytes: int, on_picture: Callable[[bytes], None], on_problem: Callable[[str], None]) -> None:
    """Take a picture that the visitor pastes anywhere on the page."""

    def pasted() -> None:
        text = st.session_state["paste"].get("picture")
        if not text:
            return
        try:
            on_picture(_bytes(text, max_bytes))
        except ImageError as error:
            on_problem(str(error))

    _paste(key="paste", data={"max": max_bytes}, on_picture_change=pasted)


def _chosen(key: str, on_choice: Callable[[str], None]) -> Action:
    def act() -> None:
        chosen = st.session_state[key].get("chosen")
        if is_id(chosen):
            on_choice(chosen)

    return act


def is_id(value: object) -> bool:
    """Return whether this is a point's id as cbir writes it; what comes from a browser may be anything."""
    try:
        return isinstance(value, str) and str(UUID(value)) == value
    except ValueError:
        return False


def _bytes(text: Any, max_bytes: int) -> bytes:
    """Return the bytes of a `data:` URL, which comes from a browser and may be anything."""
    if text == _TOO_LARGE or (isinstance(text, str) and len(text) > max_bytes * 4 // 3 + 100):
        raise ImageError(f"larger than {max_bytes >> 20} MB")
    head, _, body = text.partition(";base64,") if isinstance(text, str) else ("", "", "")
    try:
        if not head.startswith("data:image/"):
            raise ValueError
        return base64.b64decode(body, validate=True)
    except (ValueError, binascii.Error):
        raise ImageError("what was pasted is not an image") from None


def _url(picture: bytes | None) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}" if picture else ""


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"

"""Web components: what Streamlit has no widget for. Their scripts are in `web/`.

The scripts put what they are given on the page as text, never as HTML, so a file may be called `<b>` or `:red[x]`.
"""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from cbir.errors import ImageError

_WEB = Path(__file__).parent.parent / "web"
LOGO = str(_WEB / "logo.svg")
PAGE_STYLE = _WEB / "page.css"
_MAX_TICKED = 200
_TOO_LARGE = "too large"


def web_component(name: str, *shared: str) -> Any:
    """Return the component whose script is `web/NAME.js`; `shared` names scripts that it needs."""
    script = "\n".join((_WEB / f"{file}.js").read_text() for file in ("dom", *shared, name))
    root = f'<div class="root {name}"></div>'
    return st.components.v2.component(f"cbir_{name}", html=root, css=(_WEB / "style.css").read_text(), js=script)


_facet = web_component("facet")
_facts = web_component("facts")
_paste = web_component("paste")


def data_url(picture: bytes | None) -> str:
    """Return a JPEG as an address that a browser shows, "" for none."""
    return f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}" if picture else ""


def facet(field: str, counts: Mapping[str, int], chosen: Sequence[str], on_choice: Callable[[list[str]], None]) -> None:
    """Show the values of a field with their counts, to tick; `on_choice` is given those that are ticked."""
    key = f"facet {field}"

    def ticked() -> None:
        values = st.session_state[key].get("chosen")
        if isinstance(values, list) and len(values) <= _MAX_TICKED and all(isinstance(text, str) for text in values):
            on_choice(values)

    data = {"field": field, "values": [list(pair) for pair in counts.items()], "chosen": list(chosen)}
    _facet(key=key, data=data, on_chosen_change=ticked)


def facts(rows: Sequence[tuple[str, str]], key: str = "facts") -> None:
    """Show names and values below each other."""
    _facts(key=key, data={"rows": [list(row) for row in rows]})


def paste_box(max_bytes: int, on_picture: Callable[[bytes], None], on_problem: Callable[[str], None]) -> None:
    """Take an image that the visitor pastes anywhere on the page."""

    def pasted() -> None:
        text = st.session_state["paste"].get("picture")
        if not text:
            return
        try:
            on_picture(_bytes(text, max_bytes))
        except ImageError as error:
            on_problem(str(error))

    _paste(key="paste", data={"max": max_bytes}, on_picture_change=pasted)


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

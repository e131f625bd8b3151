"""Web components for which Streamlit has no widget. Their scripts are in `web/`.

The scripts insert all data as text, never as HTML, so that a file may be called `<b>` or `:red[x]`.
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
_MAX_SELECTED = 200
_TOO_LARGE = "too large"


def web_component(name: str, *shared: str) -> Any:
    """Return the component whose script is `web/NAME.js`; `shared` names scripts that it needs."""
    script = "\n".join((_WEB / f"{file}.js").read_text() for file in ("dom", *shared, name))
    root = f'<div class="root {name}"></div>'
    return st.components.v2.component(f"cbir_{name}", html=root, css=(_WEB / "style.css").read_text(), js=script)


_facet = web_component("facet")
_paste = web_component("paste")


def data_url(image: bytes | None) -> str:
    """Return a JPEG as a `data:` URL, "" for none."""
    return f"data:image/jpeg;base64,{base64.b64encode(image).decode()}" if image else ""


def facet(
    field: str, counts: Mapping[str, int], chosen: Sequence[str], on_choice: Callable[[list[str]], None], cut: bool
) -> None:
    """Draw the values of a field with their counts as checkboxes; `on_choice` is called with the selected values.

    `cut`: the field has more values than these, which are the most frequent.
    """
    key = f"facet {field}"

    def selected() -> None:
        values = st.session_state[key].get("chosen")
        if isinstance(values, list) and len(values) <= _MAX_SELECTED and all(isinstance(text, str) for text in values):
            on_choice(values)

    data = {"field": field, "values": [list(pair) for pair in counts.items()], "chosen": list(chosen), "cut": cut}
    _facet(key=key, data=data, on_chosen_change=selected)


def paste_box(max_bytes: int, on_image: Callable[[bytes], None], on_problem: Callable[[str], None]) -> None:
    """Take an image that the visitor pastes anywhere on the page."""

    def pasted() -> None:
        text = st.session_state["paste"].get("image")
        if not text:
            return
        try:
            on_image(_bytes(text, max_bytes))
        except ImageError as error:
            on_problem(str(error))

    _paste(key="paste", data={"max": max_bytes}, on_image_change=pasted)


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
        raise ImageError("not an image") from None

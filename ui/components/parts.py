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

import streamlit as st

from cbir.errors import ImageError
from cbir.records import Hit, Payload, whole

from ..query.state import is_id

Action = Callable[[], None]

_WEB = Path(__file__).parent.parent / "web"
LOGO = str(_WEB / "logo.svg")
PAGE_STYLE = _WEB / "page.css"
ACTIONS = ("ask", "like", "unlike")
_SHOWN_CHARACTERS = 500
_MOST_TICKED = 200
_TOO_LARGE = "too large"
_NAMES = ("name", "title", "caption", "productDisplayName")


@dataclass(frozen=True)
class Tile:
    """A picture to choose: its point's id, its thumbnail, what a screen reader says, and what stands below it."""

    id: str
    picture: bytes | None
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Card:
    """A hit as it is shown.

    Attributes:
        hit: The hit.
        rank: From 1.
        picture: Its thumbnail.
        percentile: How its score compares with all pairs of the collection, in short.
        meaning: The same in a sentence.
        badges: What else is to be seen at once.
        copies: What is nearly the same, and folded into it.
        mark: "both", "moved" or "alone", where two answers are compared.
    """

    hit: Hit
    rank: int
    picture: bytes | None
    percentile: str = ""
    meaning: str = "Cosine similarity: 1 is the same"
    badges: tuple[str, ...] = ()
    copies: tuple[Tile, ...] = ()
    mark: str = ""


@dataclass(frozen=True)
class Section:
    """Cards under a heading, or under none."""

    title: str
    cards: Sequence[Card]


@dataclass(frozen=True)
class ShownExample:
    """A picture of the query: "like" or "unlike", its name, thumbnail and a larger one, and its crop in percent."""

    sign: str
    title: str
    picture: bytes | None
    large: bytes | None
    crop: tuple[int, int, int, int] | None


def _component(name: str, *shared: str) -> Any:
    script = "\n".join((_WEB / f"{file}.js").read_text() for file in ("dom", *shared, name))
    root = f'<div class="root {name}"></div>'
    return st.components.v2.component(f"cbir_{name}", html=root, css=(_WEB / "style.css").read_text(), js=script)


_gallery = _component("gallery")
_query = _component("query", "crop")
_facet = _component("facet")
_facts = _component("facts")
_paste = _component("paste")


def heading(payload: Payload) -> str:
    """Return what people call a picture: the name in its payload, or else its file name, or its key."""
    key = str(payload["key"])
    names = (payload.get(field) for field in _NAMES)
    return next((name for name in names if isinstance(name, str) and name), key.rpartition("/")[2] or key)


def subheading(payload: Payload) -> str:
    """Return its key and label, as far as the heading does not say them."""
    key, label = str(payload["key"]), payload.get("label")
    parts = (key if heading(payload) != key else None, str(label) if label is not None else None)
    return " · ".join(part for part in parts if part)


def gallery(key: str, sections: Sequence[Section], on_action: Callable[[str, str], None]) -> None:
    """Show hits as cards; `on_action` is given one of `ACTIONS` and the id of the hit that it is about."""
    data = [{"title": one.title, "cards": [_card(card) for card in one.cards]} for one in sections]
    _gallery(key=key, data={"sections": data}, on_act_change=_acted(key, on_action))


def tiles(key: str, shown: Sequence[Tile], on_choice: Callable[[str], None]) -> None:
    """Show pictures in rows; `on_choice` is given the id of the one the visitor chooses."""
    data = {"tiles": [_tile(one) for one in shown]}
    _gallery(key=key, data=data, on_act_change=_acted(key, lambda _, point_id: on_choice(point_id)))


def query_card(
    shown: Sequence[ShownExample],
    title: str,
    line: str,
    notes: Sequence[str],
    times: Mapping[str, float],
    on_action: Callable[[str, int, Any], None],
) -> None:
    """Show what is being asked, and the milliseconds that answering took.

    `on_action` is given "remove", "turn" or "crop", the number of the picture that it is about, and for "crop" what
    the browser says of the part: four numbers in percent, or None for the whole.
    """

    def acted() -> None:
        wanted = st.session_state["query_card"].get("act")
        match wanted:
            case ["remove" | "turn" | "crop" as what, int(at), box]:
                on_action(what, at, box)

    examples = [
        {"sign": one.sign, "title": one.title, "alt": one.title, "src": _url(one.picture), "large": _url(one.large)}
        | {"crop": list(one.crop) if one.crop else None}
        for one in shown
    ]
    spent = [[stage, f"{milliseconds:.1f} ms"] for stage, milliseconds in times.items()]
    data = {"examples": examples, "title": title, "line": line, "notes": list(notes), "times": spent}
    _query(key="query_card", data=data, on_act_change=acted)


def facet(field: str, counts: Mapping[str, int], chosen: Sequence[str], on_choice: Callable[[list[str]], None]) -> None:
    """Show the values of a field with their counts, to tick; `on_choice` is given those that are ticked."""
    key = f"facet {field}"

    def ticked() -> None:
        values = st.session_state[key].get("chosen")
        if isinstance(values, list) and len(values) <= _MOST_TICKED and all(isinstance(one, str) for one in values):
            on_choice(values)

    data = {"field": field, "values": [list(one) for one in counts.items()], "chosen": list(chosen)}
    _facet(key=key, data=data, on_chosen_change=ticked)


def facts(rows: Sequence[tuple[str, str]], key: str = "facts") -> None:
    """Show names and values below each other."""
    _facts(key=key, data={"rows": [list(row) for row in rows]})


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


def _acted(key: str, on_action: Callable[[str, str], None]) -> Action:
    def act() -> None:
        match st.session_state[key].get("act"):  # what comes from a browser may be anything
            case [str(what), str(point_id)] if what in ACTIONS and is_id(point_id):
                on_action(what, point_id)

    return act


def _card(card: Card) -> dict[str, Any]:
    hit = card.hit
    name, line = heading(hit.payload), subheading(hit.payload)
    return {
        "id": hit.id,
        "src": _url(card.picture),
        "rank": card.rank,
        "score": f"{hit.score:.3f}",
        "bar": max(0.0, min(1.0, hit.score)),
        "percentile": card.percentile,
        "meaning": card.meaning,
        "badges": list(card.badges),
        "mark": card.mark,
        "heading": name,
        "subheading": line,
        "alt": f"{name}, {line}" if line else name,
        "copies": [_tile(one) for one in card.copies],
        "rows": [[field, _text(value)] for field, value in hit.payload.items()] + [["point", hit.id]],
    }


def _tile(one: Tile) -> dict[str, Any]:
    return {"id": one.id, "src": _url(one.picture), "alt": one.alt, "caption": one.caption}


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
    value = whole(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"

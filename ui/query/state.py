"""The visitor's query: images and texts that hits should or should not be like, in the session and the address."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import streamlit as st

from cbir.errors import UsageError
from cbir.images.crop import Crop
from cbir.search.examples import is_id

from . import address

MAX_EXAMPLES = 10
Sign = Literal["like", "unlike"]
SIGNS: tuple[Sign, Sign] = ("like", "unlike")
TEXT_NAMES: dict[Sign, str] = {"like": "text", "unlike": "unlike_text"}
"""The address's parameters for texts."""

OPPOSITE: dict[Sign, Sign] = {"like": "unlike", "unlike": "like"}

_CROPPED = re.compile(r"(.+)@(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3})", re.DOTALL)


@dataclass(frozen=True)
class Example:
    """An image of a query, or the part of it in `crop`, or a text.

    `ref` is the id of a stored point, an image's URL, or the name of an uploaded image in the upload cache. If the
    example is in `words`, it is the text.
    """

    ref: str
    crop: Crop | None = None
    sign: Sign = "like"
    words: bool = False

    @property
    def stored(self) -> bool:
        """True for an image of the collection."""
        return not self.words and is_id(self.ref)

    @property
    def text(self) -> str:
        """The value of its parameter in the address."""
        crop = self.crop
        return f"{self.ref}@{crop.left},{crop.top},{crop.right},{crop.bottom}" if crop else self.ref


Query = tuple[Example, ...]


def to_query(examples: Iterable[Example]) -> Query:
    """Return the query with these examples: each once, positives first, the last `MAX_EXAMPLES` of each sign."""
    unique = list(dict.fromkeys(examples))
    kept = [[example for example in unique if example.sign == sign][-MAX_EXAMPLES:] for sign in SIGNS]
    return tuple(kept[0] + kept[1])


def to_address(query: Query) -> address.Parameters:
    """Return the address's parameters for a query."""
    parameters: address.Parameters = {}
    for sign in SIGNS:
        of_sign = [example for example in query if example.sign == sign]
        parameters[sign] = [example.text for example in of_sign if not example.words]
        parameters[TEXT_NAMES[sign]] = [example.ref for example in of_sign if example.words]
    return parameters


def from_address(parameters: Mapping[str, Sequence[str]]) -> Query:
    """Return the query in an address's parameters; malformed values are left out."""
    images = (_example(text, sign) for sign in SIGNS for text in parameters.get(sign, ()))
    words = (
        Example(text, sign=sign, words=True) for sign in SIGNS for text in parameters.get(TEXT_NAMES[sign], ()) if text
    )
    return to_query([*(example for example in images if example is not None), *words])


def _example(text: str, sign: Sign) -> Example | None:
    cropped = _CROPPED.fullmatch(text)
    if cropped is None:
        return Example(text, sign=sign) if text else None
    try:
        return Example(cropped[1], Crop(*map(int, cropped.groups()[1:])), sign)
    except UsageError:
        return None


def current() -> Query:
    """Return the query of this session."""
    query: Query = st.session_state.setdefault("query", ())
    return query


def search(query: Query) -> None:
    """Replace the session's query, and show its first results."""
    address.touched()
    st.session_state["query"] = query
    st.session_state["shown"] = None
    st.session_state["problems"] = []


def adopt(parameters: Mapping[str, Sequence[str]]) -> None:
    """Replace the session's query with the one in an address's parameters."""
    search(from_address(parameters))


def search_text(text: str) -> None:
    """Replace the session's query with a text, or add it where the visitor chose so; nothing for an empty one."""
    text = text.strip()
    if text:
        before = current() if st.session_state.get("adding") else ()
        search(to_query([*before, Example(text, words=True)]))


def search_for(point_id: str) -> None:
    """Replace the session's query with an image of the collection."""
    search((Example(point_id),))


def go_search_for(point_id: str) -> None:
    """Search for an image of the collection on the search page; for a callback."""
    search_for(point_id)
    address.go_to("search")


def act(action: str, point_id: str) -> None:
    """Search for a hit ("search"), or add it to the query ("like" or "unlike")."""
    if action == "search":
        search_for(point_id)
        return
    sign: Sign = "like" if action == "like" else "unlike"
    others = [example for example in current() if (example.ref, example.sign) != (point_id, OPPOSITE[sign])]
    search(to_query([*others, Example(point_id, sign=sign)]))


def change(action: str, index: int, box: object) -> None:
    """Change an example of the query: "remove" it, "turn" its sign, or "crop" it to a box, None for the whole image."""
    examples = list(current())
    if not 0 <= index < len(examples):
        return
    example = examples[index]
    match action, box:
        case "remove", _:
            del examples[index]
        case "turn", _:
            del examples[index]
            examples.append(replace(example, sign=OPPOSITE[example.sign]))
        case "crop", _ if example.words:
            return
        case "crop", None:
            examples[index] = replace(example, crop=None)
        case "crop", [int(left), int(top), int(right), int(bottom)]:
            try:
                examples[index] = replace(example, crop=Crop(left, top, right, bottom))
            except UsageError:
                return
        case _:
            return
    search(to_query(examples))


def clear() -> None:
    """Empty the query."""
    st.session_state["adding"] = False
    search(())


def problems() -> list[str]:
    """Return the list of reasons why images cannot be used, to read and to append to."""
    found: list[str] = st.session_state.setdefault("problems", [])
    return found


def clear_problems() -> None:
    """Remove the problems of earlier images."""
    address.touched()
    st.session_state["problems"] = []

"""The visitor's query: images that hits should resemble or not resemble, in the session and in the page's address."""

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
OPPOSITE: dict[Sign, Sign] = {"like": "unlike", "unlike": "like"}

_CROPPED = re.compile(r"(.+)@(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3})", re.DOTALL)


@dataclass(frozen=True)
class Example:
    """An image of a query, or the part of it in `crop`.

    `ref` is the id of a stored point, an image's URL, or the name of an uploaded image in the upload cache.
    """

    ref: str
    crop: Crop | None = None
    sign: Sign = "like"

    @property
    def stored(self) -> bool:
        """True for an image of the collection."""
        return is_id(self.ref)

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
    return {sign: [example.text for example in query if example.sign == sign] for sign in SIGNS}


def from_address(parameters: Mapping[str, Sequence[str]]) -> Query:
    """Return the query in an address's parameters; malformed values are left out."""
    examples = (_example(text, sign) for sign in SIGNS for text in parameters.get(sign, ()))
    return to_query(example for example in examples if example is not None)


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

"""The visitor's query: images that hits are to be like and unlike, in the session and in the page's address."""

import re
from collections.abc import Mapping, Sequence
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

_CROPPED = re.compile(r"(.+)@(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3})", re.DOTALL)


@dataclass(frozen=True)
class Example:
    """One image of a query.

    Attributes:
        ref: The id of a stored point, an image's URL, or the name of an uploaded image in the upload cache.
        crop: The part of it that is meant, None for all of it.
    """

    ref: str
    crop: Crop | None = None

    @property
    def stored(self) -> bool:
        """True for an image of the collection."""
        return is_id(self.ref)

    @property
    def text(self) -> str:
        """How the address says it."""
        crop = self.crop
        return f"{self.ref}@{crop.left},{crop.top},{crop.right},{crop.bottom}" if crop else self.ref


@dataclass(frozen=True)
class Query:
    """Images that hits are to be like, and unlike."""

    like: tuple[Example, ...] = ()
    unlike: tuple[Example, ...] = ()

    @property
    def examples(self) -> list[tuple[Sign, Example]]:
        """All of them, in the order in which they are shown."""
        return [(sign, example) for sign in SIGNS for example in self.of(sign)]

    def of(self, sign: Sign) -> tuple[Example, ...]:
        """Return those of one kind."""
        return self.like if sign == "like" else self.unlike

    def with_examples(self, sign: Sign, examples: Sequence[Example]) -> "Query":
        """Return the query with other examples of one kind: each once, the last `MAX_EXAMPLES`."""
        kept = tuple(dict.fromkeys(examples))[-MAX_EXAMPLES:]
        return replace(self, like=kept) if sign == "like" else replace(self, unlike=kept)


def of_examples(examples: Sequence[tuple[Sign, Example]]) -> Query:
    """Return the query with these examples."""
    query = Query()
    for sign in SIGNS:
        query = query.with_examples(sign, [example for kind, example in examples if kind == sign])
    return query


def to_address(query: Query) -> address.Parameters:
    """Return the address's parameters."""
    return {sign: [example.text for example in query.of(sign)] for sign in SIGNS}


def from_address(parameters: Mapping[str, Sequence[str]]) -> Query:
    """Return the query that an address's parameters mean; those that mean nothing are left out."""
    found = [(sign, _example(text)) for sign in SIGNS for text in parameters.get(sign, ())]
    return of_examples([(sign, example) for sign, example in found if example is not None])


def _example(text: str) -> Example | None:
    cropped = _CROPPED.fullmatch(text)
    if cropped is None:
        return Example(text) if text else None
    try:
        return Example(cropped[1], Crop(*map(int, cropped.groups()[1:])))
    except UsageError:
        return None


def current() -> Query:
    """Return the query of this session."""
    query: Query = st.session_state.setdefault("query", Query())
    return query


def search(query: Query) -> None:
    """Make this the query, shown from the first results on."""
    address.touched()
    st.session_state["query"] = query
    st.session_state["shown"] = None
    st.session_state["problems"] = []


def adopt(parameters: Mapping[str, Sequence[str]]) -> None:
    """Make the query what an address's parameters mean."""
    search(from_address(parameters))


def search_for(point_id: str) -> None:
    """Make an image of the collection the query."""
    search(Query((Example(point_id),)))


def go_search_for(point_id: str) -> None:
    """Make an image of the collection the query, and lead the visitor to the search page; for a callback."""
    search_for(point_id)
    address.go_to("search")


def add(sign: Sign, ref: str) -> None:
    """Add an image to the query; it stops being of the other kind."""
    query = current()
    other = SIGNS[1 - SIGNS.index(sign)]
    query = query.with_examples(other, [example for example in query.of(other) if example.ref != ref])
    search(query.with_examples(sign, [*query.of(sign), Example(ref)]))


def act(action: str, point_id: str) -> None:
    """Do what the visitor wants with a hit: "ask" for similar ones, or add it to the query."""
    if action == "ask":
        search_for(point_id)
    else:
        add("like" if action == "like" else "unlike", point_id)


def change(action: str, index: int, box: object) -> None:
    """Do what the visitor wants with an example of the query: "remove", "turn", or "crop" it to a part."""
    examples = current().examples
    if not 0 <= index < len(examples):
        return
    sign, example = examples.pop(index)
    match action, box:
        case "remove", _:
            pass
        case "turn", _:
            examples.append((SIGNS[1 - SIGNS.index(sign)], example))
        case "crop", None:
            examples.insert(index, (sign, Example(example.ref)))
        case "crop", [int(left), int(top), int(right), int(bottom)]:
            try:
                examples.insert(index, (sign, Example(example.ref, Crop(left, top, right, bottom))))
            except UsageError:
                return
        case _:
            return
    search(of_examples(examples))


def keep(examples: Sequence[tuple[Sign, Example]]) -> None:
    """Make these the query, and keep everything else as it is."""
    st.session_state["query"] = of_examples(examples)


def clear() -> None:
    """Empty the query."""
    st.session_state["adding"] = False
    search(Query())


def add_problem(problem: str) -> None:
    """Say why an image cannot be used."""
    st.session_state.setdefault("problems", []).append(problem)


def problems() -> list[str]:
    """Return why images that were brought last cannot be used."""
    found: list[str] = st.session_state.setdefault("problems", [])
    return found


def clear_problems() -> None:
    """Forget the problems of images that were brought before."""
    address.touched()
    st.session_state["problems"] = []

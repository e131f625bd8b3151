"""What the visitor asks: pictures that hits are to be like and unlike, in the session and in the page's address."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal
from uuid import UUID

import streamlit as st

from cbir.errors import ImageError, UsageError
from cbir.search.searcher import Crop
from cbir.settings import Settings
from cbir.sources.remote import Limits, fetch

from ..components import address
from .upload_cache import Brought, bring, shelf

MAX_BYTES = 10 * 2**20
MAX_EXAMPLES = 10
FETCH_SECONDS = 10.0
Sign = Literal["like", "unlike"]
SIGNS: tuple[Sign, Sign] = ("like", "unlike")

_CROPPED = re.compile(r"(.+)@(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3})", re.DOTALL)
_PRIVATE = re.compile(r"the private address \S+; see \S+")  # its number is nothing for a visitor
_URL = re.compile(r"https?://", re.IGNORECASE)


@dataclass(frozen=True)
class Example:
    """One picture of a query.

    Attributes:
        ref: The id of a stored point, a picture's URL, or the name on the shelf of one that the visitor brought.
        crop: The part of it that is meant, None for all of it.
    """

    ref: str
    crop: Crop | None = None

    @property
    def stored(self) -> bool:
        """True for a picture of the collection."""
        return is_id(self.ref)

    @property
    def text(self) -> str:
        """How the address says it."""
        crop = self.crop
        return f"{self.ref}@{crop.left},{crop.top},{crop.right},{crop.bottom}" if crop else self.ref


@dataclass(frozen=True)
class Query:
    """Pictures that hits are to be like, and unlike."""

    like: tuple[Example, ...] = ()
    unlike: tuple[Example, ...] = ()

    @property
    def examples(self) -> list[tuple[Sign, Example]]:
        """All of them, in the order in which they are shown."""
        return [(sign, one) for sign in SIGNS for one in self.of(sign)]

    def of(self, sign: Sign) -> tuple[Example, ...]:
        """Return those of one kind."""
        return self.like if sign == "like" else self.unlike

    def with_examples(self, sign: Sign, examples: Sequence[Example]) -> "Query":
        """Return the query with other examples of one kind: each once, the last `MAX_EXAMPLES`."""
        kept = tuple(dict.fromkeys(examples))[-MAX_EXAMPLES:]
        return replace(self, like=kept) if sign == "like" else replace(self, unlike=kept)


def is_id(value: object) -> bool:
    """Return whether this is a point's id as cbir writes it; what comes from a browser may be anything."""
    try:
        return isinstance(value, str) and str(UUID(value)) == value
    except ValueError:
        return False


def to_address(query: Query) -> dict[str, list[str]]:
    """Return the address's parameters."""
    return {sign: [one.text for one in query.of(sign)] for sign in SIGNS}


def from_address(parameters: Mapping[str, Sequence[str]]) -> Query:
    """Return the query that an address's parameters mean; those that mean nothing are left out."""
    query = Query()
    for sign in SIGNS:
        examples = [one for text in parameters.get(sign, ()) if (one := _example(text)) is not None]
        query = query.with_examples(sign, examples)
    return query


def adopt(parameters: Mapping[str, Sequence[str]]) -> None:
    """Ask what an address's parameters mean."""
    ask(from_address(parameters))


def _example(text: str) -> Example | None:
    cropped = _CROPPED.fullmatch(text)
    if cropped is None:
        return Example(text) if text else None
    try:
        return Example(cropped[1], Crop(*map(int, cropped.groups()[1:])))
    except UsageError:
        return None


def current() -> Query:
    """Return what is asked now."""
    query: Query = st.session_state.setdefault("query", Query())
    return query


def ask(query: Query) -> None:
    """Ask that, from the first results on."""
    address.touched()
    st.session_state["query"] = query
    st.session_state["shown"] = None
    st.session_state["problems"] = []


def ask_point(point_id: str) -> None:
    """Make a picture of the collection the query."""
    ask(Query((Example(point_id),)))


def add(sign: Sign, ref: str) -> None:
    """Ask for hits that are like, or unlike, one more picture; it stops being of the other kind."""
    query = current()
    other = SIGNS[1 - SIGNS.index(sign)]
    query = query.with_examples(other, [one for one in query.of(other) if one.ref != ref])
    ask(query.with_examples(sign, [*query.of(sign), Example(ref)]))


def act(what: str, point_id: str) -> None:
    """Do what the visitor wants with a hit: "ask" for what is like it, or take it for an example."""
    if what == "ask":
        ask_point(point_id)
    else:
        add("like" if what == "like" else "unlike", point_id)


def change(what: str, at: int, box: object) -> None:
    """Do what the visitor wants with the example number `at`: "remove", "turn", or "crop" it to a part."""
    examples = current().examples
    if not 0 <= at < len(examples):
        return
    sign, example = examples.pop(at)
    match what, box:
        case "remove", _:
            pass
        case "turn", _:
            examples.append((SIGNS[1 - SIGNS.index(sign)], example))
        case "crop", None:
            examples.insert(at, (sign, Example(example.ref)))
        case "crop", [int(left), int(top), int(right), int(bottom)]:
            try:
                examples.insert(at, (sign, Example(example.ref, Crop(left, top, right, bottom))))
            except UsageError:
                return
        case _:
            return
    ask(of_examples(examples))


def keep(examples: Sequence[tuple[Sign, Example]]) -> None:
    """Ask for these alone, without telling anybody."""
    st.session_state["query"] = of_examples(examples)


def of_examples(examples: Sequence[tuple[Sign, Example]]) -> Query:
    """Return the query with these examples."""
    query = Query()
    for sign in SIGNS:
        query = query.with_examples(sign, [one for kind, one in examples if kind == sign])
    return query


def forget() -> None:
    """Ask nothing."""
    st.session_state["adding"] = False
    ask(Query())


def refuse(problem: str) -> None:
    """Tell why something could not be asked."""
    st.session_state.setdefault("problems", []).append(problem)


def problems() -> list[str]:
    """Return why what was brought last could not be asked."""
    found: list[str] = st.session_state.setdefault("problems", [])
    return found


def start_anew() -> None:
    """Forget what was brought before and could not be asked."""
    address.touched()
    st.session_state["problems"] = []


def ask_files(files: Sequence[tuple[str, bytes]], settings: Settings) -> None:
    """Ask for what is like pictures that the visitor brought, (name, file); those that cannot be used are told."""
    refs = []
    start_anew()
    for name, data in files:
        try:
            if len(data) > MAX_BYTES:
                raise ImageError(f"larger than {MAX_BYTES >> 20} MB")
            refs.append(shelf.put(bring(data, name, settings.max_image_megapixels)))
        except ImageError as error:
            refuse(f"{name} cannot be used: {error}.")
    if len(refs) > MAX_EXAMPLES:
        refuse(f"Only the last {MAX_EXAMPLES} pictures are asked with.")
    _ask_refs(refs)


def ask_url(url: str) -> None:
    """Ask for what is like the picture behind a URL; it is fetched when it is looked for."""
    url = url.strip()
    start_anew()
    if _URL.match(url):
        _ask_refs([url])
    elif url:
        refuse("That is not the address of a picture: it has to begin with http:// or https://.")


def _ask_refs(refs: Sequence[str]) -> None:
    before = current() if st.session_state.get("adding") else Query()
    if refs:
        refused = problems()
        ask(before.with_examples("like", [*before.like, *map(Example, refs)]))
        st.session_state["problems"] = refused


def picture(ref: str, settings: Settings) -> Brought:
    """Return a picture that the visitor brought, by its name on the shelf or its URL, which may be fetched again.

    Raises:
        ImageError: It cannot be had, or not be used; the message is a sentence.
    """
    found = shelf.get(ref)
    if found is not None:
        return found
    if not _URL.match(ref):
        raise ImageError("A picture of this search was kept for a while only and is gone; bring it again.")
    limits = Limits(MAX_BYTES, FETCH_SECONDS, private=settings.allow_private_addresses)
    try:
        name = ref.partition("?")[0].rstrip("/").rpartition("/")[2] or "The picture"
        found = bring(fetch(ref, limits), name, settings.max_image_megapixels)
    except ImageError as error:
        reason = _PRIVATE.sub("a private network", str(error))
        raise ImageError(f"The picture of that address cannot be used: {reason}.") from None
    shelf.put(found, ref)
    return found

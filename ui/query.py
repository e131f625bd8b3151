"""What the visitor asks, kept in the session, and the callbacks that change it."""

from dataclasses import dataclass, replace

import streamlit as st

from cbir.errors import ImageError
from cbir.images import THUMBNAIL_SIDE, decode, thumbnail

from . import parts
from .searcher import Answer, Embedded, Searcher

MAX_BYTES = 10 * 2**20


@dataclass(frozen=True)
class Query:
    """A picture that the visitor brought, or one of the collection (`point_id` alone).

    Attributes:
        name: What to call the picture that was brought.
        picture: Its thumbnail.
        data: Its file.
        point_id: The id of one of the collection.
        embedded: The vector of the one that was brought, once it has been asked for.
    """

    name: str = ""
    picture: bytes = b""
    data: bytes = b""
    point_id: str = ""
    embedded: Embedded | None = None

    def answer(self, searcher: Searcher, k: int) -> Answer:
        """Search for it; a picture that was brought is embedded once for each model.

        Raises:
            NotHereError: It is a picture of another collection.
            CbirError: The store failed.
        """
        if self.point_id:
            return searcher.by_id(self.point_id, k)
        embedded = self.embedded
        if embedded is None or embedded.model != searcher.opened.model.sha256:
            embedded = searcher.embed(self.data)
            st.session_state["query"] = replace(self, embedded=embedded)
        return searcher.by_embedded(embedded, k)

    def about(self, answer: Answer) -> tuple[str, str]:
        """Return its name, and what else there is to say of it."""
        if self.data:
            return self.name, "Your picture"
        known = answer.itself
        return (parts.heading(known), parts.subheading(known)) if known else ("A picture of this collection", "")


def current() -> Query | None:
    """Return what is asked now, if anything."""
    return st.session_state.get("query")


def ask_picture(data: bytes, name: str, max_megapixels: float) -> None:
    """Make a picture that the visitor brought the query, or tell why it cannot be one."""
    if len(data) > MAX_BYTES:
        refuse(f"{name} is larger than {MAX_BYTES >> 20} MB.")
        return
    try:
        image = decode(data, shortest=THUMBNAIL_SIDE, max_megapixels=max_megapixels)
    except ImageError as error:
        refuse(f"{name} cannot be used: {error}.")
        return
    _ask(Query(name, thumbnail(image, data), data=data))


def ask_point(point_id: str) -> None:
    """Make a picture of the collection the query."""
    _ask(Query(point_id=point_id))


def forget() -> None:
    """Ask nothing."""
    st.session_state["query"] = None


def refuse(problem: str) -> None:
    """Ask nothing, and tell why."""
    st.session_state["query"] = None
    st.session_state["problem"] = problem


def problem() -> str | None:
    """Return why the last thing brought could not be asked."""
    return st.session_state.get("problem")


def _ask(query: Query) -> None:
    st.session_state["query"] = query
    st.session_state["problem"] = None

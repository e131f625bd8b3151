"""Which store and collection a page is about: chosen in the sidebar, opened once for all visitors."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import streamlit as st

from cbir.collection import Collection
from cbir.errors import CbirError
from cbir.settings import Settings
from cbir.stores.base import Store, StoreInfo
from cbir.stores.display import display_names
from cbir.stores.registry import connect

from ..components.store_facts import facts, how_to_fill
from .address import touched


class GoneError(CbirError):
    """A store that had collections has none any more."""


@dataclass(frozen=True)
class Chosen:
    """The collection that a visitor has chosen, and what its store says of it in this run of the page."""

    collection: Collection
    info: StoreInfo

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells this generation of the collection from all others."""
        return self.info.url, self.info.collection, self.info.generation

    @property
    def store(self) -> Store:
        """The collection's open store."""
        return self.collection.store


BY_GENERATION: dict[str | type[Any], Callable[[Any], Any]] = {Chosen: lambda chosen: chosen.key}
"""For Streamlit's caches: what is cached changes with the generation of the collection."""


def choose(settings: Settings, suffix: str = "") -> Chosen | None:
    """Draw the choice where the caller is and return what was chosen, opened; None if the store is empty.

    The choice is in the page's address and the same on all pages. A `suffix` makes it a second one, of another
    store at first.

    Raises:
        CbirError: The store cannot be read.
    """
    stores = display_names(settings.store_urls)
    second = int(bool(suffix) and len(stores) > 1)
    url = st.selectbox(
        "Store",
        list(stores),
        second,
        format_func=stores.__getitem__,
        key=f"store{suffix}",
        bind="query-params",
        on_change=touched,
    )
    catalog = connect(url, settings)
    names = catalog.names()
    if not names:
        if url in _filled():
            raise GoneError(
                f"{stores[url]} had collections and has none now; was its folder moved, or its disk taken out?"
            )
        return None
    if catalog.files is not None:
        _filled().add(url)
    name = st.selectbox("Collection", names, key=f"collection{suffix}", bind="query-params", on_change=touched)
    collection = _open(url, name, settings)
    return Chosen(collection, collection.info)


def in_sidebar(settings: Settings) -> Chosen | None:
    """Draw the choice and what was chosen in the sidebar, or else how to fill the empty store.

    Raises:
        CbirError: The store cannot be read.
    """
    with st.sidebar:
        chosen = choose(settings)
        if chosen is not None:
            facts(chosen.info)
            return chosen
    how_to_fill(st.session_state["store"])
    return None


def let_go(settings: Settings) -> None:
    """Forget the open collections that the visitor has chosen: one failed, and is opened anew next time.

    A server that comes back may have another collection of the same name.
    """
    chosen = {key: value for key, value in st.session_state.items() if isinstance(key, str)}
    for key, url in chosen.items():
        collection = chosen.get(key.replace("store", "collection", 1))
        if key.startswith("store") and url and collection:
            _open.clear(url, collection, settings)


# A collection leaves the cache unclosed: a session may be searching in it. Its store closes itself when the last of
# them lets go.
@st.cache_resource(max_entries=8, show_spinner="Opening the collection…")
def _open(url: str, name: str, _settings: Settings) -> Collection:
    collection = Collection([connect(url, _settings)], name, _settings)
    collection.embedder  # noqa: B018  loaded now, while the visitor sees why it takes a moment
    return collection


@st.cache_resource
def _filled() -> set[str]:
    """The stores in folders that had a collection since the page was started."""
    return set()

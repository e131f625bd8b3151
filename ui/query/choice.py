"""The store and collection of a page, chosen in the sidebar, and what all visitors of a collection share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import streamlit as st

from cbir.collection import Collection
from cbir.errors import CbirError, DamageError
from cbir.filters.conditions import Filter, Value
from cbir.search.score_calibration import ScoreCalibration, calibrate, calibrate_texts
from cbir.settings import Settings
from cbir.stores.base import Store, StoreInfo
from cbir.stores.display import display_names
from cbir.stores.registry import connect

from ..components.store_facts import facts, how_to_fill
from .address import BOUND


@dataclass(frozen=True)
class Chosen:
    """The collection that a visitor has chosen, and the facts of its store in this run of the page."""

    collection: Collection
    info: StoreInfo

    @property
    def key(self) -> tuple[str, str, str]:
        """A key of this state of the collection."""
        return self.info.url, self.info.collection, self.info.version

    @property
    def store(self) -> Store:
        """The collection's open store."""
        return self.collection.store


BY_GENERATION: dict[str | type[Any], Callable[[Any], Any]] = {Chosen: lambda chosen: chosen.key}
"""For Streamlit's caches: entries are renewed with the generation of the collection."""

_SECONDS = 60  # where a server changes within a generation


def choose(settings: Settings, suffix: str = "") -> Chosen | None:
    """Draw the choice and return the chosen collection, opened; None if the store is empty.

    The choice is in the page's address and the same on all pages. With a `suffix` it is a second choice, which starts
    with another store, and the first choice's collection if it is there.
    """
    stores = display_names(settings.store_urls)
    second = int(bool(suffix) and len(stores) > 1)
    url = st.selectbox("Store", list(stores), second, format_func=stores.__getitem__, key=f"store{suffix}", **BOUND)
    catalog = connect(url, settings)
    names = catalog.names()
    if not names:
        if url in _filled():
            raise CbirError(f"{stores[url]} has no collections any more. Check that its folder and disk are present")
        return None
    if catalog.files is not None:
        _filled().add(url)
    first = st.session_state.get("collection")
    start = names.index(first) if suffix and first in names else 0
    name = st.selectbox("Collection", names, start, key=f"collection{suffix}", **BOUND)
    collection = _open(url, name, settings)
    return Chosen(collection, collection.info)


def in_sidebar(settings: Settings) -> Chosen | None:
    """Draw the choice and the facts of the chosen collection in the sidebar, or how to fill an empty store."""
    with st.sidebar:
        chosen = choose(settings)
        if chosen is not None:
            facts(chosen.info)
            return chosen
    how_to_fill(st.session_state["store"])
    return None


def forget_open(settings: Settings, error: CbirError) -> None:
    """Remove the visitor's collections from the cache: one of them failed, and is opened again next time.

    A server that comes back may have another collection of the same name. A search that fails in the embedded engine
    leaves the collection open, because other visitors search in it.
    """
    for suffix in ("", "2"):
        url, name = (st.session_state.get(f"{key}{suffix}") for key in ("store", "collection"))
        if url and name and (isinstance(error, DamageError) or connect(url, settings).files is None):
            _open.clear(url, name, settings)


# A collection is not closed when it leaves the cache, because a session may be searching in it. Its store closes
# itself with the last reference.
@st.cache_resource(max_entries=8, show_spinner="Opening the collection…")
def _open(url: str, name: str, _settings: Settings) -> Collection:
    collection = Collection([connect(url, _settings)], name, _settings)
    collection.embedder  # noqa: B018  loaded now, while the page shows a spinner
    return collection


@st.cache_resource
def _filled() -> set[str]:
    """Return the stores in folders that have had a collection since the page was started."""
    return set()


@st.cache_data(max_entries=64, ttl=_SECONDS, show_spinner=False, hash_funcs=BY_GENERATION)
def fields(chosen: Chosen) -> dict[str, str]:
    """Return the fields that the collection can be filtered by (see `Collection.fields`)."""
    return chosen.collection.fields()


@st.cache_data(max_entries=1024, ttl=_SECONDS, show_spinner=False, hash_funcs=BY_GENERATION)
def facet(chosen: Chosen, field: str, filter: Filter, limit: int) -> list[tuple[Value, int]]:
    """Return the values of a field and their numbers of points (see `Collection.facet`)."""
    return chosen.collection.facet(field, filter, limit)


# A server reads all its points for a sample.
@st.cache_data(max_entries=256, ttl=10 * _SECONDS, show_spinner=False, hash_funcs=BY_GENERATION)
def sample(chosen: Chosen, count: int, seed: int) -> list[str]:
    """Return random ids (see `Store.sample`)."""
    return chosen.store.sample(count, seed)


# As a resource it is not copied for each page: it is megabytes, and frozen.
@st.cache_resource(max_entries=64, ttl=60 * _SECONDS, show_spinner=False, hash_funcs=BY_GENERATION)
def score_calibration(chosen: Chosen) -> ScoreCalibration:
    """Return the meaning of a score in the collection."""
    return calibrate(chosen.store)


@st.cache_resource(max_entries=64, ttl=60 * _SECONDS, show_spinner=False, hash_funcs=BY_GENERATION)
def text_calibration(chosen: Chosen) -> ScoreCalibration:
    """Return the meaning of a text's score in the collection."""
    return calibrate_texts(chosen.store, chosen.collection.embedder.embed_text)

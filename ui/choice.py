"""Which store and collection a page is about: chosen in the sidebar, opened once for all visitors."""

from collections.abc import Sequence

import streamlit as st

from cbir.settings import DEFAULT_STORES, Settings
from cbir.stores import StoreInfo, collection_names, open_store, parse, redacted, served_generation

from . import parts
from .searcher import Searcher, join

STORE_KINDS = {"edge": "Qdrant Edge", "faiss": "FAISS"}


def choose(settings: Settings, suffix: str = "") -> Searcher | None:
    """Draw the choice where the caller is (the sidebar, say) and return what was chosen, opened; None if it is empty.

    The choice is in the page's address and the same on all pages. A `suffix` makes it a second one, of another
    store at first.

    Raises:
        CbirError: The store cannot be read.
    """
    stores = store_names(settings.store_urls)
    other = int(bool(suffix) and len(stores) > 1)
    url = st.selectbox(
        "Store", list(stores), other, format_func=stores.__getitem__, key=f"store{suffix}", bind="query-params"
    )
    names = collection_names(url, settings)
    if not names:
        return None
    collection = st.selectbox("Collection", names, key=f"collection{suffix}", bind="query-params")
    return opened(url, collection, settings)


def opened(url: str, collection: str, settings: Settings) -> Searcher:
    """Return a collection and its model, opened once for all visitors, anew when a new generation is published.

    Raises:
        CbirError: It cannot be opened.
    """
    return _open(url, collection, settings)


def how_to_fill(url: str) -> None:
    """Draw what to do about a store without collections."""
    where = "" if url in DEFAULT_STORES else f" --store {redacted(url)}"
    st.info("This store has no pictures yet. Fill it, then reload this page:", icon=":material/inventory_2:")
    st.code(f"cbir-ingest ./photos{where}", language="bash")
    st.markdown("Or, to look around first, with the packaged sample:")
    st.code(f"cbir-ingest sample://openmoji{where}", language="bash")


def facts(info: StoreInfo) -> None:
    """Draw what is searched."""
    if info.model.random_weights:
        st.warning("This model has random weights, so what it finds means nothing.", icon=":material/warning:")
    indexed = f", {info.indexed:,} of {info.count:,} indexed" if info.access != "scan" else ""
    rows = [("Pictures", f"{info.count:,}"), ("Model", info.model.name), ("Access", f"{info.access}{indexed}")]
    parts.facts(rows + ([("Generation", info.generation)] if info.generation else []))


def store_names(urls: Sequence[str]) -> dict[str, str]:
    """Return each store's name for the visitor: its kind and as little of its path as tells it from the others."""
    names: dict[str, str] = {}
    for depth in range(1, 2 + max(url.count("/") for url in urls)):
        names = {url: _store_name(url, depth) for url in urls}
        if len(set(names.values())) == len(names):
            break
    return names


def _store_name(url: str, depth: int) -> str:
    parsed = parse(url)
    if not parsed.embedded:
        return redacted(url)
    return f"{STORE_KINDS[parsed.kind]} · {'/'.join(url.partition(':')[2].split('/')[-depth:])}"


def _still_served(searcher: Searcher) -> bool:
    info = searcher.opened
    return served_generation(info.url, info.collection) == info.generation


# An entry that is out of date leaves the cache unclosed: a session may be searching with it, and the store
# closes itself when the last of them lets go.
@st.cache_resource(max_entries=8, show_spinner="Opening the collection…", validate=_still_served)
def _open(url: str, collection: str, _settings: Settings) -> Searcher:
    return join(open_store(url, collection, _settings), _settings.max_image_megapixels)

"""Which store and collection a page is about: chosen in the sidebar, opened once for all visitors."""

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from cbir.errors import CbirError
from cbir.index.generation import POINTER
from cbir.search.searcher import Searcher, join
from cbir.settings import DEFAULT_STORES, Settings
from cbir.stores.base import StoreInfo, collection_names, locate, open_store, parse, redacted

from . import parts
from .address import touched

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
        "Store",
        list(stores),
        other,
        format_func=stores.__getitem__,
        key=f"store{suffix}",
        bind="query-params",
        on_change=touched,
    )
    names = collection_names(url, settings)
    if not names:
        if url in _known():
            raise GoneError(
                f"{stores[url]} had collections and has none now; was its folder moved, or its disk taken out?"
            )
        return None
    if parse(url).embedded:
        _known().add(url)
    collection = st.selectbox("Collection", names, key=f"collection{suffix}", bind="query-params", on_change=touched)
    return _open(url, collection, settings).searcher


def in_sidebar(settings: Settings) -> tuple[Searcher, StoreInfo] | None:
    """Draw the choice and what was chosen in the sidebar, or else what to do about an empty store.

    Returns:
        The searcher and what its store holds now, which a server is asked for; None for an empty store.

    Raises:
        CbirError: The store cannot be read.
    """
    with st.sidebar:
        searcher = choose(settings)
        if searcher is not None:
            info = searcher.store.info
            facts(info)
            return searcher, info
    how_to_fill(st.session_state["store"])
    return None


def let_go(settings: Settings) -> None:
    """Forget what is open of the collections that the visitor has chosen: one failed, and is opened anew next time.

    A server that comes back may have another collection of the same name.
    """
    chosen = {key: value for key, value in st.session_state.items() if isinstance(key, str)}
    for key, url in chosen.items():
        collection = chosen.get(key.replace("store", "collection", 1))
        if key.startswith("store") and url and collection:
            _open.clear(url, collection, settings)


def how_to_fill(url: str) -> None:
    """Draw what to do about a store without collections."""
    where = "" if url in DEFAULT_STORES else f" --store {redacted(url)}"
    st.info("This store has no pictures yet. Fill it, then reload this page:", icon=":material/inventory_2:")
    st.code(f"cbir-ingest ./photos{where}", language=None, wrap_lines=True)
    st.markdown("Or, to look around first, with the packaged sample:")
    st.code(f"cbir-ingest sample://openmoji{where}", language=None, wrap_lines=True)


def facts(info: StoreInfo) -> None:
    """Draw what is searched."""
    if info.model.random_weights:
        st.warning("This model has random weights, so what it finds means nothing.", icon=":material/warning:")
    indexed = f", {info.indexed:,} of {info.count:,} indexed" if info.access != "scan" else ""
    rows = [
        ("Collection", info.collection),
        ("Pictures", f"{info.count:,}"),
        ("Model", info.model.name),
        ("Access", f"{info.access}{indexed}"),
    ]
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


class GoneError(CbirError):
    """A store that had collections has none any more."""


@dataclass(frozen=True)
class _Entry:
    """A searcher, and the pointer file that was there before it was opened."""

    searcher: Searcher
    pointer: tuple[int, ...]


def _still_served(entry: _Entry) -> bool:
    info = entry.searcher.opened
    return _pointer(info.url, info.collection) == entry.pointer


def _pointer(url: str, collection: str) -> tuple[int, ...]:
    """Return what tells one pointer file from another, even one of the same name in a folder that was put back."""
    parsed = parse(url)
    if not parsed.embedded:
        return ()
    try:
        found = (locate([parsed])[0].root / collection / POINTER).stat()
    except OSError:
        return (0,)  # opening it says what is wrong
    return (found.st_dev, found.st_ino, found.st_mtime_ns)


# An entry that is out of date leaves the cache unclosed: a session may be searching with it, and the store
# closes itself when the last of them lets go.
@st.cache_resource(max_entries=8, show_spinner="Opening the collection…", validate=_still_served)
def _open(url: str, collection: str, _settings: Settings) -> _Entry:
    pointer = _pointer(url, collection)
    return _Entry(join(open_store(url, collection, _settings), _settings.max_image_megapixels), pointer)


@st.cache_resource
def _known() -> set[str]:
    """The index folders' stores that had a collection since the page was started."""
    return set()

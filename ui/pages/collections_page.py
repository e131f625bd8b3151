"""The collections page: the collections of each store, with their state, their model and what to do about problems."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from cbir.collection import Collection
from cbir.errors import CbirError
from cbir.evaluation.result_files import shortened
from cbir.index.generation import Damage
from cbir.models.card import ModelCard
from cbir.settings import Settings
from cbir.stores.base import Catalog, StoreInfo
from cbir.stores.display import display_names
from cbir.stores.listing import CollectionInfo, Condition
from cbir.stores.registry import connect

from ..components import problems, store_facts
from ..components.problems import literal
from ..components.store_facts import draw_rows
from ..components.work import Work, show_progress
from ..query import address

BADGES: dict[Condition, tuple[str, str, Literal["green", "blue", "orange", "red"]]] = {
    "ready": ("Ready", ":material/check:", "green"),
    "indexing": ("Indexing", ":material/hourglass:", "blue"),
    "unfinished": ("Unfinished", ":material/construction:", "orange"),
    "damaged": ("Damaged", ":material/broken_image:", "red"),
}
_MAX_DAMAGES = 20


@dataclass(frozen=True)
class Opened:
    """The facts of an opened collection and the card of its model, or why it cannot be opened."""

    info: StoreInfo | None = None
    card: ModelCard | None = None
    problem: str = ""


@dataclass(frozen=True)
class Listed:
    """A collection on the page: the stores that may serve it, and the container for the facts that opening it gives."""

    info: CollectionInfo
    served: Sequence[Catalog]
    details: DeltaGenerator


def draw(settings: Settings) -> None:
    """Draw every collection of every store."""
    st.button("Refresh", icon=":material/refresh:", on_click=_open.clear)
    names = display_names(settings.store_urls)
    places: dict[str, list[Catalog]] = {}
    for url in settings.store_urls:
        catalog = connect(url, settings)
        places.setdefault(catalog.address, []).append(catalog)
    pool, listings = ThreadPoolExecutor(max_workers=16), {}
    for catalogs in places.values():
        container = st.container()
        container.subheader(literal(" and ".join(names[catalog.urls[0]] for catalog in catalogs)), anchor=False)
        listings[pool.submit(lambda catalog: list(catalog.listing()), catalogs[0])] = (catalogs, container)
    pool.shutdown(wait=False)
    listed: list[Listed] = []
    with st.spinner("Reading the stores…"):
        for listing in as_completed(listings):  # a store that does not answer delays no other store
            catalogs, container = listings[listing]
            with container:
                listed += _place(listing, catalogs, names)
    for collection in listed:  # opening a collection takes long, so the rest of the page is drawn first
        with collection.details:
            _details(collection, names, settings)


def _place(listing: Future[list[CollectionInfo]], catalogs: Sequence[Catalog], names: dict[str, str]) -> list[Listed]:
    try:
        found = listing.result()
    except CbirError as error:
        _unreachable(error, catalogs[0])
        return []
    if not found:
        store_facts.how_to_fill(catalogs[0].urls[0])
    return [_collection(info, catalogs, names) for info in found]


def _unreachable(error: CbirError, catalog: Catalog) -> None:
    problems.show(error)
    if catalog.files is None:
        st.markdown("Check that the server runs and is reachable from here, its address and port, and QDRANT_API_KEY.")
    st.button("Try again", icon=":material/refresh:", key=f"again {_key(catalog.urls[0])}")


def _collection(info: CollectionInfo, catalogs: Sequence[Catalog], names: dict[str, str]) -> Listed:
    """Draw the facts of a collection that are known without opening it."""
    served = catalogs if info.made_by and info.condition != "unfinished" else []
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{literal(info.collection)}**", width="content")
            label, icon, color = BADGES[info.condition]
            st.badge(label, icon=icon, color=color)
            if info.run == "running":
                st.badge("Ingest running", icon=":material/sync:", color="blue")
        draw_rows(store_facts.summary(info))
        files = catalogs[0].files
        for warning in store_facts.warnings(info, catalogs[0].urls[0], verifies=files is not None):
            st.warning(warning, icon=":material/warning:")
        with st.container(horizontal=True):
            _search_buttons(info, [catalog.urls[0] for catalog in served], names)
            key = f"check {_key(info.store, info.collection)}"
            start = info.generation and st.button("Verify files", icon=":material/fact_check:", key=key)
        if files:
            _verification(info, catalogs[0], files, bool(start))
        return Listed(info, served, st.container())


def _search_buttons(info: CollectionInfo, urls: Sequence[str], names: dict[str, str]) -> None:
    """Draw a button for each store that serves a collection: with its engine, or its whole name to be unique."""
    engines = [names[url].partition(" · ")[0] for url in urls]
    for url, engine in zip(urls, engines, strict=True):
        name = engine if engines.count(engine) == 1 else names[url]
        st.button(
            f"Search with {literal(name)}" if len(urls) > 1 else "Search",
            icon=":material/search:",
            key=f"search {_key(info.store, info.collection, url)}",
            on_click=_search_in,
            args=(url, info.collection),
        )


def _search_in(url: str, collection: str) -> None:
    st.session_state["store"], st.session_state["collection"] = url, collection
    address.go_to("search")


def _details(listed: Listed, names: dict[str, str], settings: Settings) -> None:
    """Draw how a collection is searched and its model's card, or why it cannot be opened."""
    urls = {catalog.urls[0]: catalog for catalog in listed.served}
    opened = {names[url]: _open(url, listed.info, catalog, settings) for url, catalog in urls.items()}
    for name, found in opened.items():
        if found.problem:
            store = f"{literal(name)}: " if len(opened) > 1 else ""
            st.warning(f"{store}{found.problem}", icon=":material/warning:")
    draw_rows([(name, store_facts.how_searched(found.info)) for name, found in opened.items() if found.info])
    if listed.info.made_by:
        card = next((found.card for found in opened.values() if found.card), None)
        with st.expander("Model"):
            draw_rows(store_facts.model(listed.info, card))


def _key(*parts: str) -> str:
    """Return a key for widgets: it becomes a class name on the page, which must not contain a path or password."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


# Cached while its listing stays the same, because opening an index reads all of its bytes.
@st.cache_data(max_entries=256, show_spinner="Opening the collections…")
def _open(url: str, info: CollectionInfo, _catalog: Catalog, _settings: Settings) -> Opened:
    try:
        with Collection([_catalog], info.collection, _settings) as collection:
            return Opened(collection.info, collection.embedder.card)
    except CbirError as error:
        return Opened(problem=literal(problems.sentence(error)))


def _verification(info: CollectionInfo, catalog: Catalog, root: Path, start: bool) -> None:
    """Draw the result of the last verification of a collection's files; with `start`, verify them now."""
    key = (info.store, info.collection, info.generation, info.commit)
    if start:
        _verify.clear(*key)
        st.session_state.setdefault("verified", set()).add(key)
    if key not in st.session_state.get("verified", ()):
        return
    work = _verify(*key, catalog, root, (info.megabytes or 0) * 1e6)
    if not work.done():
        show_progress(work, "Reading every file…")
        return
    damage = work.result()
    if not damage:
        st.success("Every file is as it was published.", icon=":material/check:")
        return
    more = [f"and {len(damage) - _MAX_DAMAGES:,} more"] if len(damage) > _MAX_DAMAGES else []
    lines = "\n".join(f"- {text}" for text in [*map(literal, damage[:_MAX_DAMAGES]), *more])
    st.error(f"{len(damage):,} damaged:\n\n{lines}", icon=":material/broken_image:")


@st.cache_resource(max_entries=256, show_spinner=False)
def _verify(
    store: str, collection: str, generation: str, commit: int, _catalog: Catalog, _root: Path, _bytes: float
) -> Work[list[str]]:
    def task(on_progress: Callable[[float], object]) -> list[str]:
        done = 0

        def on_bytes(size: int) -> None:
            nonlocal done
            done += size
            on_progress(min(1.0, done / max(_bytes, 1)))

        try:
            return [_in_words(damage, _root) for damage in _catalog.verify(collection, on_bytes)]
        except CbirError as error:
            return [problems.sentence(error)]

    return Work(task)


def _in_words(damage: Damage, root: Path) -> str:
    """Return a damaged file by its path in the index folder, and what is wrong with it."""
    path = damage.path
    return f"{path.relative_to(root) if path.is_relative_to(root) else path.name}: {shortened(damage.what)}"

"""The page of the collections: what each store has, in which state it is, what made it, and what to do about it."""

import hashlib
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from cbir.collection import Collection
from cbir.errors import CbirError
from cbir.evaluation.result_files import shortened
from cbir.models.card import ModelCard
from cbir.settings import Settings
from cbir.stores.base import Catalog, StoreInfo
from cbir.stores.display import display_names
from cbir.stores.listing import CollectionInfo, Condition
from cbir.stores.registry import connect

from ..components import problems, store_facts
from ..components.problems import literal
from ..components.store_facts import draw_rows
from ..query import address

BADGES: dict[Condition, tuple[str, str, Literal["green", "blue", "orange", "red"]]] = {
    "ready": ("Ready", ":material/check:", "green"),
    "indexing": ("Indexing", ":material/hourglass:", "blue"),
    "unfinished": ("Unfinished", ":material/construction:", "orange"),
    "damaged": ("Damaged", ":material/broken_image:", "red"),
}
_SHOWN = 20
_checking = threading.Lock()


@dataclass(frozen=True)
class Opened:
    """What opening a collection in one store showed: what the store and the model file say, or why it failed."""

    info: StoreInfo | None = None
    card: ModelCard | None = None
    problem: str = ""


@dataclass(frozen=True)
class Listed:
    """A collection on the page: the stores that may serve it, and the place for what opening it shows."""

    info: CollectionInfo
    served: Sequence[Catalog]
    rest: DeltaGenerator


def draw(settings: Settings) -> None:
    """Draw every collection of every store."""
    st.button("Refresh", icon=":material/refresh:", on_click=_open_once.clear)
    names = display_names(settings.store_urls)
    places: dict[str, list[Catalog]] = {}
    for url in settings.store_urls:
        catalog = connect(url, settings)
        places.setdefault(catalog.address, []).append(catalog)
    pool, requested = ThreadPoolExecutor(max_workers=16), {}
    for catalogs in places.values():
        spot = st.container()
        spot.subheader(literal(" and ".join(names[catalog.urls[0]] for catalog in catalogs)), anchor=False)
        requested[pool.submit(_listing, catalogs[0])] = (catalogs, spot)
    pool.shutdown(wait=False)
    listed: list[Listed] = []
    with st.spinner("Asking the stores…"):
        for answer in as_completed(requested):  # a store that does not answer hides none of the others
            catalogs, spot = requested[answer]
            with spot:
                listed += _place(answer.result(), catalogs, names)
    for collection in listed:  # what takes long comes when all of the page is there
        with collection.rest:
            _rest(collection, names, settings)


def _place(found: list[CollectionInfo] | CbirError, catalogs: Sequence[Catalog], names: dict[str, str]) -> list[Listed]:
    """Draw an index folder or a server, and return the collections that want the rest."""
    if isinstance(found, CbirError):
        _unreachable(found, catalogs[0])
    elif not found:
        store_facts.how_to_fill(catalogs[0].urls[0])
    else:
        return [_collection(info, catalogs, names) for info in found]
    return []


def _listing(catalog: Catalog) -> list[CollectionInfo] | CbirError:
    try:
        return list(catalog.listing())
    except CbirError as error:
        return error


def _unreachable(error: CbirError, catalog: Catalog) -> None:
    problems.show(error)
    if catalog.files is None:
        st.markdown(
            "Check that the server runs and can be reached from here, that its address and port are right, and"
            " QDRANT_API_KEY, if it wants a key."
        )
    st.button("Try again", icon=":material/refresh:", key=f"again {_key(catalog.urls[0])}")


def _collection(info: CollectionInfo, catalogs: Sequence[Catalog], names: dict[str, str]) -> Listed:
    """Draw what is known of a collection without opening it."""
    key = _key(info.store, info.collection)
    served = catalogs if info.made_by and info.condition != "unfinished" else []
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{literal(info.collection)}**", width="content")
            label, icon, color = BADGES[info.condition]
            st.badge(label, icon=icon, color=color)
            if info.run == "running":
                st.badge("An ingest is filling it", icon=":material/sync:", color="blue")
        draw_rows(store_facts.summary(info))
        files = catalogs[0].files
        for warning in store_facts.warnings(info, catalogs[0].urls[0], verifies=files is not None):
            st.warning(warning, icon=":material/warning:")
        check = False
        with st.container(horizontal=True):
            for url in (catalog.urls[0] for catalog in served):
                st.button(
                    f"Search it{f' in {literal(names[url])}' if len(served) > 1 else ''}",
                    icon=":material/search:",
                    key=f"search {key} {_key(url)}",
                    on_click=_search_in,
                    args=(url, info.collection),
                )
            if files and info.generation:
                check = st.button("Check every file", icon=":material/fact_check:", key=f"check {key}")
        if files and info.generation:
            _checked(info, catalogs[0], files, check)
        return Listed(info, served, st.container())


def _rest(listed: Listed, names: dict[str, str], settings: Settings) -> None:
    """Draw what opening the collection shows: how it is searched, its model's card, or what is wrong."""
    opened = {names[catalog.urls[0]]: _opened(catalog, listed.info, settings) for catalog in listed.served}
    for name, found in opened.items():
        if found.problem:
            of = f"{literal(name)}: " if len(opened) > 1 else ""
            st.warning(f"{of}{found.problem}", icon=":material/warning:")
    draw_rows([(name, store_facts.access(found.info)) for name, found in opened.items() if found.info])
    if listed.info.made_by:
        card = next((found.card for found in opened.values() if found.card), None)
        with st.expander("The model and where it comes from"):
            draw_rows(store_facts.model(listed.info, card))


def _key(*parts: str) -> str:
    """Return a key for widgets: it becomes the name of a class on the page, where no path or password may be."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _search_in(url: str, collection: str) -> None:
    st.session_state["store"], st.session_state["collection"] = url, collection
    address.go_to("search")


def _opened(catalog: Catalog, info: CollectionInfo, settings: Settings) -> Opened:
    """Return what opening showed: once for each generation, since all of its bytes are read for it."""
    if not info.generation:
        return _open(catalog, info.collection, settings)
    return _open_once(catalog.urls[0], info.collection, info.generation, info.created, info.state, catalog, settings)


@st.cache_data(max_entries=256, show_spinner="Looking at the collections…")
def _open_once(
    url: str, collection: str, generation: str, created: str, state: str, _catalog: Catalog, _settings: Settings
) -> Opened:
    return _open(_catalog, collection, _settings)


def _open(catalog: Catalog, name: str, settings: Settings) -> Opened:
    try:
        with Collection([catalog], name, settings) as collection:
            info = collection.info
            return Opened(info, collection.embedder.card)
    except CbirError as error:
        return Opened(problem=literal(problems.sentence(error)))


def _checked(info: CollectionInfo, catalog: Catalog, root: Path, check: bool) -> None:
    """Draw what the last check of every file found; with `check`, check now."""
    kept: dict[str, tuple[str, str, list[str]]] = st.session_state.setdefault("checked files", {})
    key = _key(info.store, info.collection)
    if check:
        if not _checking.acquire(blocking=False):
            st.info("Another check is running; try again when it is done.", icon=":material/hourglass:")
            return
        try:
            kept[key] = (info.generation, f"{datetime.now(UTC):%H:%M} UTC", _check(info, catalog, root))
        finally:
            _checking.release()
    generation, when, damage = kept.get(key, ("", "", []))
    if generation != info.generation:
        return
    if not damage:
        st.success(f"Every file is as it was published (checked at {when}).", icon=":material/check:")
        return
    more = f"\n- and {len(damage) - _SHOWN:,} more" if len(damage) > _SHOWN else ""
    lines = "\n".join(f"- {literal(text)}" for text in damage[:_SHOWN])
    st.error(f"{len(damage):,} damaged (checked at {when}):\n\n{lines}{more}", icon=":material/broken_image:")


def _check(info: CollectionInfo, catalog: Catalog, root: Path) -> list[str]:
    """Return what is damaged, by paths inside the index folder; draws the progress."""
    total, done = (info.megabytes or 0) * 1e6, 0
    bar = st.progress(0.0, "Reading every file…")

    def advance(size: int) -> None:
        nonlocal done
        done += size
        bar.progress(min(1.0, done / max(total, 1)), f"Read {done / 1e6:,.0f} of {total / 1e6:,.0f} MB")

    try:
        found = catalog.verify(info.collection, advance)
    except CbirError as error:
        return [problems.sentence(error)]
    finally:
        bar.empty()
    paths = [path.relative_to(root) if (path := damage.path).is_relative_to(root) else path.name for damage in found]
    return [f"{path}: {shortened(damage.what)}" for path, damage in zip(paths, found, strict=True)]

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

from cbir.errors import CbirError, DamageError
from cbir.evaluation.result_files import shortened
from cbir.images.decode import PREPROCESSING_VERSION
from cbir.index.generation import open_generation
from cbir.models.sealed import ModelCard
from cbir.search.searcher import join
from cbir.settings import DEFAULT_STORES, Settings
from cbir.stores.base import StoreInfo, open_store, parse, redacted
from cbir.stores.catalog import Condition, Listed, list_store, places, verify_collection

from ..components import choice, problems
from ..components.problems import literal

BADGES: dict[Condition, tuple[str, str, Literal["green", "blue", "orange", "red"]]] = {
    "ready": ("Ready", ":material/check:", "green"),
    "indexing": ("Indexing", ":material/hourglass:", "blue"),
    "unfinished": ("Unfinished", ":material/construction:", "orange"),
    "damaged": ("Damaged", ":material/broken_image:", "red"),
}
_ACCESS = {
    "graph": "through its graph",
    "scan": "by scanning all vectors",
    "lists": "through the nearest of its lists",
}
_SHOWN = 20
_checking = threading.Lock()
_Rows = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Served:
    """What opening a collection in one store showed: what the store and the model file say, or why it cannot be."""

    info: StoreInfo | None = None
    card: ModelCard | None = None
    problem: str = ""


@dataclass(frozen=True)
class Card:
    """A collection on the page: the stores that may serve it, and the place for what opening it shows."""

    listed: Listed
    served: list[str]
    rest: DeltaGenerator


def draw(settings: Settings) -> None:
    """Draw every collection of every store."""
    st.button("Refresh", icon=":material/refresh:", on_click=_served.clear)
    names = choice.store_names(settings.store_urls)
    pool, asked = ThreadPoolExecutor(max_workers=16), {}
    for urls in places(settings.store_urls).values():
        spot = st.container()
        spot.subheader(literal(" and ".join(names[url] for url in urls)), anchor=False)
        asked[pool.submit(_listed, urls[0], settings)] = (urls, spot)
    pool.shutdown(wait=False)
    cards: list[Card] = []
    with st.spinner("Asking the stores…"):
        for answer in as_completed(asked):  # one that does not answer hides none of the others
            urls, spot = asked[answer]
            with spot:
                cards += _place(answer.result(), urls, names, settings)
    for card in cards:  # what takes long comes when all of the page is there
        with card.rest:
            _rest(card, names, settings)


def _place(
    found: list[Listed] | CbirError, urls: Sequence[str], names: dict[str, str], settings: Settings
) -> list[Card]:
    """Draw an index folder or a server, and return the cards that want the rest."""
    if isinstance(found, CbirError):
        _unreachable(found, urls[0])
    elif not found:
        choice.how_to_fill(urls[0])
    else:
        return [_collection(one, urls, names) for one in found]
    return []


def _listed(url: str, settings: Settings) -> list[Listed] | CbirError:
    try:
        return list(list_store(url, settings))
    except CbirError as error:
        return error


def _unreachable(error: CbirError, url: str) -> None:
    problems.show(error)
    if not parse(url).embedded:
        st.markdown(
            "Check that the server runs and can be reached from here, that its address and port are right, and"
            " QDRANT_API_KEY, if it wants a key."
        )
    st.button("Try again", icon=":material/refresh:", key=f"again {_key(url)}")


def _collection(one: Listed, urls: Sequence[str], names: dict[str, str]) -> Card:
    """Draw what is known of a collection without opening it."""
    key = _key(one.store, one.collection)
    served = list(urls) if one.made_by and one.condition != "unfinished" else []
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{literal(one.collection)}**", width="content")
            label, icon, color = BADGES[one.condition]
            st.badge(label, icon=icon, color=color)
            if one.run == "running":
                st.badge("An ingest is filling it", icon=":material/sync:", color="blue")
        _list(_summary(one))
        for said in _warnings(one, urls[0]):
            st.warning(said, icon=":material/warning:")
        with st.container(horizontal=True):
            for url in served:
                where = f" in {literal(names[url])}" if len(served) > 1 else ""
                if st.button(f"Search it{where}", icon=":material/search:", key=f"search {key} {_key(url)}"):
                    _search(url, one.collection)
            files = bool(one.generation)
            check = files and st.button("Check every file", icon=":material/fact_check:", key=f"check {key}")
        if files:
            _checked(one, check)
        return Card(one, served, st.container())


def _rest(card: Card, names: dict[str, str], settings: Settings) -> None:
    """Draw what opening the collection shows: how it is searched, its model's card, or what is wrong."""
    opened = {url: _opened(url, card.listed, settings) for url in card.served}
    for url, found in opened.items():
        if found.problem:
            of = f"{literal(names[url])}: " if len(opened) > 1 else ""
            st.warning(f"{of}{found.problem}", icon=":material/warning:")
    _list([(names[url], _access(found.info)) for url, found in opened.items() if found.info])
    if card.listed.made_by:
        model = next((found.card for found in opened.values() if found.card), None)
        with st.expander("The model and where it comes from"):
            _list(_model(card.listed, model))


def _key(*parts: str) -> str:
    """Return a key for widgets: it becomes the name of a class on the page, where no path or password may be."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _search(url: str, collection: str) -> None:
    from ..site import go_to

    st.session_state["store"], st.session_state["collection"] = url, collection
    go_to("search")


def _summary(one: Listed) -> _Rows:
    rows = []
    if one.points is not None:
        indexed = "" if one.indexed is None else f", {one.indexed:,} of them indexed"
        rows.append(("Pictures", f"{one.points:,}{indexed}"))
    if one.dataset:
        means = ", which means this collection" if one.alias else ""
        rows.append(("Data set", f"{one.dataset}{means}"))
    if one.source:
        rows.append(("From", shortened(one.source)))
    if one.megabytes is not None:
        rows.append(("On disk", f"{one.megabytes:,} MB"))
    if one.generation:
        rows.append(("Generation", one.generation))
    if one.created:
        rows.append(("Made", one.created.replace("T", " ").replace("+00:00", " UTC")))
    return rows


def _access(info: StoreInfo) -> str:
    how = _ACCESS.get(info.access, info.access)
    return f"searched {how}; {info.indexed:,} of {info.count:,} pictures indexed"


def _model(one: Listed, card: ModelCard | None) -> _Rows:
    made_by = one.made_by
    if made_by is None:
        return []
    rows = [("Model", f"{made_by.name}, {made_by.dimension:,} dimensions"), ("SHA-256", f"{made_by.sha256[:16]}…")]
    if card is None:
        return [*rows, ("Origin", "its file is not here, or does not fit")]
    trained = card.training
    return [
        *rows,
        ("Weights", shortened(card.weights)),
        ("SHA-256 of the weights", f"{card.weights_sha256[:16]}…" if card.weights_sha256 else "none: they are random"),
        ("Licence", card.license),
        ("Precision", card.precision),
        *([("Trained", f"{trained.kind} on {trained.pictures:,} pictures of {trained.data}")] if trained else []),
        ("Made by", ", ".join(f"{name} {version}" for name, version in card.exporter.items())),
    ]


def _warnings(one: Listed, url: str) -> list[str]:
    """Return what is to be known or done, in words."""
    where = "" if parse(url).embedded and url in DEFAULT_STORES else f" --store {shortened(redacted(url))}"
    ingest = f"`cbir-ingest {_code(shortened(one.source)) or 'SOURCE'}{_code(where)}`"
    said = []
    if one.made_by and one.made_by.random_weights:
        said.append(
            "Its model has random weights, so that what it finds means nothing: ingest with a model that was trained."
        )
    if one.made_by and one.made_by.preprocessing != PREPROCESSING_VERSION:
        said.append(
            f"Its vectors were made with preprocessing version {one.made_by.preprocessing}, and this cbir has"
            f" {PREPROCESSING_VERSION}: pictures are no longer prepared alike. Ingest it again, with a model of this"
            " version."
        )
    if one.condition == "damaged":
        files = "name the bad files" if parse(url).embedded else "look at the server's log"
        command = f"`cbir-ingest verify{_code(where)}` will {files}" if parse(url).embedded else files.capitalize()
        said.append(f"It is damaged, and what is damaged is not served. {command}; {ingest} builds it anew.")
    if one.run == "running" and one.condition == "unfinished":
        said.append("An ingest is filling it for the first time; it can be searched when that is done.")
    elif one.run == "interrupted" and one.condition == "unfinished":
        said.append(f"It is half-built. The command that began it goes on where it was: {ingest}, with its options.")
    elif one.run == "interrupted":
        said.append(f"The last ingest into it was interrupted. The same command goes on: {ingest}, with its options.")
    if one.condition == "indexing":
        said.append("The server has not indexed all of it yet, so that searching may be slow for a while.")
    return said


def _code(text: str) -> str:
    return text.replace("`", "'")


def _opened(url: str, one: Listed, settings: Settings) -> Served:
    """Return what opening showed: once for each generation, since all of its bytes are read for it."""
    if not parse(url).embedded:
        return _open(url, one.collection, settings)
    return _served(url, one.collection, one.generation, one.created, one.state, settings)


@st.cache_data(max_entries=256, show_spinner="Looking at the collections…")
def _served(url: str, collection: str, generation: str, created: str, state: str, _settings: Settings) -> Served:
    return _open(url, collection, _settings)


def _open(url: str, collection: str, settings: Settings) -> Served:
    try:
        store = open_store(url, collection, settings)
    except CbirError as error:
        return Served(problem=literal(problems.sentence(error)))
    info = store.info
    try:
        return Served(info, join(store, settings.max_image_megapixels).embedder.card)
    except CbirError as error:
        return Served(problem=literal(problems.sentence(error)))
    finally:
        store.close()


def _checked(one: Listed, asked: bool) -> None:
    """Draw what the last check of every file found; with `asked`, check now."""
    kept: dict[str, tuple[str, str, list[str]]] = st.session_state.setdefault("checked files", {})
    key = _key(one.store, one.collection)
    if asked:
        if not _checking.acquire(blocking=False):
            st.info("Another check is running; try again when it is done.", icon=":material/hourglass:")
            return
        try:
            kept[key] = (one.generation, f"{datetime.now(UTC):%H:%M} UTC", _check(Path(one.store), one.collection))
        finally:
            _checking.release()
    generation, when, damage = kept.get(key, ("", "", []))
    if generation != one.generation:
        return
    if not damage:
        st.success(f"Every file is as it was published (checked at {when}).", icon=":material/check:")
        return
    more = f"\n- and {len(damage) - _SHOWN:,} more" if len(damage) > _SHOWN else ""
    lines = "\n".join(f"- {literal(text)}" for text in damage[:_SHOWN])
    st.error(f"{len(damage):,} damaged (checked at {when}):\n\n{lines}{more}", icon=":material/broken_image:")


def _check(root: Path, name: str) -> list[str]:
    """Return what is damaged, by paths inside the index folder; draws how far it has come."""
    try:
        total = sum(record.size for record in open_generation(root, name).manifest.files.values())
    except CbirError as error:
        return [problems.sentence(error) if not isinstance(error, DamageError) else "the manifest, or its pointer"]
    bar, done = st.progress(0.0, "Reading every file…"), 0

    def advance(size: int) -> None:
        nonlocal done
        done += size
        bar.progress(min(1.0, done / max(total, 1)), f"Read {done / 1e6:,.0f} of {total / 1e6:,.0f} MB")

    found = verify_collection(root, name, advance)
    bar.empty()
    return [f"{_inside(one.path, root)}: {shortened(one.what)}" for one in found]


def _inside(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def _list(rows: _Rows) -> None:
    """Draw names and values, a line each."""
    if rows:
        st.markdown("\n".join(f"- {literal(name)}: {literal(' '.join(value.split()))}" for name, value in rows))

"""The search page: ask with a picture, see what is similar, go on from there."""

from collections.abc import Sequence

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from cbir.errors import CbirError
from cbir.images import FORMATS
from cbir.settings import DEFAULT_STORES, Settings, load_settings
from cbir.stores import StoreInfo, collection_names, open_store, parse, redacted, served_generation

from . import parts, problems, query
from .searcher import NotHereError, Searcher, join

EXAMPLES = 8
DEFAULT_K = 12
MAX_K = 50
STORE_KINDS = {"edge": "Qdrant Edge", "faiss": "FAISS"}


def render() -> None:
    """Draw the page for the session's state."""
    st.set_page_config("cbir: find similar pictures", parts.LOGO, "wide")
    st.html(parts.PAGE_STYLE)
    st.logo(parts.LOGO, size="large")
    st.title("Find similar pictures", anchor=False)
    try:
        settings = load_settings()
        chosen = _choose(settings)
        if chosen is not None:
            searcher, info, k = chosen
            card = _ask(searcher, info, settings)
            _answer(card, searcher, k)
    except CbirError as error:
        problems.show(error)


def _choose(settings: Settings) -> tuple[Searcher, StoreInfo, int] | None:
    """Draw the sidebar and return the searcher, what its store holds now and k, or None if there is nothing yet."""
    with st.sidebar:
        stores = store_names(settings.store_urls)
        url = st.selectbox("Store", list(stores), format_func=stores.__getitem__, key="store")
        names = collection_names(url, settings)
        if names:
            collection = st.selectbox("Collection", names, key=f"collection of {url}")
            k = st.slider("Pictures to find", 1, MAX_K, DEFAULT_K, key="k")
    if not names:
        _how_to_fill(url)
        return None
    searcher = _open(url, collection, settings)
    info = searcher.store.info
    with st.sidebar:
        _facts(info)
    return searcher, info, k


def _ask(searcher: Searcher, info: StoreInfo, settings: Settings) -> DeltaGenerator:
    """Draw the ways to ask (upload, paste, an example) and return the place for the query's card."""

    def uploaded() -> None:
        file = st.session_state.get(uploader)
        if file is not None:
            query.ask_picture(file.getvalue(), file.name, settings.max_image_megapixels)
            st.session_state["uploads"] += 1  # an uploader of a new name is empty: the server lets go of the file

    def pasted(data: bytes) -> None:
        query.ask_picture(data, "The pasted picture", settings.max_image_megapixels)

    def refused(why: str) -> None:
        query.refuse(f"The pasted picture cannot be used: {why}.")

    uploader = f"upload {st.session_state.setdefault('uploads', 0)}"
    card, bring = st.columns([11, 9], gap="medium", vertical_alignment="center")
    with bring:
        types = [*(name.lower() for name in FORMATS), "jpg", "tif"]
        st.file_uploader("Bring a picture", types, key=uploader, on_change=uploaded, label_visibility="collapsed")
        parts.paste_box(query.MAX_BYTES, pasted, refused)
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown("**Or start from one of these**", width="content")
        st.button("Shuffle", icon=":material/shuffle:", type="tertiary", on_click=_shuffle)
    ids = _sample(searcher, info)
    parts.examples(ids, searcher.store.thumbnails(ids), query.ask_point)
    return card


def _answer(card: DeltaGenerator, searcher: Searcher, k: int) -> None:
    """Search, and draw the query's card and what was found."""
    asked, problem, answer = query.current(), query.problem(), None
    hint = "Bring a picture of your own, or choose one of those below."
    if problem:
        st.error(problems.literal(problem), icon=":material/error:")
    if asked is not None:
        try:
            answer = asked.answer(searcher, k)
        except NotHereError:
            query.forget()
            hint = "That picture is not in this collection; choose another."
    if asked is None or answer is None:
        with card:
            parts.query_card(None, "What are you looking for?", hint, {})
        return
    wanted = [hit.id for hit in answer.hits] + ([asked.point_id] if asked.point_id else [])
    thumbnails = searcher.store.thumbnails(wanted)
    picture = thumbnails.pop() if asked.point_id else asked.picture
    with card:
        parts.query_card(picture, *asked.about(answer), answer.milliseconds)
    count = len(answer.hits)
    st.markdown(f"**The {count} most similar**" if count > 1 else "**The most similar**")
    parts.gallery(answer.hits, thumbnails, query.ask_point)


def _sample(searcher: Searcher, info: StoreInfo) -> list[str]:
    """Return the ids of the examples: asked for once, since a server goes through all its points for them."""
    wanted = (info.url, info.collection, info.generation, st.session_state.setdefault("seed", 0))
    kept: tuple[object, list[str]] = st.session_state.get("sample", (None, []))
    if kept[0] != wanted or not kept[1]:
        kept = st.session_state["sample"] = (wanted, searcher.store.sample(EXAMPLES, wanted[-1]))
    return kept[1]


def _shuffle() -> None:
    st.session_state["seed"] += 1


def _still_served(searcher: Searcher) -> bool:
    info = searcher.opened
    return served_generation(info.url, info.collection) == info.generation


# An entry that is out of date leaves the cache unclosed: a session may be searching with it, and the store
# closes itself when the last of them lets go.
@st.cache_resource(max_entries=8, show_spinner="Opening the collection…", validate=_still_served)
def _open(url: str, collection: str, _settings: Settings) -> Searcher:
    return join(open_store(url, collection, _settings), _settings.max_image_megapixels)


def _facts(info: StoreInfo) -> None:
    """Draw what is searched."""
    if info.model.random_weights:
        st.warning("This model has random weights, so what it finds means nothing.", icon=":material/warning:")
    indexed = f", {info.indexed:,} of {info.count:,} indexed" if info.access != "scan" else ""
    rows = [("Pictures", f"{info.count:,}"), ("Model", info.model.name), ("Access", f"{info.access}{indexed}")]
    parts.facts(rows + ([("Generation", info.generation)] if info.generation else []))


def _how_to_fill(url: str) -> None:
    """Draw what to do about a store without collections."""
    where = "" if url in DEFAULT_STORES else f" --store {redacted(url)}"
    st.info("This store has no pictures yet. Fill it, then reload this page:", icon=":material/inventory_2:")
    st.code(f"cbir-ingest ./photos{where}", language="bash")
    st.markdown("Or, to look around first, with the packaged sample:")
    st.code(f"cbir-ingest sample://openmoji{where}", language="bash")


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

"""The search page: ask with a picture, see what is similar, go on from there."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from cbir.images import FORMATS
from cbir.settings import Settings
from cbir.stores import StoreInfo

from . import choice, parts, problems, query
from .searcher import NotHereError, Searcher

EXAMPLES = 8
DEFAULT_K = 12
MAX_K = 50


def draw(settings: Settings) -> None:
    """Draw the page for the session's state."""
    with st.sidebar:
        searcher = choice.choose(settings)
        if searcher is None:
            k = 0
        else:
            info = searcher.store.info
            k = st.slider("Pictures to find", 1, MAX_K, DEFAULT_K, key="k")
            choice.facts(info)
    if searcher is None:
        choice.how_to_fill(st.session_state["store"])
        return
    card = _ask(searcher, info, settings)
    _answer(card, searcher, k)


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
    pictures = searcher.store.thumbnails(ids)
    shown = [
        parts.Tile(one, picture, f"Example {at}")
        for at, (one, picture) in enumerate(zip(ids, pictures, strict=True), 1)
    ]
    parts.tiles("examples", shown, query.ask_point)
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

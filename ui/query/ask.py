"""The ways to bring a picture: upload, drop, paste, camera, an address, or one of the collection."""

import streamlit as st

from cbir.images.decode import FORMATS
from cbir.search.searcher import Searcher
from cbir.settings import Settings

from ..components import cached, parts
from ..components.address import touched
from . import state

EXAMPLES = 10
_TYPES = [*(name.lower() for name in FORMATS), "jpg", "tif"]


def bring(settings: Settings, asked: bool) -> None:
    """Draw all ways to bring a picture of one's own."""

    def uploaded() -> None:
        files = st.session_state.get(uploader) or []
        st.session_state["uploads"] += 1  # an uploader of a new name is empty: the server lets go of the files
        state.ask_files([(file.name, file.getvalue()) for file in files], settings)

    def photographed() -> None:
        photo = st.session_state.get("photo")
        if photo is not None:
            state.ask_files([("The photo", photo.getvalue())], settings)
            st.session_state["camera"] = False

    def pasted(data: bytes) -> None:
        state.ask_files([("The pasted picture", data)], settings)

    def not_pasted(why: str) -> None:
        state.start_anew()
        state.refuse(f"The pasted picture cannot be used: {why}.")

    def addressed() -> None:
        state.ask_url(st.session_state["url"])
        st.session_state["url"] = ""

    uploader = f"upload {st.session_state.setdefault('uploads', 0)}"
    st.file_uploader(
        "Bring pictures",
        _TYPES,
        accept_multiple_files=True,
        key=uploader,
        on_change=uploaded,
        label_visibility="collapsed",
    )
    parts.paste_box(state.MAX_BYTES, pasted, not_pasted)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.text_input(
            "Address of a picture",
            key="url",
            placeholder="or the address of a picture: https://…",
            on_change=addressed,
            label_visibility="collapsed",
            max_chars=2000,
        )
        st.toggle("Camera", key="camera", on_change=touched)
    if st.session_state.get("camera"):
        st.camera_input("Take a photo", key="photo", on_change=photographed, label_visibility="collapsed")
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        note = "A new picture joins those that hits are to be like."
        st.checkbox("Add to what is asked", key="adding", help=note, disabled=not asked, on_change=touched)
        st.button(
            "Start again", icon=":material/restart_alt:", type="tertiary", on_click=state.forget, disabled=not asked
        )


def examples(searcher: Searcher) -> None:
    """Draw some pictures of the collection to start from."""
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown("**Or start from one of these**", width="content")
        st.button("Shuffle", icon=":material/shuffle:", type="tertiary", on_click=_shuffle)
    st.caption("Pictures of this collection, chosen at random.")  # where results have their caption: nothing moves
    ids = cached.sample(searcher, EXAMPLES, st.session_state.setdefault("seed", 0))
    pictures, payloads = searcher.store.thumbnails(ids), searcher.store.payloads(ids)
    shown = [
        parts.Tile(one, picture, parts.heading(payload))
        for one, picture, payload in zip(ids, pictures, payloads, strict=True)
        if payload is not None
    ]
    parts.tiles("gallery", shown, state.ask_point)  # results take its place, and nothing jumps


def _shuffle() -> None:
    touched()
    st.session_state["seed"] += 1

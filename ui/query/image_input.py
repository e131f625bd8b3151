"""The ways to bring an image: upload, drop, paste, camera, a URL, or one of the collection."""

import streamlit as st

from cbir.images.decode import FORMATS

from ..components import gallery, web
from . import cached, images, state
from .address import touched
from .choice import Chosen

SAMPLES = 10
_TYPES = [*(name.lower() for name in FORMATS), "jpg", "tif"]


def draw(chosen: Chosen, has_query: bool) -> None:
    """Draw all ways to bring an image of one's own."""
    collection = chosen.collection

    def uploaded() -> None:
        files = st.session_state.get(uploader) or []
        st.session_state["uploads"] += 1  # an uploader of a new name is empty: the server lets go of the files
        images.upload([(file.name, file.getvalue()) for file in files], collection)

    def photographed() -> None:
        photo = st.session_state.get("photo")
        if photo is not None:
            images.upload([("The photo", photo.getvalue())], collection)
            st.session_state["camera"] = False

    def pasted(data: bytes) -> None:
        images.upload([("The pasted picture", data)], collection)

    def not_pasted(reason: str) -> None:
        state.clear_problems()
        state.add_problem(f"The pasted picture cannot be used: {reason}.")

    def url_entered() -> None:
        images.upload_url(st.session_state["url"])
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
    web.paste_box(images.MAX_BYTES, pasted, not_pasted)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.text_input(
            "Address of a picture",
            key="url",
            placeholder="or the address of a picture: https://…",
            on_change=url_entered,
            label_visibility="collapsed",
            max_chars=2000,
        )
        st.toggle("Camera", key="camera", on_change=touched)
    if st.session_state.get("camera"):
        st.camera_input("Take a photo", key="photo", on_change=photographed, label_visibility="collapsed")
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        note = "A new picture joins those that hits are to be like."
        st.checkbox("Add to what is asked", key="adding", help=note, disabled=not has_query, on_change=touched)
        clear_button(disabled=not has_query)


def clear_button(disabled: bool = False) -> None:
    """Draw the button that empties the query."""
    icon = ":material/restart_alt:"
    st.button("Start again", icon=icon, type="tertiary", on_click=state.clear, disabled=disabled)


def samples(chosen: Chosen) -> None:
    """Draw some images of the collection to start from."""
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown("**Or start from one of these**", width="content")
        st.button("Shuffle", icon=":material/shuffle:", type="tertiary", on_click=_shuffle)
    st.caption("Pictures of this collection, chosen at random.")  # where results have their caption: nothing moves
    ids = cached.sample(chosen, SAMPLES, st.session_state.setdefault("seed", 0))
    pictures, payloads = chosen.store.thumbnails(ids), chosen.store.payloads(ids)
    cards = [
        gallery.Card(point_id, payload, picture)
        for point_id, picture, payload in zip(ids, pictures, payloads, strict=True)
        if payload is not None
    ]
    gallery.tiles("gallery", cards, state.search_for)  # results take its place, and nothing jumps


def _shuffle() -> None:
    touched()
    st.session_state["seed"] += 1

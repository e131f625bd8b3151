"""The ways to search: by text, or by image: upload, drop, paste, camera, a URL, or an image of the collection."""

from typing import Any

import streamlit as st

from cbir.images.decode import FORMATS
from cbir.models.text_tower import MAX_CHARACTERS

from ..components import gallery, web
from . import choice, images, state
from .address import touched
from .choice import Chosen

SAMPLES = 10
_TYPES = [*(name.lower() for name in FORMATS), "jpg", "tif"]


def draw(chosen: Chosen, has_query: bool) -> None:
    """Draw the field for a text, and all ways to upload an image."""
    collection = chosen.collection

    def uploaded() -> None:
        files = st.session_state.get(uploader) or []
        st.session_state["uploads"] += 1  # an uploader with a new key is empty: the server releases the files
        images.upload([(file.name, file.getvalue()) for file in files], collection)

    def photographed() -> None:
        photo = st.session_state.get("photo")
        if photo is not None:
            images.upload([("Photo", photo.getvalue())], collection)
            st.session_state["camera"] = False

    def not_pasted(reason: str) -> None:
        state.clear_problems()
        state.problems().append(f"The pasted image cannot be used: {reason}.")

    def url_entered() -> None:
        images.upload_url(st.session_state["url"])
        st.session_state["url"] = ""

    def text_entered() -> None:
        state.search_text(st.session_state["text_field"])
        st.session_state["text_field"] = ""

    uploader = f"upload {st.session_state.setdefault('uploads', 0)}"
    hidden: Any = {"label_visibility": "collapsed"}
    placeholder = "Search by text: red heart, a train…"
    st.text_input(
        "Search by text",
        key="text_field",
        placeholder=placeholder,
        on_change=text_entered,
        max_chars=MAX_CHARACTERS,
        icon=":material/search:",
        **hidden,
    )
    st.file_uploader("Search by image", _TYPES, accept_multiple_files=True, key=uploader, on_change=uploaded, **hidden)
    web.paste_box(images.MAX_BYTES, lambda data: images.upload([("Pasted image", data)], collection), not_pasted)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        placeholder = "or enter an image URL: https://…"
        st.text_input("Image URL", key="url", placeholder=placeholder, on_change=url_entered, max_chars=2000, **hidden)
        st.toggle("Camera", key="camera", on_change=touched)
    if st.session_state.get("camera"):
        st.camera_input("Take a photo", key="photo", on_change=photographed, **hidden)
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        note = "Add the next image or text to the query instead of replacing it."
        st.checkbox("Add to query", key="adding", help=note, disabled=not has_query, on_change=touched)
        clear_button(disabled=not has_query)


def clear_button(disabled: bool = False) -> None:
    """Draw the button that empties the query."""
    st.button("Clear", icon=":material/restart_alt:", type="tertiary", on_click=state.clear, disabled=disabled)


def samples(chosen: Chosen) -> None:
    """Draw some images of the collection to start from."""
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown("**Or start from an image of the collection**", width="content")
        st.button("Shuffle", icon=":material/shuffle:", type="tertiary", on_click=_shuffle)
    st.caption("Chosen at random.")  # results have their caption in the same place, so that nothing moves
    ids = choice.sample(chosen, SAMPLES, st.session_state.setdefault("seed", 0))
    gallery.tiles("gallery", gallery.stored_cards(chosen.store, ids), state.search_for)


def _shuffle() -> None:
    touched()
    st.session_state["seed"] += 1

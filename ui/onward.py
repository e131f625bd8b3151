"""From a picture on another page of the site to the search for it."""

import streamlit as st

from . import site
from .components import address
from .query import state

_WANTED = "onward"


def search_for(point_id: str) -> None:
    """Make a picture of the collection the query, and lead the visitor to its hits; for a widget's callback."""
    state.ask_point(point_id)
    st.session_state[_WANTED] = True


def follow() -> None:
    """Lead the visitor to the search page if that is wanted; a page calls it first of all."""
    if st.session_state.get("arrived"):
        address.read(state.adopt)
    if st.session_state.pop(_WANTED, False):
        site.go_to("search")

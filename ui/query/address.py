"""The page's address says what the query is, so that a search can be shared, reloaded and gone back to.

Streamlit binds plain widgets to the address by itself (`bind="query-params"`); this is for all other state.
"""

from collections.abc import Callable, Sequence

import streamlit as st

Parameters = dict[str, list[str]]

_PREFIXES = ("is.", "from.", "to.")
_NAMES = ("like", "unlike", "shown")
_LAST = "address"
_TOUCHED = "touched"
_BARE = "bare"
_WANTED = "wanted page"


def touched() -> None:
    """Note that a widget was used: the callback of every widget of a page whose address this module writes.

    A quick visitor uses the next widget before the browser has the address that the last one made. Such an old
    address looks like a step back, but a step back uses no widget. The button of a failed page is such a widget too:
    a run that fails does not write the address.
    """
    st.session_state[_TOUCHED] = True


def go_to(page: str) -> None:
    """Lead the visitor to another page of the site, by its path; for a widget's callback."""
    st.session_state[_WANTED] = page


def wanted_page() -> str | None:
    """Return the page that the visitor is to be led to, once."""
    page: str | None = st.session_state.pop(_WANTED, None)
    return page


def arrive(page: str) -> None:
    """Note which page is drawn, and whether the visitor has just come to it."""
    st.session_state["arrived"] = st.session_state.get("page") != page
    st.session_state["page"] = page


def read(adopt: Callable[[Parameters], None]) -> None:
    """Call `adopt` with the address's parameters if the page did not write them itself: a link, or a step back.

    A visitor who comes from another page of the site comes without parameters and keeps their query; the same holds
    when they step back to that address later.
    """
    found = _parameters()
    last = st.session_state.get(_LAST)
    bare: dict[str, Parameters] = st.session_state.setdefault(_BARE, {})
    page = str(st.session_state.get("page"))
    if st.session_state.get("arrived") and not found:
        bare[page] = last or {}
    found = found or bare.get(page, {})
    if st.session_state.pop(_TOUCHED, False) or found == last:
        return
    st.session_state[_LAST] = found
    adopt(found)
    st.session_state.pop(_TOUCHED, None)  # adopting may touch


def write(wanted: Parameters) -> None:
    """Make the address say this."""
    found, wanted = _parameters(), {name: values for name, values in wanted.items() if values}
    if found != wanted:
        removed: dict[str, Sequence[str]] = {name: [] for name in found if name not in wanted}
        st.query_params.update({**removed, **wanted})
    st.session_state[_LAST] = wanted


def _parameters() -> Parameters:
    names = [name for name in st.query_params if name in _NAMES or name.startswith(_PREFIXES)]
    return {name: values for name in names if (values := st.query_params.get_all(name))}

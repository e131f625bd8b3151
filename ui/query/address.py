"""The page's address holds the query, so that a search can be shared, reloaded and gone back to.

Streamlit binds plain widgets to the address by itself (see `BOUND`). This module does so for all other state.
"""

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

Parameters = dict[str, list[str]]

OLD_NAMES = {"least": "min_score", "group": "group_by", "compared": "limit"}
"""Names of parameters in addresses of earlier versions, and what they are called now."""

_PREFIXES = ("is.", "from.", "to.")
_NAMES = ("like", "unlike", "text", "unlike_text", "shown")
_LAST = "address"
_TOUCHED = "touched"
_BARE = "bare"
_TARGET = "target page"
_RENAMED = "renamed"


def touched() -> None:
    """Note that a widget was used: the callback of every widget of a page whose address this module writes.

    A quick visitor uses the next widget before the browser has the address that the last one made. Such an old
    address looks like a step back, but a step back uses no widget. The "Try again" button of a failed page needs this
    too, because a failed run does not write the address.
    """
    st.session_state[_TOUCHED] = True


BOUND: dict[str, Any] = {"bind": "query-params", "on_change": touched}
"""Arguments of a widget whose value is a parameter of the address, named like its key."""


def go_to(page: str) -> None:
    """Lead the visitor to another page of the site, given by its path; for a widget's callback."""
    st.session_state[_TARGET] = page


def target_page() -> str | None:
    """Return the path of the page that the visitor is led to, once."""
    page: str | None = st.session_state.pop(_TARGET, None)
    return page


def renamed() -> Parameters | None:
    """Return the parameters of an old address under their present names, once; None for any other address."""
    if not OLD_NAMES.keys() & st.query_params.keys():
        return None
    parameters = {OLD_NAMES.get(name, name): st.query_params.get_all(name) for name in st.query_params}
    if parameters == st.session_state.get(_RENAMED):
        return None  # a step back to the old address: renaming again would make it impossible to step back further
    st.session_state[_RENAMED] = parameters
    return parameters


def arrive(page: str) -> None:
    """Note which page is drawn, and whether the visitor has just come to it."""
    st.session_state["arrived"] = st.session_state.get("page") != page
    st.session_state["page"] = page


def read(adopt: Callable[[Parameters], None]) -> None:
    """Call `adopt` with the address's parameters if the page did not write them itself: a link, or a step back.

    A visitor who comes from another page of the site comes without parameters and keeps their query. The same holds
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


def write(parameters: Parameters) -> None:
    """Write these parameters to the address, and remove the others that this module writes."""
    before, parameters = _parameters(), {name: values for name, values in parameters.items() if values}
    if before != parameters:
        removed: dict[str, Sequence[str]] = {name: [] for name in before if name not in parameters}
        st.query_params.update({**removed, **parameters})
    st.session_state[_LAST] = parameters


def _parameters() -> Parameters:
    names = [name for name in st.query_params if name in _NAMES or name.startswith(_PREFIXES)]
    return {name: values for name in names if (values := st.query_params.get_all(name))}

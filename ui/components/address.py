"""The page's address says what is asked, so that a search can be shared, reloaded and gone back to.

Streamlit binds plain widgets to the address by itself (`bind="query-params"`); this is for what is no plain widget.
"""

from collections.abc import Callable, Sequence

import streamlit as st

Parameters = dict[str, list[str]]

_PREFIXES = ("is.", "from.", "to.")
_NAMES = ("like", "unlike", "shown")
_KEPT = "address"
_TOUCHED = "touched"
_BARE = "bare"


def touched() -> None:
    """Note that a widget was used: the callback of every widget of a page whose address this module keeps.

    Who is quick uses the next widget before their browser has heard of the address that the last one made. Such an
    old address looks like a step back, but no widget is used for one.
    """
    st.session_state[_TOUCHED] = True


def read(adopt: Callable[[Parameters], None]) -> None:
    """Call `adopt` with the address's parameters if they are other ones than the page wrote: a link, or a step back.

    Who comes from another page of the site comes without parameters, and finds what they left; so it is when they
    step back to that address later.
    """
    there = _parameters()
    kept = st.session_state.get(_KEPT)
    bare: dict[str, Parameters] = st.session_state.setdefault(_BARE, {})
    page = str(st.session_state.get("page"))
    if st.session_state.get("arrived") and not there:
        bare[page] = kept or {}
    there = there or bare.get(page, {})
    if st.session_state.pop(_TOUCHED, False) or there == kept:
        return
    st.session_state[_KEPT] = there
    adopt(there)
    st.session_state.pop(_TOUCHED, None)  # what adopts may touch


def write(wanted: Parameters) -> None:
    """Make the address say this."""
    there, wanted = _parameters(), {name: values for name, values in wanted.items() if values}
    if there != wanted:
        gone: dict[str, Sequence[str]] = {name: [] for name in there if name not in wanted}
        st.query_params.update({**gone, **wanted})
    st.session_state[_KEPT] = wanted


def _parameters() -> Parameters:
    mine = [name for name in st.query_params if name in _NAMES or name.startswith(_PREFIXES)]
    return {name: values for name in mine if (values := st.query_params.get_all(name))}

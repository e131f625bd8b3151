"""The site: its pages, what they share, and what a visitor sees of an error in one of them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import NoReturn, TypeVar

import streamlit as st
from streamlit.navigation.page import Page

from cbir.errors import CbirError, UsageError
from cbir.settings import Settings, load_settings

from . import login
from .components import choice, parts, problems

T = TypeVar("T")


@dataclass(frozen=True)
class Described:
    """A page of the site: the module whose `draw(settings)` draws it, its address, title, icon and what it is for."""

    module: str
    path: str
    title: str
    icon: str
    heading: str


PAGES = (
    Described("search_page", "search", "Search", ":material/search:", "Find similar pictures"),
    Described("compare_page", "compare", "Compare", ":material/compare:", "Compare two stores or models"),
    Described("classes_page", "classes", "Classes", ":material/category:", "How well each class is found"),
    Described("map_page", "map", "Map", ":material/scatter_plot:", "A map of the collection"),
    Described("bench_page", "bench", "Bench", ":material/speed:", "Bench"),
    Described("collections_page", "collections", "Collections", ":material/database:", "Collections"),
)
_PANIC = "PanicException"
"""Of the Qdrant engine: pyo3's class has no base but BaseException, and cannot be imported."""


def render() -> None:
    """Draw the page that the visitor is on, or what logs in a visitor who has to."""
    st.set_page_config("cbir", parts.LOGO, "wide")
    st.html(parts.PAGE_STYLE)
    st.logo(parts.LOGO, size="large")
    welcome = _guarded(login.let_in, False)
    page = st.navigation([_streamlit_page(page) for page in PAGES], position="top" if welcome else "hidden")
    if welcome:
        page.run()


def go_to(path: str) -> NoReturn:
    """Lead the visitor to the page with this address; never returns."""
    st.switch_page(_streamlit_page(next(page for page in PAGES if page.path == path)), query_params={})


def _streamlit_page(page: Described) -> Page:
    return st.Page(partial(_draw, page), title=page.title, icon=page.icon, url_path=page.path, default=page is PAGES[0])


def _draw(page: Described) -> None:
    st.title(page.heading, anchor=False)
    st.session_state["arrived"] = st.session_state.get("page") != page.path
    st.session_state["page"] = page.path
    _guarded(lambda settings: import_module(f".{page.module}", __package__).draw(settings), None)


def _guarded(draw: Callable[[Settings], T], failed: T) -> T:
    """Draw a part of the page; of an error the visitor is told what he may know, and offered to try again."""
    try:
        settings = load_settings()
        try:
            return draw(settings)
        except CbirError as error:
            if not isinstance(error, UsageError):
                choice.let_go(settings)
            raise
    except CbirError as error:
        problems.show(error)
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != _PANIC:
            raise  # how Streamlit ends a run
        problems.show_unexpected(error)
    st.button("Try again", icon=":material/refresh:", key="try again")
    return failed

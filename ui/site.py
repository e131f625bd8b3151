"""The site: its pages, what they share, and what a visitor sees of an error in one of them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TypeVar

import streamlit as st
from streamlit.navigation.page import Page

from cbir.errors import CbirError, UsageError
from cbir.settings import Settings

from . import login
from .components import problems, web
from .query import address, choice

T = TypeVar("T")


@dataclass(frozen=True)
class PageInfo:
    """A page of the site: the module whose `draw(settings)` draws it, its address, title, icon and what it is for."""

    module: str
    path: str
    title: str
    icon: str
    heading: str


PAGES = (
    PageInfo("search_page", "search", "Search", ":material/search:", "Find similar pictures"),
    PageInfo("compare_page", "compare", "Compare", ":material/compare:", "Compare two stores or models"),
    PageInfo("classes_page", "classes", "Classes", ":material/category:", "How well each class is found"),
    PageInfo("map_page", "map", "Map", ":material/scatter_plot:", "A map of the collection"),
    PageInfo("bench_page", "bench", "Bench", ":material/speed:", "Bench"),
    PageInfo("collections_page", "collections", "Collections", ":material/database:", "Collections"),
)
_PANIC = "PanicException"
"""Of the Qdrant engine: pyo3's class has no base but BaseException, and cannot be imported."""


def render() -> None:
    """Draw the page that the visitor is on, or what logs in a visitor who must log in."""
    st.set_page_config("cbir", web.LOGO, "wide")
    st.html(web.PAGE_STYLE)
    st.logo(web.LOGO, size="large")
    welcome = _guarded(login.let_in, False)
    pages = {page.path: _streamlit_page(page) for page in PAGES}
    current = st.navigation(list(pages.values()), position="top" if welcome else "hidden")
    if welcome:
        wanted = address.wanted_page()
        if wanted is not None:
            st.switch_page(pages[wanted], query_params={})
        current.run()


def _streamlit_page(page: PageInfo) -> Page:
    return st.Page(partial(_draw, page), title=page.title, icon=page.icon, url_path=page.path, default=page is PAGES[0])


def _draw(page: PageInfo) -> None:
    st.title(page.heading, anchor=False)
    address.arrive(page.path)
    _guarded(lambda settings: import_module(f".pages.{page.module}", __package__).draw(settings), None)


def _guarded(draw: Callable[[Settings], T], failed: T) -> T:
    """Draw a part of the page; an error is shown in a sentence, with a button to try again."""
    try:
        settings = Settings()
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
    st.button("Try again", icon=":material/refresh:", key="try again", on_click=address.touched)
    return failed

"""The site: its pages, and how an error in one of them is shown."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TypeVar

import streamlit as st

from cbir.errors import CbirError, UsageError
from cbir.settings import Settings

from . import login
from .components import problems, web
from .query import address, choice

T = TypeVar("T")


@dataclass(frozen=True)
class PageInfo:
    """A page of the site, drawn by `draw(settings)` of the module `pages/PATH_page.py`."""

    path: str
    title: str
    icon: str
    heading: str


PAGES = (
    PageInfo("search", "Search", ":material/search:", "Find similar images"),
    PageInfo("compare", "Compare", ":material/compare:", "Compare two stores or models"),
    PageInfo("classes", "Classes", ":material/category:", "Retrieval quality of each class"),
    PageInfo("map", "Map", ":material/scatter_plot:", "Map of the collection"),
    PageInfo("bench", "Bench", ":material/speed:", "Bench"),
    PageInfo("collections", "Collections", ":material/database:", "Collections"),
)
_PANIC = "PanicException"
"""Raised by the Qdrant engine: pyo3's class is derived from BaseException alone, and cannot be imported."""


def render() -> None:
    """Draw the current page, or the login if the visitor must log in first."""
    st.set_page_config("cbir", web.LOGO, "wide")
    st.html(web.PAGE_STYLE)
    st.logo(web.LOGO, size="large")
    allowed = _guarded(login.let_in, False)
    pages = {
        page.path: st.Page(
            partial(_draw, page), title=page.title, icon=page.icon, url_path=page.path, default=page is PAGES[0]
        )
        for page in PAGES
    }
    current = st.navigation(list(pages.values()), position="top" if allowed else "hidden")
    if not allowed:
        return
    if target := address.target_page():
        st.switch_page(pages[target], query_params={})
    if parameters := address.renamed():
        st.switch_page(current, query_params=parameters)
    current.run()


def _draw(page: PageInfo) -> None:
    st.title(page.heading, anchor=False)
    address.arrive(page.path)
    _guarded(lambda settings: import_module(f".pages.{page.path}_page", __package__).draw(settings), None)


def _guarded(draw: Callable[[Settings], T], failed: T) -> T:
    """Draw a part of the page; an error is shown as a sentence, with a button to try again."""
    try:
        settings = Settings()
        try:
            return draw(settings)
        except CbirError as error:
            if not isinstance(error, UsageError):
                choice.forget_open(settings, error)
            raise
    except CbirError as error:
        problems.show(error)
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != _PANIC:
            raise  # Streamlit ends a run in this way
        problems.show_unexpected(error)
    st.button("Try again", icon=":material/refresh:", key="try again", on_click=address.touched)
    return failed

"""What all visitors of a collection share, worked out once: for a generation, or for a while where a server changes."""

import streamlit as st

from cbir.filters.conditions import FieldKind, Filter, Value
from cbir.search.score_calibration import Background
from cbir.search.score_calibration import background as measure_background
from cbir.search.searcher import Crop, Embedded, Key, Searcher

_SECONDS = 60


def fields(searcher: Searcher) -> dict[str, FieldKind]:
    """Return the fields that the collection can be filtered by (see `Store.fields`)."""
    return _fields(searcher.key, searcher)


def facet(searcher: Searcher, field: str, where: Filter, limit: int) -> list[tuple[Value, int]]:
    """Return the values of a field and their numbers of points (see `Store.facet`)."""
    return _facet(searcher.key, field, where, limit, searcher)


def sample(searcher: Searcher, count: int, seed: int) -> list[str]:
    """Return random ids (see `Store.sample`)."""
    return _sample(searcher.key, count, seed, searcher)


def background(searcher: Searcher) -> Background:
    """Return what a score means in the collection."""
    return _background(searcher.key, searcher)


def embedded(searcher: Searcher, name: str, data: bytes, crop: Crop | None) -> Embedded:
    """Return the vector of a picture, or of a part of it; `name` tells it from all others.

    Raises:
        ImageError: It cannot be used.
    """
    return _embedded(name, crop, searcher.opened.model.sha256, data, searcher)


@st.cache_data(max_entries=64, ttl=_SECONDS, show_spinner=False)
def _fields(key: Key, _searcher: Searcher) -> dict[str, FieldKind]:
    return _searcher.store.fields()


@st.cache_data(max_entries=1024, ttl=_SECONDS, show_spinner=False)
def _facet(key: Key, field: str, where: Filter, limit: int, _searcher: Searcher) -> list[tuple[Value, int]]:
    return _searcher.store.facet(field, where, limit)


# A server goes through all its points for a sample.
@st.cache_data(max_entries=256, ttl=10 * _SECONDS, show_spinner=False)
def _sample(key: Key, count: int, seed: int, _searcher: Searcher) -> list[str]:
    return _searcher.store.sample(count, seed)


# As a resource it is not copied for each page: it is megabytes, and frozen.
@st.cache_resource(max_entries=64, ttl=60 * _SECONDS, show_spinner=False)
def _background(key: Key, _searcher: Searcher) -> Background:
    return measure_background(_searcher.store)


@st.cache_data(max_entries=256, show_spinner=False)
def _embedded(name: str, crop: Crop | None, model: str, _data: bytes, _searcher: Searcher) -> Embedded:
    return _searcher.embed(_data, crop)

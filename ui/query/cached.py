"""Values that all visitors of a collection share, cached for each generation, or for a while where a server changes."""

import streamlit as st

from cbir.filters.conditions import Filter, Value
from cbir.search.score_calibration import ScoreCalibration, calibrate

from .choice import BY_GENERATION, Chosen

_SECONDS = 60


@st.cache_data(max_entries=64, ttl=_SECONDS, show_spinner=False, hash_funcs=BY_GENERATION)
def fields(chosen: Chosen) -> dict[str, str]:
    """Return the fields that the collection can be filtered by (see `Collection.fields`)."""
    return chosen.collection.fields()


@st.cache_data(max_entries=1024, ttl=_SECONDS, show_spinner=False, hash_funcs=BY_GENERATION)
def facet(chosen: Chosen, field: str, filter: Filter, limit: int) -> list[tuple[Value, int]]:
    """Return the values of a field and their numbers of points (see `Collection.facet`)."""
    return chosen.collection.facet(field, filter, limit)


# A server reads all its points for a sample.
@st.cache_data(max_entries=256, ttl=10 * _SECONDS, show_spinner=False, hash_funcs=BY_GENERATION)
def sample(chosen: Chosen, count: int, seed: int) -> list[str]:
    """Return random ids (see `Store.sample`)."""
    return chosen.store.sample(count, seed)


# As a resource it is not copied for each page: it is megabytes, and frozen.
@st.cache_resource(max_entries=64, ttl=60 * _SECONDS, show_spinner=False, hash_funcs=BY_GENERATION)
def score_calibration(chosen: Chosen) -> ScoreCalibration:
    """Return the meaning of a score in the collection."""
    return calibrate(chosen.store)

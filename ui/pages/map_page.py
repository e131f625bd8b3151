"""The map page: the collection as points of a plane, where similar images are near each other."""

import hashlib
import sys
from collections import Counter
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import streamlit as st

from cbir.errors import CbirError
from cbir.filters.conditions import values_of
from cbir.records import Payload, Vector, without_fraction
from cbir.search.projection import kept_map, pca, umap_map, umap_path, vectors_digest
from cbir.settings import Settings

from ..components import gallery, problems
from ..components.plots import readable
from ..components.work import Work, show_progress
from ..query import address, choice, state
from ..query.choice import BY_GENERATION, Chosen

MAX_POINTS = 10_000  # with 20,000, a step of the zoom takes 0.3 s without a graphics card
NEIGHBOURS = 12
SHOWN_VALUES = 10
_OTHERS, _NONE = "other values", "no value"
_HEIGHT = 560
_CHUNK = 1000
_SECONDS = 600

# Six colours that colour-blind people can distinguish (Okabe and Ito, 2008), each with two shapes.
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9")
_SHAPES = ("circle", "triangle-up")
_GREY = "#8f9794"


@dataclass(frozen=True)
class Cloud:
    """The points of the map, their positions by PCA, (n, 2), and the values of each field as text.

    `digest` is that of their vectors.
    """

    ids: list[str]
    digest: str
    positions: Vector
    names: list[str]
    fields: dict[str, list[str | None]]


def draw(settings: Settings) -> None:
    """Draw the page for the session's state."""
    address.read(state.adopt)
    chosen = choice.in_sidebar(settings)
    if chosen is None:
        return
    cloud = _cloud(chosen)
    fields = [field for field in choice.fields(chosen) if field in cloud.fields]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        method = st.segmented_control(
            "Projection", ["PCA", "UMAP"], default="PCA", required=True, key="projection", bind="query-params"
        )
        field = st.selectbox("Colour by", fields, key="colour", bind="query-params", width=260) if fields else None
    positions = _umap(chosen, cloud, settings) if method == "UMAP" else cloud.positions
    left, right = st.columns([13, 7], gap="medium")
    with left:
        # The browser gets the key, but must not learn the path.
        shown = hashlib.sha256(str((*chosen.key, cloud.digest, method, field)).encode())
        _map(cloud, positions, field, shown.hexdigest())
        st.caption(_about(len(cloud.ids), chosen.info.count, positions is not cloud.positions))
    with right:
        _selected(chosen)


# A server changes within a generation, and `choice.sample` reads it as rarely.
@st.cache_resource(max_entries=4, ttl=_SECONDS, show_spinner="Drawing the map…", hash_funcs=BY_GENERATION)
def _cloud(chosen: Chosen) -> Cloud:
    ids = choice.sample(chosen, MAX_POINTS, 0)
    payloads: list[Payload] = [payload or {} for payload in chosen.store.payloads(ids)]
    fields = {field: [_text(payload, field) for payload in payloads] for field in choice.fields(chosen)}
    names = [gallery.heading(payload) if payload else "" for payload in payloads]
    vectors = _vectors(chosen, ids)
    return Cloud(ids, vectors_digest(vectors), pca(vectors), names, fields)


def _text(payload: Payload, field: str) -> str | None:
    value = next(iter(values_of(payload, field)), None)
    return None if value is None else sys.intern(str(without_fraction(value)))  # equal texts share one object


def _vectors(chosen: Chosen, ids: list[str]) -> Vector:
    """Return the vectors (n, D) of points; zeros for a point that has been deleted."""
    out = np.zeros((len(ids), chosen.info.model.dimension), np.float32)
    for start in range(0, len(ids), _CHUNK):
        for row, vector in enumerate(chosen.store.vectors(ids[start : start + _CHUNK]), start):
            if vector is not None:
                out[row] = vector
    return out


def _umap(chosen: Chosen, cloud: Cloud, settings: Settings) -> Vector:
    """Return the positions by UMAP, or by PCA until these have been computed."""
    path = umap_path(settings, cloud.digest)
    kept = kept_map(path, len(cloud.ids))
    if kept is not None:
        return kept
    if find_spec("umap") is None:
        st.info("UMAP is not installed. Install it, then restart this page:", icon=":material/extension:")
        st.code("pip install 'cbir[umap]'", language=None, wrap_lines=True)
        return cloud.positions
    work = _started(str(path), chosen, cloud)
    if not work.done():
        show_progress(work, "Computing UMAP, which takes a minute or two, once. Until then, this is PCA.")
        return cloud.positions
    try:
        return work.result()
    except CbirError as error:
        _started.clear(str(path))  # the next visit tries again
        problems.show(error)
        return cloud.positions


@st.cache_resource(max_entries=4, show_spinner=False)
def _started(path: str, _chosen: Chosen, _cloud: Cloud) -> Work[Vector]:
    ids = _cloud.ids
    return Work(lambda _: umap_map(Path(path), len(ids), lambda: _vectors(_chosen, ids)))


def _map(cloud: Cloud, positions: Vector, field: str | None, key: str) -> None:
    """Draw the map; a click on a point selects it."""
    import altair as alt
    import pyarrow as pa

    def clicked() -> None:
        points = st.session_state[key]["selection"]["chosen"]
        match points:  # a browser may send anything
            case [{"point": int(index)}, *_] if 0 <= index < len(cloud.ids):
                st.session_state["on_map"] = cloud.ids[index]
            case _:
                st.session_state["on_map"] = None

    values = cloud.fields[field] if field else [None] * len(cloud.ids)
    counts = Counter(value for value in values if value is not None)
    top = [value for value, _ in counts.most_common(SHOWN_VALUES)]
    groups = [_NONE if value is None else value if value in top else _OTHERS for value in values]
    order = sorted(range(len(groups)), key=lambda row: groups[row] in top)  # the others first, so that they lie below
    table = pa.table(
        {
            "point": order,
            "x": positions[order, 0],
            "y": positions[order, 1],
            "group": [groups[row] for row in order],
            "value": [values[row] or "" for row in order],
            "name": [cloud.names[row] for row in order],
        }
    )
    domain = [*top, *(group for group in (_OTHERS, _NONE) if group in groups)]
    grey = [_GREY] * (len(domain) - len(top))
    colours = [_COLOURS[index % len(_COLOURS)] for index in range(len(top))] + grey
    shapes = [_SHAPES[index // len(_COLOURS)] for index in range(len(top))] + [_SHAPES[0]] * len(grey)
    legend = alt.Legend(title=field, orient="bottom", columns=3, labelLimit=90, symbolOpacity=1) if field else None
    chosen = alt.selection_point(name="chosen", fields=["point"])
    zoom = alt.selection_interval(name="zoom", bind="scales")
    scale = alt.Scale(zero=False)
    chart = (
        alt.Chart(table)
        .mark_point(filled=True, opacity=0.75)
        .encode(
            alt.X("x:Q", axis=None, scale=scale),
            alt.Y("y:Q", axis=None, scale=scale),
            alt.Color("group:N", scale=alt.Scale(domain=domain, range=colours), legend=legend),
            alt.Shape("group:N", scale=alt.Scale(domain=domain, range=shapes), legend=legend),
            size=alt.condition(chosen, alt.value(260), alt.value(22), empty=False),
            tooltip=[alt.Tooltip("name:N", title="name"), alt.Tooltip("value:N", title="value")],
        )
        .add_params(chosen, zoom)
        .properties(height=_HEIGHT)
    )
    alt_text = f"Map of {len(cloud.ids):,} images, with similar images near each other"
    st.altair_chart(readable(chart), key=key, on_select=clicked, selection_mode="chosen", alt=alt_text)


def _about(shown: int, count: int, umap: bool) -> str:
    images = f"All {shown:,} images" if shown >= count else f"{shown:,} random images of {count:,}"
    how = "by UMAP, which keeps neighbours together" if umap else "by their first two principal components"
    return (
        f"{images}, {how}. Scroll or pinch to zoom, drag to move, double-click to reset; click a point for its image."
    )


def _selected(chosen: Chosen) -> None:
    """Draw the selected image and those most similar to it."""
    point_id: str | None = st.session_state.get("on_map")
    image = chosen.collection.get(point_id) if point_id else None
    if image is None:
        st.info("Click a point to see its image and similar images.", icon=":material/ads_click:")
        return
    hits = chosen.collection.search(image, limit=NEIGHBOURS)
    name = gallery.heading(image.payload)
    st.markdown(f"**{problems.literal(name)}**  \n{problems.literal(gallery.subheading(image.payload))}")
    gallery.tiles("on_map_image", gallery.stored_cards(chosen.store, [image.id]), state.go_search_for)
    st.button(
        "Search for this image",
        type="primary",
        icon=":material/search:",
        on_click=state.go_search_for,
        args=(image.id,),
    )
    st.markdown("**Similar images**")
    cards = gallery.stored_cards(chosen.store, [hit.id for hit in hits], [f"{hit.score:.3f}" for hit in hits])
    gallery.tiles("on_map_neighbours", cards, state.go_search_for)

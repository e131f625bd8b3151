"""The map page: the collection as points of a plane, near each other where pictures are alike."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import streamlit as st

from cbir.errors import CbirError
from cbir.filters.conditions import values_of
from cbir.records import Payload, Vector, without_fraction
from cbir.search.projection import kept_map, pca, umap_installed, umap_map, umap_path
from cbir.settings import Settings

from ..components import gallery, problems
from ..components.plots import readable
from ..components.work import Work, show_progress
from ..query import address, cached, choice, state
from ..query.choice import BY_GENERATION, Chosen

MAX_POINTS = 10_000  # of twice as many a step of the zoom takes 0.3 s without a graphics card
NEIGHBOURS = 12
SHOWN_VALUES = 10
_REST, _NONE = "other values", "no value"
_HEIGHT = 560
_CHUNK = 1000

# Six colours that colour-blind people tell apart (Okabe and Ito, 2008), and then again with another shape.
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9")
_SHAPES = ("circle", "triangle-up")
_GREY = "#8f9794"


@dataclass(frozen=True)
class Cloud:
    """The points of the map.

    Attributes:
        ids: Their ids.
        places: Where PCA puts them, (n, 2).
        names: What people call them.
        fields: By field, the value of each as text, None for one without.
    """

    ids: list[str]
    places: Vector
    names: list[str]
    fields: dict[str, list[str | None]]


def draw(settings: Settings) -> None:
    """Draw the page for the session's state."""
    address.read(state.adopt)
    chosen = choice.in_sidebar(settings)
    if chosen is None:
        return
    cloud = _cloud(chosen)
    fields = [field for field in cached.fields(chosen) if field in cloud.fields]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        method = st.segmented_control(
            "Projection", ["PCA", "UMAP"], default="PCA", required=True, key="projection", bind="query-params"
        )
        field = st.selectbox("Colour by", fields, key="colour", bind="query-params", width=260) if fields else None
    places = _umap(chosen, cloud, settings) if method == "UMAP" else cloud.places
    shown, beside = st.columns([13, 7], gap="medium")
    with shown:
        _map(cloud, places, field, str((*chosen.key, method, field)))
        st.caption(_about(len(cloud.ids), chosen.info.count, places is not cloud.places))
    with beside:
        _clicked(chosen)


@st.cache_resource(max_entries=4, show_spinner="Drawing the map…", hash_funcs=BY_GENERATION)
def _cloud(chosen: Chosen) -> Cloud:
    ids = cached.sample(chosen, MAX_POINTS, 0)
    payloads: list[Payload] = [payload or {} for payload in chosen.store.payloads(ids)]
    texts: dict[str, str] = {}  # each text once, however many points have it
    fields: dict[str, list[str | None]] = {
        field: [_text(payload, field, texts) for payload in payloads] for field in cached.fields(chosen)
    }
    names = [gallery.heading(payload) if payload else "" for payload in payloads]
    return Cloud(ids, pca(_vectors(chosen, ids)), names, fields)


def _text(payload: Payload, field: str, texts: dict[str, str]) -> str | None:
    value = next(iter(values_of(payload, field)), None)
    if value is None:
        return None
    text = str(without_fraction(value))
    return texts.setdefault(text, text)


def _vectors(chosen: Chosen, ids: list[str]) -> Vector:
    """Return the vectors (n, D) of points; zeros for one that has just been deleted."""
    out = np.zeros((len(ids), chosen.info.model.dimension), np.float32)
    for start in range(0, len(ids), _CHUNK):
        for row, vector in enumerate(chosen.store.vectors(ids[start : start + _CHUNK]), start):
            if vector is not None:
                out[row] = vector
    return out


def _umap(chosen: Chosen, cloud: Cloud, settings: Settings) -> Vector:
    """Return where UMAP puts the points, or, until it is known, where PCA does."""
    path = umap_path(settings, chosen.info, cloud.ids)
    kept = kept_map(path, len(cloud.ids))
    if kept is not None:
        return kept
    if not umap_installed():
        st.info("UMAP is an extra; with it this map is kept once it was made:", icon=":material/extension:")
        st.code("pip install 'cbir[umap]'", language=None, wrap_lines=True)
        return cloud.places
    work = _started(str(path), chosen, cloud)
    if not work.done:
        show_progress(work, "UMAP takes a minute or two, once; until then this is the map by PCA.")
        return cloud.places
    try:
        return work.result()
    except CbirError as error:
        _started.clear(str(path))  # the next visit tries again
        problems.show(error)
        return cloud.places


@st.cache_resource(max_entries=4, show_spinner=False)
def _started(path: str, _chosen: Chosen, _cloud: Cloud) -> Work[Vector]:
    ids = _cloud.ids
    return Work(lambda _: umap_map(Path(path), len(ids), lambda: _vectors(_chosen, ids)))


def _map(cloud: Cloud, places: Vector, field: str | None, key: str) -> None:
    """Draw the map; a click on a point makes it the one that is shown beside the map."""
    import altair as alt
    import pyarrow as pa

    def clicked() -> None:
        points = st.session_state[key]["selection"]["chosen"]
        match points:  # what comes from a browser may be anything
            case [{"at": int(at)}, *_] if 0 <= at < len(cloud.ids):
                st.session_state["on_map"] = cloud.ids[at]
            case _:
                st.session_state["on_map"] = None

    values = cloud.fields[field] if field else [None] * len(cloud.ids)
    counts = Counter(value for value in values if value is not None)
    top = [value for value, _ in counts.most_common(SHOWN_VALUES)]
    groups = [_NONE if value is None else value if value in top else _REST for value in values]
    order = sorted(range(len(groups)), key=lambda row: groups[row] in top)  # the rest first, and so below
    table = pa.table(
        {
            "at": order,
            "x": places[order, 0],
            "y": places[order, 1],
            "group": [groups[row] for row in order],
            "value": [values[row] or "" for row in order],
            "name": [cloud.names[row] for row in order],
        }
    )
    domain = [*top, *(group for group in (_REST, _NONE) if group in groups)]
    grey = [_GREY] * (len(domain) - len(top))
    colours = [_COLOURS[index % len(_COLOURS)] for index in range(len(top))] + grey
    shapes = [_SHAPES[index // len(_COLOURS)] for index in range(len(top))] + [_SHAPES[0]] * len(grey)
    legend = alt.Legend(title=field, orient="bottom", columns=3, labelLimit=90, symbolOpacity=1) if field else None
    chosen = alt.selection_point(name="chosen", fields=["at"])
    zoom = alt.selection_interval(name="zoom", bind="scales")
    around = alt.Scale(zero=False)
    chart = (
        alt.Chart(table)
        .mark_point(filled=True, opacity=0.75)
        .encode(
            alt.X("x:Q", axis=None, scale=around),
            alt.Y("y:Q", axis=None, scale=around),
            alt.Color("group:N", scale=alt.Scale(domain=domain, range=colours), legend=legend),
            alt.Shape("group:N", scale=alt.Scale(domain=domain, range=shapes), legend=legend),
            size=alt.condition(chosen, alt.value(260), alt.value(22), empty=False),
            tooltip=[alt.Tooltip("name:N", title="name"), alt.Tooltip("value:N", title="value")],
        )
        .add_params(chosen, zoom)
        .properties(height=_HEIGHT)
    )
    st.altair_chart(
        readable(chart),
        key=key,
        on_select=clicked,
        selection_mode="chosen",
        alt=f"Map of {len(cloud.ids):,} pictures, which lie near each other where they are alike",
    )


def _about(shown: int, count: int, umap: bool) -> str:
    """Return what the map is of, and how it is used."""
    of = f"All {shown:,} pictures" if shown >= count else f"{shown:,} random pictures of {count:,}"
    how = "by UMAP, which keeps neighbours together" if umap else "in their first two principal components"
    return f"{of}, {how}. Scroll or pinch to zoom, drag to move, double-click for the whole; a click shows a picture."


def _clicked(chosen: Chosen) -> None:
    """Draw the image that was clicked on and those most similar to it."""
    point_id: str | None = st.session_state.get("on_map")
    image = chosen.collection.get(point_id) if point_id else None
    if image is None:
        st.info("Click on a point to see its picture and what is most similar to it.", icon=":material/ads_click:")
        return
    hits = chosen.collection.search(image, limit=NEIGHBOURS)
    picture, *pictures = chosen.store.thumbnails([image.id, *(hit.id for hit in hits)])
    name = gallery.heading(image.payload)
    st.markdown(f"**{problems.literal(name)}**  \n{problems.literal(gallery.subheading(image.payload))}")
    gallery.tiles("on_map_picture", [gallery.Card(image.id, image.payload, picture)], state.go_search_for)
    st.button(
        "Search for this picture",
        type="primary",
        icon=":material/search:",
        on_click=state.go_search_for,
        args=(image.id,),
    )
    st.markdown("**Most similar**")
    cards = [
        gallery.Card(hit.id, hit.payload, shown, score, f"{gallery.heading(hit.payload)}, {score}")
        for hit, shown in zip(hits, pictures, strict=True)
        for score in [f"{hit.score:.3f}"]
    ]
    gallery.tiles("on_map_neighbours", cards, state.go_search_for)

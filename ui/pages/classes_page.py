"""The classes page: how well each class is found again, what it is taken for, and the pictures that fail."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import streamlit as st

from cbir.errors import CbirError
from cbir.evaluation.class_report import QUERIES_A_CLASS, ClassReport, ClassResult, Judged, class_report
from cbir.filters.conditions import Value
from cbir.settings import Settings

from ..components import gallery
from ..components.plots import readable, theme
from ..components.work import Work, show_progress
from ..query import address, choice, state
from ..query.choice import BY_GENERATION, Chosen

SHOWN_CLASSES = 20
_OTHERS, _NONE = "other classes", "no label"
_FILL = "#0f766e"
_TEXT = {"light": "#1c2421", "dark": "#e6ebe9"}
_LEAST_LABELLED = 0.005
_CHOSEN = "class"


def draw(settings: Settings) -> None:
    """Draw the page for the session's state."""
    address.read(state.adopt)
    chosen = choice.in_sidebar(settings)
    if chosen is None:
        return
    work = _started(chosen)
    if not work.done:
        show_progress(work, f"Asking the store with up to {QUERIES_A_CLASS} pictures of each class…")
        return
    try:
        report = work.result()
    except CbirError:
        _started.clear(chosen)  # the next visit tries again
        raise
    if not report.classes:
        _how_to_label()
        return
    _summary(report)
    _table(report)
    st.subheader("Retrieved as", anchor=False)
    _matrix(report)
    _failing(chosen, report)
    if not chosen.info.generation and st.button("Measure again", type="tertiary", icon=":material/refresh:"):
        _started.clear(chosen)
        st.rerun()


@st.cache_resource(max_entries=16, show_spinner=False, hash_funcs=BY_GENERATION)
def _started(chosen: Chosen) -> Work[ClassReport]:
    store = chosen.store
    return Work(lambda advance: class_report(store, advance=advance))


def _how_to_label() -> None:
    st.info(
        "The pictures of this collection have no labels, so there are no classes to judge.", icon=":material/label:"
    )
    st.markdown("A folder's name is the label of the pictures in it, and a table has a column for it:")
    st.code("cbir-ingest ./photos\ncbir-ingest data.parquet --label COLUMN", language=None, wrap_lines=True)


def _summary(report: ClassReport) -> None:
    k, queries = report.k, sum(result.queries for result in report.classes)
    with st.container(horizontal=True):
        for name, value in (("Precision", report.precision), ("Hit rate", report.hit_rate), ("MRR", report.mrr)):
            st.metric(f"{name}@{k}", f"{value:.3f}", width="content")
    st.caption(
        f"Each class's own pictures ask the store, {queries:,} of them in all; a picture and its exact copies are left"
        f" out of its hits. **Precision@{k}**: the share of the {k} best hits with the query's label. **Hit"
        f" rate@{k}**: the share of queries with at least one. **MRR@{k}**: the mean of 1 / the rank of the first, 0"
        " where there is none. The means above weigh each class by its pictures."
    )


def _table(report: ClassReport) -> None:
    """Draw the classes as a table; a row that is selected is the class that is shown below."""
    k = report.k
    columns: dict[str, list[Any]] = {
        "Class": [_name(result.value) for result in report.classes],
        "Pictures": [result.points for result in report.classes],
        "Queries": [result.queries for result in report.classes],
        f"Precision@{k}": [result.precision for result in report.classes],
        f"Hit rate@{k}": [result.hit_rate for result in report.classes],
        f"MRR@{k}": [result.mrr for result in report.classes],
        "Most often taken for": [_mistake(result) for result in report.classes],
    }

    def selected() -> None:
        for row in st.session_state[key]["selection"]["rows"]:
            st.session_state[_CHOSEN] = columns["Class"][row]

    bar = st.column_config.ProgressColumn(format="%.3f", min_value=0, max_value=1)
    number = st.column_config.NumberColumn(format="localized")
    key = f"classes {st.session_state.setdefault('tables', 0)}"
    st.dataframe(
        columns,
        hide_index=True,
        key=key,
        on_select=selected,
        selection_mode="single-row",
        column_config={name: bar for name in columns if "@" in name} | {"Pictures": number, "Queries": number},
        alt="Each class with its number of pictures and how well it is found",
    )


def _matrix(report: ClassReport) -> None:
    """Draw which share of the hits of each class has which label, for the largest classes."""
    import altair as alt

    names = [_name(result.value) for result in report.classes[:SHOWN_CLASSES]]
    cells = [
        {"class": name, "retrieved": other, "share": share}
        for name, result in zip(names, report.classes, strict=False)
        for other, share in _among(result, names).items()
    ]
    others = [name for name in (*names, _OTHERS, _NONE) if any(cell["retrieved"] == name for cell in cells)]
    base = alt.Chart(alt.InlineData(values=cells)).encode(
        alt.X(
            "retrieved:N",
            sort=others,
            title="Label of the hits",
            axis=alt.Axis(labelAngle=-90, labelOverlap=False, orient="top"),
        ),
        alt.Y("class:N", sort=names, title="Class of the query"),
        tooltip=[
            alt.Tooltip("class:N", title="class"),
            alt.Tooltip("retrieved:N", title="retrieved as"),
            alt.Tooltip("share:Q", title="share of its hits", format=".1%"),
        ],
    )
    strength = alt.Opacity("share:Q", scale=alt.Scale(type="sqrt", domain=[0, 1], range=[0.02, 1]), legend=None)
    text = _TEXT[theme()]
    colour = alt.condition(alt.datum.share > 0.4, alt.value("white"), alt.value(text))
    labels = base.transform_filter(alt.datum.share >= _LEAST_LABELLED).mark_text(fontSize=11)
    chart = alt.layer(
        base.mark_rect(color=_FILL, cornerRadius=3).encode(opacity=strength),
        labels.encode(text=alt.Text("share:Q", format=".0%"), color=colour),
    ).properties(height=alt.Step(28))
    st.altair_chart(readable(chart), key="matrix", alt="Which share of the hits of each class has which label")


def _failing(chosen: Chosen, report: ClassReport) -> None:
    """Draw the failing queries of the class that is chosen; a click on one is the live search for it."""
    by_name = {_name(result.value): result for result in report.classes}
    names = sorted(by_name, key=lambda name: by_name[name].precision)

    def reset() -> None:
        st.session_state["tables"] += 1  # a new table, in which no row is selected

    st.subheader("Failing queries", anchor=False)
    name = st.selectbox("Class, the worst first", names, key=_CHOSEN, bind="query-params", on_change=reset, width=360)
    failing = by_name[name].failing
    if not failing:
        st.success("All hits of all its queries have its label.", icon=":material/check:")
        return
    st.caption(
        f"Queries with a hit of another class, the worst first: what they were taken for, and how many of the"
        f" {report.k} hits are right. Choose one to see its hits."
    )
    ids = [query.id for query in failing]
    pictures, payloads = chosen.store.thumbnails(ids), chosen.store.payloads(ids)
    cards = []
    for query, picture, payload in zip(failing, pictures, payloads, strict=True):
        if payload is not None:
            caption = _mistaken(query, by_name[name].value, report.k)
            alt = f"{gallery.heading(payload)}, taken for {caption} right"
            cards.append(gallery.Card(query.id, payload, picture, caption, alt))
    gallery.tiles("failing", cards, state.go_search_for)


def _among(result: ClassResult, names: Sequence[str]) -> dict[str, float]:
    """Return the shares of a class's hits by label, those that are not shown put together."""
    shares: dict[str, float] = {}
    for value, share in result.retrieved.items():
        name = _name(value) if value is None or _name(value) in names else _OTHERS
        shares[name] = shares.get(name, 0) + share
    return shares


def _mistake(result: ClassResult) -> str:
    """Return the other class that most hits of a class have, and their share."""
    found = [(value, share) for value, share in result.retrieved.items() if value != result.value]
    return f"{_name(found[0][0])} ({found[0][1]:.1%})" if found else ""


def _mistaken(query: Judged, value: Value, k: int) -> str:
    """Return what a failing query of a class was taken for: the other label that most of its hits have."""
    others = Counter(hit for hit in query.taken_for if hit != value)
    return f"{_name(others.most_common(1)[0][0]) if others else 'no hits'} · {round(query.precision * k)} of {k}"


def _name(value: Value) -> str:
    return _NONE if value is None else str(value)

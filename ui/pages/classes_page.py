"""The classes page: retrieval metrics and confusions of each class, and the queries that fail."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import streamlit as st

from cbir.errors import CbirError
from cbir.evaluation.class_report import QUERIES_PER_CLASS, ClassReport, ClassResult, Judged, class_report
from cbir.filters.conditions import Value
from cbir.settings import Settings

from ..components import gallery
from ..components.plots import readable, theme
from ..components.work import Work, show_progress
from ..query import address, choice, state
from ..query.choice import BY_GENERATION, Chosen

MAX_CLASSES = 20
_OTHERS, _NONE = "other classes", "no label"
_FILL = "#0f766e"
_TEXT = {"light": "#1c2421", "dark": "#e6ebe9"}
_MIN_LABELLED = 0.005
_SELECTED = "class"


def draw(settings: Settings) -> None:
    """Draw the page for the session's state."""
    address.read(state.adopt)
    chosen = choice.in_sidebar(settings)
    if chosen is None:
        return
    work = _started(chosen)
    if not work.done():
        show_progress(work, f"Searching with up to {QUERIES_PER_CLASS} images of each class…")
        return
    try:
        report = work.result()
    except CbirError:
        _started.clear(chosen)  # the next visit tries again
        raise
    if not report.classes:
        st.info("The images of this collection have no labels, so there are no classes.", icon=":material/label:")
        st.markdown("Images in a folder get its name as their label. For a table, name the column with the label:")
        st.code("cbir-ingest ./photos\ncbir-ingest data.parquet --label COLUMN", language=None, wrap_lines=True)
        return
    _summary(report)
    _table(report)
    st.subheader("Confusion matrix", anchor=False)
    _matrix(report)
    _failing(chosen, report)
    if not chosen.info.generation and st.button("Measure again", type="tertiary", icon=":material/refresh:"):
        _started.clear(chosen)
        st.rerun()


@st.cache_resource(max_entries=16, show_spinner=False, hash_funcs=BY_GENERATION)
def _started(chosen: Chosen) -> Work[ClassReport]:
    store = chosen.store
    return Work(lambda on_progress: class_report(store, on_progress=on_progress))


def _summary(report: ClassReport) -> None:
    k, queries = report.k, sum(result.queries for result in report.classes)
    with st.container(horizontal=True):
        for name, value in (("Precision", report.precision), ("Hit rate", report.hit_rate), ("MRR", report.mrr)):
            st.metric(f"{name}@{k}", f"{value:.3f}", width="content")
    st.caption(
        f"The collection was searched with {queries:,} of its own images; an image and its exact copies are left out of"
        f" its hits. **Precision@{k}**: the share of the {k} best hits with the query's label. **Hit rate@{k}**: the"
        f" share of queries with at least one such hit. **MRR@{k}**: the mean of 1 / the rank of the first such hit, 0"
        " without one. These means weight each class by its number of images."
    )


def _table(report: ClassReport) -> None:
    """Draw the classes as a table; selecting a row selects the class that is shown below."""
    k = report.k
    columns: dict[str, list[Any]] = {
        "Class": [_name(result.value) for result in report.classes],
        "Images": [result.points for result in report.classes],
        "Queries": [result.queries for result in report.classes],
        f"Precision@{k}": [result.precision for result in report.classes],
        f"Hit rate@{k}": [result.hit_rate for result in report.classes],
        f"MRR@{k}": [result.mrr for result in report.classes],
        "Most confused with": [_confusion(result) for result in report.classes],
    }

    def selected() -> None:
        for row in st.session_state[key]["selection"]["rows"]:
            st.session_state[_SELECTED] = columns["Class"][row]

    bar = st.column_config.ProgressColumn(format="%.3f", min_value=0, max_value=1)
    number = st.column_config.NumberColumn(format="localized")
    key = f"classes {st.session_state.setdefault('tables', 0)}"
    st.dataframe(
        columns,
        hide_index=True,
        key=key,
        on_select=selected,
        selection_mode="single-row",
        column_config={name: bar for name in columns if "@" in name} | {"Images": number, "Queries": number},
        alt="The number of images and the metrics of each class",
    )


def _matrix(report: ClassReport) -> None:
    """Draw the share of each label among the hits of each class, for the largest classes."""
    import altair as alt

    names = [_name(result.value) for result in report.classes[:MAX_CLASSES]]
    cells = [
        {"class": name, "retrieved": other, "share": share}
        for name, result in zip(names, report.classes, strict=False)
        for other, share in _shares(result, names).items()
    ]
    others = [name for name in (*names, _OTHERS, _NONE) if any(cell["retrieved"] == name for cell in cells)]
    axis = alt.Axis(labelAngle=-90, labelOverlap=False, orient="top")
    base = alt.Chart(alt.InlineData(values=cells)).encode(
        alt.X("retrieved:N", sort=others, title="Label of the hits", axis=axis),
        alt.Y("class:N", sort=names, title="Class of the query"),
        tooltip=[
            alt.Tooltip("class:N", title="class of the query"),
            alt.Tooltip("retrieved:N", title="label of the hits"),
            alt.Tooltip("share:Q", title="share of its hits", format=".1%"),
        ],
    )
    opacity = alt.Opacity("share:Q", scale=alt.Scale(type="sqrt", domain=[0, 1], range=[0.02, 1]), legend=None)
    colour = alt.condition(alt.datum.share > 0.4, alt.value("white"), alt.value(_TEXT[theme()]))
    labels = base.transform_filter(alt.datum.share >= _MIN_LABELLED).mark_text(fontSize=11)
    chart = alt.layer(
        base.mark_rect(color=_FILL, cornerRadius=3).encode(opacity=opacity),
        labels.encode(text=alt.Text("share:Q", format=".0%"), color=colour),
    ).properties(height=alt.Step(28))
    st.altair_chart(readable(chart), key="matrix", alt="The share of each label among the hits of each class")


def _failing(chosen: Chosen, report: ClassReport) -> None:
    """Draw the failing queries of the selected class; a click on one searches for it."""
    by_name = {_name(result.value): result for result in report.classes}
    names = sorted(by_name, key=lambda name: by_name[name].precision)

    def reset() -> None:
        st.session_state["tables"] += 1  # a new table, in which no row is selected

    st.subheader("Failing queries", anchor=False)
    label = "Class, lowest precision first"
    name = st.selectbox(label, names, key=_SELECTED, bind="query-params", on_change=reset, width=360)
    failing = by_name[name].failing
    if not failing:
        st.success("All hits of all its queries have its label.", icon=":material/check:")
        return
    st.caption(
        "Queries with hits of other classes, lowest precision first. Each shows the most frequent wrong label and the"
        f" number of correct hits among {report.k}. Choose one to see its hits."
    )
    captions = [_wrong_label(query, by_name[name].value, report.k) for query in failing]
    cards = gallery.stored_cards(chosen.store, [query.id for query in failing], captions)
    gallery.tiles("failing", cards, state.go_search_for)


def _shares(result: ClassResult, names: Sequence[str]) -> dict[str, float]:
    """Return the shares of a class's hits by label, with the labels outside of `names` merged."""
    shares: dict[str, float] = {}
    for value, share in result.retrieved.items():
        name = _name(value) if value is None or _name(value) in names else _OTHERS
        shares[name] = shares.get(name, 0) + share
    return shares


def _confusion(result: ClassResult) -> str:
    """Return the most frequent wrong label of a class's hits, and its share."""
    wrong = [(value, share) for value, share in result.retrieved.items() if value != result.value]
    return f"{_name(wrong[0][0])} ({wrong[0][1]:.1%})" if wrong else ""


def _wrong_label(query: Judged, value: Value, k: int) -> str:
    """Return the most frequent wrong label of a query's hits, and the number of correct hits."""
    wrong = Counter(hit for hit in query.taken_for if hit != value)
    return f"{_name(wrong.most_common(1)[0][0]) if wrong else 'no hits'} · {round(query.precision * k)} of {k}"


def _name(value: Value) -> str:
    return _NONE if value is None else str(value)

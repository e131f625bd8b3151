"""The search page: ask with pictures, see what is similar, go on from there."""

from dataclasses import dataclass, replace
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from cbir.filters.conditions import Filter
from cbir.search.score_calibration import Background
from cbir.search.searcher import Answer, Searcher
from cbir.settings import Settings
from cbir.stores.base import StoreInfo

from ..components import address, cached, choice, filter_panel, hit_table, parts, problems, results
from ..query import ask, state
from ..query.resolved import Resolved, heading, resolve, timed, vectors

PAGE = 24
MAX_K = 240
GROUPS = 12
GROUP_SIZE = 6


@dataclass(frozen=True)
class Wanted:
    """How to search, as the sidebar says."""

    where: Filter
    similarity: float
    least: float | None
    diversity: float
    group: str
    fold: bool
    exact: bool


def draw(settings: Settings) -> None:
    """Draw the page for the session's state."""
    address.read(_adopt)
    with st.sidebar:
        searcher = choice.choose(settings)
        if searcher is not None:
            wanted = _wanted(searcher)
            info = searcher.store.info
            choice.facts(info)
    if searcher is None:
        choice.how_to_fill(st.session_state["store"])
        return
    asked, gone = resolve(state.current(), searcher, settings)
    if gone:
        state.keep([(one.sign, one.example) for one in asked])
        for problem in gone:
            state.refuse(problem)
    card, bring = st.columns([11, 9], gap="medium", vertical_alignment="center")
    with bring:
        ask.bring(settings, bool(asked))
    for problem in state.problems():
        st.error(problems.literal(problem), icon=":material/error:")
    if any(one.sign == "like" for one in asked):
        _answer(card, searcher, info, asked, wanted)
    else:
        with card:
            hint = "Bring pictures of your own, or choose one of those below."
            if asked:
                hint = "Choose at least one picture that hits are to be like."
            _card(asked, "What are you looking for?", hint, [], {})
        ask.examples(searcher)
    shown = st.session_state.get("shown")
    address.write(
        state.to_address(state.current())
        | filter_panel.parameters(cached.fields(searcher))
        | {"shown": [str(shown)] if shown else []}
    )


def _adopt(parameters: address.Parameters) -> None:
    state.adopt(parameters)
    filter_panel.adopt(parameters)
    for text in parameters.get("shown", ()):
        if text.isdecimal() and len(text) <= 4:
            st.session_state["shown"] = min(MAX_K, max(PAGE, int(text)))


def _wanted(searcher: Searcher) -> Wanted:
    """Draw how to search, and return it."""
    groups = [field for field, kind in cached.fields(searcher).items() if kind == "text"]
    with st.expander("Result", icon=":material/tune:", expanded=True):
        similarity = st.select_slider(
            "Similarity",
            list(results.SIMILARITIES),
            key="similarity",
            bind="query-params",
            on_change=address.touched,
            help="Only hits that are more alike than most pairs of this collection: it means the same for every model.",
        )
        least = st.number_input(
            "Lowest score",
            -1.0,
            1.0,
            None,
            0.05,
            key="least",
            bind="query-params",
            on_change=address.touched,
            placeholder="any",
        )
        group = st.selectbox(
            "Group by",
            ["", *groups],
            key="group",
            bind="query-params",
            on_change=address.touched,
            format_func=lambda one: one or "nothing",
        )
        diversity = st.slider(
            "Variety",
            0.0,
            1.0,
            0.0,
            0.1,
            key="diversity",
            bind="query-params",
            on_change=address.touched,
            disabled=bool(group),
        )
        fold = st.toggle("Fold near-duplicates", key="fold", bind="query-params", on_change=address.touched)
        exact = st.toggle(
            "Scan everything",
            key="exact",
            bind="query-params",
            on_change=address.touched,
            help="Compare with every picture: exact, and slower.",
        )
    with st.expander("Filter", icon=":material/filter_alt:", expanded=True):
        where = filter_panel.draw(searcher)
    return Wanted(where, results.SIMILARITIES[similarity], least, 0.0 if group else diversity, group, fold, exact)


def _answer(card: DeltaGenerator, searcher: Searcher, info: StoreInfo, asked: list[Resolved], wanted: Wanted) -> None:
    """Search, and draw the query's card and what was found."""
    scale = cached.background(searcher)
    k = st.session_state.get("shown") or PAGE
    answer = search(searcher, asked, wanted, k, scale.score_at(wanted.similarity) if wanted.similarity else None)
    copies = {
        parts.heading(hit.payload): one.shown.title
        for one in asked
        if one.embedded and one.sha256
        for hit in searcher.copies(one.sha256, one.embedded, answer.hits)
    }
    notes = [f"Exact copy found: {copy}" for copy in copies]
    with card:
        title, line = heading(asked)
        _card(asked, title, line, notes, answer.milliseconds)
    shown = results.sections(searcher, answer, scale, k, wanted.fold, {one.sha256 for one in asked if one.sha256})
    count = sum(len(section.cards) for section in shown)
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown(f"**{_headline(count, wanted)}**", width="content")
        _downloads(info, replace(answer, hits=[card.hit for section in shown for card in section.cards]), wanted)
    how = results.how_searched(info, wanted.exact, bool(wanted.where))
    only = f" Only {problems.literal(filter_panel.told(wanted.where))}." if wanted.where else ""
    st.caption(how + only)
    if not count:
        _nearest(searcher, asked, wanted, scale)
    parts.gallery("gallery", shown, state.act)
    if not wanted.group and count >= k and k < MAX_K:
        st.button("Show more", icon=":material/expand_more:", on_click=_show_more, width="stretch")


def search(searcher: Searcher, asked: list[Resolved], wanted: Wanted, k: int, least: float | None) -> Answer:
    """Return the answer to a query, the time of its own stages included.

    Raises:
        CbirError: The store failed.
    """
    bounds = [bound for bound in (least, wanted.least) if bound is not None]
    how: dict[str, Any] = {"exact": wanted.exact, "where": wanted.where, "min_score": max(bounds) if bounds else None}
    if wanted.group:
        answer = searcher.by_groups(*vectors(asked), wanted.group, GROUPS, GROUP_SIZE, **how)
    else:
        answer = searcher.by_examples(*vectors(asked), 2 * k if wanted.fold else k, wanted.diversity, **how)
    return timed(answer, asked)


def _card(asked: list[Resolved], title: str, line: str, notes: list[str], times: dict[str, float]) -> None:
    parts.query_card([one.shown for one in asked], title, line, notes, times, state.change)


def _headline(count: int, wanted: Wanted) -> str:
    if not count:
        return "Nothing is that similar" if wanted.similarity or wanted.least is not None else "Nothing was found"
    if wanted.group:
        return "The most similar of each group"
    if wanted.diversity:
        return f"{count} similar and unlike each other"
    return f"The {count} most similar" if count > 1 else "The most similar"


def _nearest(searcher: Searcher, asked: list[Resolved], wanted: Wanted, scale: Background) -> None:
    """Draw how similar the best there is would be, where nothing is similar enough."""
    best = search(searcher, asked, replace(wanted, least=None, group="", fold=False), 1, None).hits
    if best:
        share = results.share(scale.percentile(best[0].score))
        st.info(f"The best there is has a score of {best[0].score:.3f} ({share}). Lower the similarity or the score.")
    else:
        st.info("The filter leaves nothing that could be found.")


def _downloads(info: StoreInfo, answer: Answer, wanted: Wanted) -> None:
    access = "scan" if wanted.exact else info.access
    with st.container(horizontal=True, width="content"):
        for name, text, kind in (
            ("CSV", hit_table.as_csv(answer.hits), "text/csv"),
            ("JSON", hit_table.as_json(answer, info, access), "application/json"),
        ):
            file = f"hits.{name.lower()}"
            st.download_button(name, text, file, kind, on_click="ignore", type="tertiary", icon=":material/download:")


def _show_more() -> None:
    address.touched()
    st.session_state["shown"] = min(MAX_K, (st.session_state.get("shown") or PAGE) + PAGE)

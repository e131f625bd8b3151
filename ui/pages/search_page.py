"""The search page: search by images, see what is similar, go on from there."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from cbir.collection import Collection
from cbir.filters.conditions import Filter
from cbir.results import Hit, Hits
from cbir.search.score_calibration import ScoreCalibration
from cbir.settings import Settings
from cbir.stores.base import StoreInfo

from ..components import gallery, hit_table, problems, store_facts
from ..query import address, cached, choice, filter_panel, image_input, images, query_card, state
from ..query.choice import Chosen
from ..query.images import ReadyExample

PAGE = 24
MAX_SHOWN = 240
GROUPS = 12
GROUP_SIZE = 6
NEAREST = 10
SIMILARITIES = {
    "any": 0.0,
    "top 50 %": 0.5,
    "top 10 %": 0.9,
    "top 1 %": 0.99,
    "top 0.1 %": 0.999,
    "top 0.01 %": 0.9999,
}
"""The steps of the slider: the share of all pairs of the collection that are less alike."""


@dataclass(frozen=True)
class SearchOptions:
    """How to search, as the sidebar says."""

    filter: Filter
    similarity: float
    min_score: float | None
    diversity: float
    group_by: str
    fold: bool
    exact: bool


def draw(settings: Settings) -> None:
    """Draw the page for the session's state."""
    address.read(_adopt)
    with st.sidebar:
        chosen = choice.choose(settings)
        if chosen is not None:
            options = _options(chosen)
            store_facts.facts(chosen.info)
    if chosen is None:
        store_facts.how_to_fill(st.session_state["store"])
        return
    examples, unusable = images.make_ready(state.current(), chosen)
    if unusable:
        state.keep([(example.sign, example.example) for example in examples])
        for problem in unusable:
            state.add_problem(problem)
    card, ways = st.columns([11, 9], gap="medium", vertical_alignment="center")
    with ways:
        image_input.draw(chosen, bool(examples))
    for problem in state.problems():
        st.error(problems.literal(problem), icon=":material/error:")
    if any(example.sign == "like" for example in examples):
        _result(card, chosen, examples, options)
    else:
        with card:
            hint = "Bring pictures of your own, or choose one of those below."
            if examples:
                hint = "Choose at least one picture that hits are to be like."
            query_card.draw(examples, "What are you looking for?", hint)
        image_input.samples(chosen)
    shown = st.session_state.get("shown")
    address.write(
        state.to_address(state.current())
        | filter_panel.parameters(cached.fields(chosen))
        | {"shown": [str(shown)] if shown else []}
    )


def _adopt(parameters: address.Parameters) -> None:
    state.adopt(parameters)
    filter_panel.adopt(parameters)
    for text in parameters.get("shown", ()):
        if text.isdecimal() and len(text) <= 4:
            st.session_state["shown"] = min(MAX_SHOWN, max(PAGE, int(text)))


def _options(chosen: Chosen) -> SearchOptions:
    """Draw how to search, and return it."""
    groups = [field for field, kind in cached.fields(chosen).items() if kind == "text"]
    with st.expander("Result", icon=":material/tune:", expanded=True):
        similarity = st.select_slider(
            "Similarity",
            list(SIMILARITIES),
            key="similarity",
            bind="query-params",
            on_change=address.touched,
            help="Only hits that are more alike than most pairs of this collection: it means the same for every model.",
        )
        min_score = st.number_input(
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
            format_func=lambda field: field or "nothing",
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
        filter = filter_panel.draw(chosen)
    diversity = 0.0 if group else diversity
    return SearchOptions(filter, SIMILARITIES[similarity], min_score, diversity, group, fold, exact)


def _result(card: DeltaGenerator, chosen: Chosen, examples: Sequence[ReadyExample], options: SearchOptions) -> None:
    """Search, and draw the query's card and what was found."""
    calibration = cached.score_calibration(chosen)
    limit = st.session_state.get("shown") or PAGE
    min_score = calibration.score_at(options.similarity) if options.similarity else None
    hits = _search(chosen, examples, options, limit, min_score)
    copies = [copy for example in examples for copy in exact_copies(chosen.collection, example, hits)]
    notes = [f"Exact copy found: {name}" for name in dict.fromkeys(gallery.heading(copy.payload) for copy in copies)]
    with card:
        query_card.draw(examples, *query_card.heading(examples), notes, hits.milliseconds)
    copied = {example.sha256 for example in examples if example.sha256}
    shown = gallery.sections(chosen.store, hits, calibration, limit, options.fold, copied)
    first = {hit.id: hit for hit in hits}
    listed = [first[card.id] for _, cards in shown for card in cards]
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown(f"**{_headline(len(listed), options)}**", width="content")
        _downloads(chosen.info, Hits(listed, milliseconds=hits.milliseconds), options)
    only = f" Only {problems.literal(filter_panel.in_words(options.filter))}." if options.filter else ""
    st.caption(store_facts.how_searched(chosen.info, options.exact, bool(options.filter)) + only)
    if not listed:
        _nearest(chosen, examples, options, calibration)
    gallery.gallery("gallery", shown, state.act)
    if not options.group_by and len(listed) >= limit and limit < MAX_SHOWN:
        st.button("Show more", icon=":material/expand_more:", on_click=_show_more, width="stretch")


def _search(
    chosen: Chosen, examples: Sequence[ReadyExample], options: SearchOptions, limit: int, min_score: float | None
) -> Hits:
    """Return what is found, with the time of all stages."""
    bounds = [bound for bound in (min_score, options.min_score) if bound is not None]
    hits = chosen.collection.search(
        like=images.vectors(examples, "like"),
        unlike=images.vectors(examples, "unlike"),
        limit=GROUPS if options.group_by else 2 * limit if options.fold else limit,
        filter=options.filter,
        min_score=max(bounds) if bounds else None,
        diversity=options.diversity,
        group_by=options.group_by,
        group_size=GROUP_SIZE,
        exact=options.exact,
    )
    return images.with_times(hits, examples)


def exact_copies(collection: Collection, example: ReadyExample, hits: Sequence[Hit]) -> list[Hit]:
    """Return the stored images with the very bytes of an uploaded one: of the hits, or else of the nearest of all."""
    if isinstance(example.vector, str) or not example.sha256:
        return []
    same = [hit for hit in hits if hit.payload.get("sha256") == example.sha256]
    nearest = [] if same else collection.search(like=[example.vector], limit=NEAREST)
    return same or [hit for hit in nearest if hit.payload.get("sha256") == example.sha256]


def _headline(count: int, options: SearchOptions) -> str:
    if not count:
        return "Nothing is that similar" if options.similarity or options.min_score is not None else "Nothing was found"
    if options.group_by:
        return "The most similar of each group"
    if options.diversity:
        return f"{count} similar and unlike each other"
    return f"The {count} most similar" if count > 1 else "The most similar"


def _nearest(
    chosen: Chosen, examples: Sequence[ReadyExample], options: SearchOptions, calibration: ScoreCalibration
) -> None:
    """Draw how similar the best hit would be, where none is similar enough."""
    best = _search(chosen, examples, replace(options, min_score=None, group_by="", fold=False), 1, None)
    if best:
        share = gallery.share(calibration.percentile(best[0].score))
        st.info(f"The best there is has a score of {best[0].score:.3f} ({share}). Lower the similarity or the score.")
    else:
        st.info("The filter leaves nothing that could be found.")


def _downloads(info: StoreInfo, hits: Hits, options: SearchOptions) -> None:
    access = "scan" if options.exact else info.access
    with st.container(horizontal=True, width="content"):
        for name, text, kind in (
            ("CSV", hit_table.as_csv(hits), "text/csv"),
            ("JSON", hit_table.as_json(hits, info, access), "application/json"),
        ):
            file = f"hits.{name.lower()}"
            st.download_button(name, text, file, kind, on_click="ignore", type="tertiary", icon=":material/download:")


def _show_more() -> None:
    address.touched()
    st.session_state["shown"] = min(MAX_SHOWN, (st.session_state.get("shown") or PAGE) + PAGE)

"""The search page: search by text and images, look at the hits, and continue from there."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from cbir.collection import Collection
from cbir.filters.conditions import Filter
from cbir.results import Hit, HitGroup, Hits
from cbir.search.score_calibration import ScoreCalibration
from cbir.settings import Settings
from cbir.stores.base import StoreInfo

from ..components import gallery, hit_table, problems, store_facts
from ..query import address, choice, filter_panel, image_input, images, query_card, state
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
"""The steps of the slider, and the percentile of a score that each requires."""


@dataclass(frozen=True)
class SearchOptions:
    """The options of the sidebar."""

    filter: Filter
    min_score: float | None
    diversity: float
    group_by: str
    fold: bool
    exact: bool


def draw(settings: Settings) -> None:
    """Draw the page for the session's state."""
    address.read(_adopt)
    chosen = choice.in_sidebar(settings)
    if chosen is None:
        return
    examples, unusable = images.make_ready(state.current(), chosen)
    with st.sidebar:
        options = _options(chosen, examples)
    if unusable:
        st.session_state["query"] = tuple(ready.example for ready in examples)
        state.problems().extend(unusable)
    card, upload = st.columns([11, 9], gap="medium", vertical_alignment="center")
    with upload:
        image_input.draw(chosen, bool(examples))
    for problem in state.problems():
        st.error(problems.literal(problem), icon=":material/error:")
    if images.vectors(examples, "like"):
        _result(card, chosen, examples, options)
    else:
        with card:
            hint = "Enter a text, upload images, or choose one of those below."
            if examples:
                hint = "Add at least one image or text that hits should be like."
            query_card.draw(examples, "Search by text or image", hint)
        image_input.samples(chosen)
    shown = st.session_state.get("shown")
    address.write(
        state.to_address(state.current())
        | filter_panel.parameters(choice.fields(chosen))
        | {"shown": [str(shown)] if shown else []}
    )


def _adopt(parameters: address.Parameters) -> None:
    state.adopt(parameters)
    filter_panel.adopt(parameters)
    for text in parameters.get("shown", ()):
        if text.isdecimal() and len(text) <= 4:
            st.session_state["shown"] = min(MAX_SHOWN, max(PAGE, int(text)))


def _options(chosen: Chosen, examples: Sequence[ReadyExample]) -> SearchOptions:
    bound = address.BOUND
    text_fields = [field for field, kind in choice.fields(chosen).items() if kind == "text"]
    with st.expander("Options", icon=":material/tune:", expanded=True):
        similarity = st.select_slider(
            "Similarity",
            list(SIMILARITIES),
            key="similarity",
            help="Keep hits that are among the most similar of all pairs of images in this collection. Unlike a score,"
            " this means the same for every model.",
            **bound,
        )
        min_score = st.number_input("Minimum score", -1.0, 1.0, None, 0.05, key="min_score", placeholder="any", **bound)
        group_by = st.selectbox(
            "Group by", ["", *text_fields], key="group_by", format_func=lambda field: field or "None", **bound
        )
        diversity = st.slider("Diversity", 0.0, 1.0, 0.0, 0.1, key="diversity", disabled=bool(group_by), **bound)
        fold = st.toggle("Fold near-duplicates", key="fold", **bound)
        exact = st.toggle("Exact search", key="exact", help="Compare with every image: exact, but slower.", **bound)
    with st.expander("Filters", icon=":material/filter_alt:", expanded=True):
        filter = filter_panel.draw(chosen)
    diversity = 0.0 if group_by else diversity
    if SIMILARITIES[similarity]:
        required = images.calibration(chosen, examples).score_at(SIMILARITIES[similarity])
        min_score = required if min_score is None else max(required, min_score)
    return SearchOptions(filter, min_score, diversity, group_by, fold, exact)


def _result(card: DeltaGenerator, chosen: Chosen, examples: Sequence[ReadyExample], options: SearchOptions) -> None:
    calibration = images.calibration(chosen, examples)
    limit = st.session_state.get("shown") or PAGE
    hits = _search(chosen, examples, options, limit)
    copies = [copy for example in examples for copy in exact_copies(chosen.collection, example, hits)]
    notes = [f"Exact copy found: {name}" for name in dict.fromkeys(gallery.heading(copy.payload) for copy in copies)]
    with card:
        query_card.draw(examples, *query_card.heading(examples), notes, hits.milliseconds)
    copied = {example.sha256 for example in examples if example.sha256}
    sections = gallery.sections(chosen.store, hits, calibration, limit, options.fold, copied)
    by_id = {hit.id: hit for hit in hits}
    shown = [[by_id[card.id] for card in cards] for _, cards in sections]
    groups = [HitGroup(group.value, some) for group, some in zip(hits.groups, shown, strict=False)]
    listed = Hits([hit for some in shown for hit in some], groups, hits.milliseconds)
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown(f"**{_headline(len(listed), options)}**", width="content")
        if listed:
            _downloads(chosen.info, listed, options)
    only = f" Only {problems.literal(filter_panel.in_words(options.filter))}." if options.filter else ""
    st.caption(store_facts.how_searched(chosen.info, options.exact, bool(options.filter)) + only)
    if not listed:
        _why_none(chosen, examples, options, calibration)
    gallery.gallery("gallery", sections, state.act)
    if not options.group_by and len(hits) >= _requested(options, limit) and limit < MAX_SHOWN:
        st.button("Show more", icon=":material/expand_more:", on_click=_show_more, width="stretch")


def _search(chosen: Chosen, examples: Sequence[ReadyExample], options: SearchOptions, limit: int) -> Hits:
    """Return the hits, with the time of all stages."""
    hits = chosen.collection.search(
        like=images.vectors(examples, "like"),
        unlike=images.vectors(examples, "unlike"),
        limit=_requested(options, limit),
        filter=options.filter,
        min_score=options.min_score,
        diversity=options.diversity,
        group_by=options.group_by,
        group_size=GROUP_SIZE,
        exact=options.exact,
    )
    return images.with_times(hits, examples)


def _requested(options: SearchOptions, limit: int) -> int:
    """Return the number of groups, or of hits, that a search asks for: some of them may be folded into others."""
    return GROUPS if options.group_by else 2 * limit if options.fold else limit


def exact_copies(collection: Collection, example: ReadyExample, hits: Sequence[Hit]) -> list[Hit]:
    """Return the stored images with the same bytes as an uploaded one, among the hits or else the nearest of all."""
    if isinstance(example.vector, str) or not example.sha256:
        return []
    same = [hit for hit in hits if hit.payload.get("sha256") == example.sha256]
    nearest = [] if same else collection.search(like=[example.vector], limit=NEAREST)
    return same or [hit for hit in nearest if hit.payload.get("sha256") == example.sha256]


def _headline(count: int, options: SearchOptions) -> str:
    if not count:
        return "No similar images found"
    if options.group_by:
        return "Similar images of each group"
    images = "similar image" if count == 1 else "similar images"
    return f"{count} {'diverse ' if options.diversity else ''}{images}"


def _why_none(
    chosen: Chosen, examples: Sequence[ReadyExample], options: SearchOptions, calibration: ScoreCalibration
) -> None:
    """Draw why there are no hits: the score of the best, no value to group by, or the filters."""
    best = _search(chosen, examples, replace(options, min_score=None, group_by="", fold=False), 1)
    if best and (options.min_score is None or best[0].score >= options.min_score):
        st.info(f"No image that was found has the field {problems.literal(options.group_by)}. Group by another one.")
    elif best:
        share = gallery.share(calibration.percentile(best[0].score))
        st.info(f"The best hit has a score of {best[0].score:.3f} ({share}). Lower the similarity or minimum score.")
    else:
        st.info("No image passes the filters. Change or clear them.")


def _downloads(info: StoreInfo, hits: Hits, options: SearchOptions) -> None:
    access = "scan" if options.exact else info.access
    with st.container(horizontal=True, width="content"):
        for name, text, kind in (
            ("CSV", hit_table.as_csv(hits), "text/csv"),
            ("JSON", hit_table.as_json(hits, info, access), "application/json"),
        ):
            file, icon = f"hits.{name.lower()}", ":material/download:"
            st.download_button(f"Download {name}", text, file, kind, on_click="ignore", type="tertiary", icon=icon)


def _show_more() -> None:
    address.touched()
    st.session_state["shown"] = min(MAX_SHOWN, (st.session_state.get("shown") or PAGE) + PAGE)

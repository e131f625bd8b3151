"""Two stores, or two models, side by side: one query, what both find, what only one finds, and how long each took."""

from collections.abc import Sequence

import streamlit as st

from cbir.records import Hit
from cbir.search.searcher import Answer, Searcher
from cbir.settings import Settings
from cbir.stores.base import StoreInfo

from ..components import address, cached, choice, parts, problems, results
from ..query import ask, state
from ..query.resolved import Resolved, heading, resolve, timed, vectors

K = 12


def draw(settings: Settings) -> None:
    """Draw the page for the session's state."""
    address.read(state.adopt)
    searchers: list[Searcher | None] = []
    with st.sidebar:
        for title, suffix in (("First", ""), ("Second", "2")):
            st.markdown(f"**{title}**")
            searchers.append(choice.choose(settings, suffix))
        k = st.slider("Pictures to find", 4, 48, K, 4, key="compared", bind="query-params", on_change=address.touched)
        exact = st.toggle("Scan everything", key="exact", bind="query-params", on_change=address.touched)
    for searcher, key in zip(searchers, ("store", "store2"), strict=True):
        if searcher is None:
            choice.how_to_fill(st.session_state[key])
            return
    sides = [searcher for searcher in searchers if searcher is not None]
    asked = state.current()
    resolved = [resolve(asked, searcher, settings) for searcher in sides]
    for problem in dict.fromkeys([*state.problems(), *(why for _, gone in resolved for why in gone)]):
        st.error(problems.literal(problem), icon=":material/error:")
    if all(any(one.sign == "like" for one in found) for found, _ in resolved):
        answers = [
            timed(searcher.by_examples(*vectors(found), k, exact=exact), found)
            for searcher, (found, _) in zip(sides, resolved, strict=True)
        ]
        _show(sides, [found for found, _ in resolved], answers, exact)
    else:
        st.markdown("Choose a picture, here or on the search page, and see what each of the two finds.")
        ask.bring(settings, asked=False)
        ask.examples(sides[0])
    address.write(state.to_address(state.current()))


def _show(sides: Sequence[Searcher], asked: Sequence[list[Resolved]], answers: Sequence[Answer], exact: bool) -> None:
    title, line = heading(asked[0])
    parts.query_card([one.shown for one in asked[0]], title, line, [_agreement(answers)], {}, state.change)
    st.button("Start again", icon=":material/restart_alt:", type="tertiary", on_click=state.forget)
    for column, suffix, searcher, one, other in zip(
        st.columns(2, gap="medium"), ("first", "second"), sides, answers, reversed(answers), strict=True
    ):
        info = searcher.store.info
        with column:
            st.markdown(f"**{problems.literal(_name(info))}**")
            spent = ", ".join(f"{stage} {milliseconds:.1f} ms" for stage, milliseconds in one.milliseconds.items())
            st.caption(f"{results.how_searched(info, exact, filtered=False)} Time: {spent}.")
            cards = _cards(searcher, one.hits, other.hits)
            parts.gallery(f"gallery {suffix}", [parts.Section("", cards)], state.act)


def _name(info: StoreInfo) -> str:
    return f"{choice.store_names([info.url])[info.url]}: {info.model.name}, {info.count:,} pictures"


def _agreement(answers: Sequence[Answer]) -> str:
    first, second = ([hit.id for hit in answer.hits] for answer in answers)
    both = set(first) & set(second)
    same = sum(one == other for one, other in zip(first, second, strict=False))
    return f"{len(both)} of {max(len(first), len(second))} are in both, {same} of them at the same rank"


def _cards(searcher: Searcher, hits: Sequence[Hit], others: Sequence[Hit]) -> list[parts.Card]:
    """Return cards that say what became of each hit in the other answer."""
    there = {hit.id: rank for rank, hit in enumerate(others, 1)}
    scale = cached.background(searcher)
    pictures = searcher.store.thumbnails([hit.id for hit in hits])
    cards = []
    for rank, (hit, picture) in enumerate(zip(hits, pictures, strict=True), 1):
        mark, badge = _mark(rank, there.get(hit.id))
        cards.append(results.card(scale, hit, rank, picture, badges=(badge,), mark=mark))
    return cards


def _mark(rank: int, there: int | None) -> tuple[str, str]:
    """Return how a hit is marked that has this rank here and that rank, if any, in the other answer."""
    if there is None:
        return "alone", "only here"
    if there == rank:
        return "both", "same rank"
    return "moved", f"{abs(there - rank)} {'up' if rank < there else 'down'}"

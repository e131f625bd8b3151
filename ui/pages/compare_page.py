"""The page that compares two stores, or two models, by the hits of one query."""

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from cbir.results import Hit, Hits
from cbir.settings import Settings
from cbir.stores.base import StoreInfo
from cbir.stores.display import display_names

from ..components import gallery, problems, store_facts
from ..query import address, choice, image_input, images, query_card, state
from ..query.choice import Chosen
from ..query.images import ReadyExample

LIMIT = 12


def draw(settings: Settings) -> None:
    """Draw the page for the session's state."""
    address.read(state.adopt)
    both: list[Chosen] = []
    empty = []
    with st.sidebar:
        for title, suffix in (("First", ""), ("Second", "2")):
            st.markdown(f"**{title}**")
            side = choice.choose(settings, suffix)
            both += [side] if side else []
            empty += [] if side else [st.session_state[f"store{suffix}"]]
        limit = st.slider("Number of hits", 4, 48, LIMIT, 4, key="limit", **address.BOUND)
        exact = st.toggle("Exact search", key="exact", **address.BOUND)
    if empty:
        store_facts.how_to_fill(empty[0])
        return
    ready = [images.make_ready(state.current(), side) for side in both]
    for problem in dict.fromkeys([*state.problems(), *(problem for _, unusable in ready for problem in unusable)]):
        st.error(problems.literal(problem), icon=":material/error:")
    if all(images.vectors(examples, "like") for examples, _ in ready):
        hits = [_search(side, examples, limit, exact) for side, (examples, _) in zip(both, ready, strict=True)]
        _show(both, ready[0][0], hits, exact)
    else:
        st.markdown("Enter a text or choose an image, here or on the search page, to compare the hits of both.")
        image_input.draw(both[0], has_query=False)
        image_input.samples(both[0])
    address.write(state.to_address(state.current()))


def _search(side: Chosen, examples: Sequence[ReadyExample], limit: int, exact: bool) -> Hits:
    like, unlike = (images.vectors(examples, sign) for sign in state.SIGNS)
    return images.with_times(side.collection.search(like=like, unlike=unlike, limit=limit, exact=exact), examples)


def _show(both: Sequence[Chosen], examples: Sequence[ReadyExample], found: Sequence[Hits], exact: bool) -> None:
    query_card.draw(examples, *query_card.heading(examples), [_agreement(*found)])
    if problem := _difference(both[0].info, both[1].info):
        st.warning(problems.literal(problem), icon=":material/warning:")
    image_input.clear_button()
    names = display_names([side.info.url for side in both])
    for i, column in enumerate(st.columns(2, gap="medium")):
        with column:
            side, hits, info = both[i], found[i], both[i].info
            name = f"{names[info.url]}: {info.model.name}, {info.count:,} images"
            st.markdown(f"**{problems.literal(name)}**")
            spent = ", ".join(f"{stage} {milliseconds:.1f} ms" for stage, milliseconds in hits.milliseconds.items())
            st.caption(f"{store_facts.how_searched(info, exact)} Time: {spent}.")
            gallery.gallery(f"gallery {i}", [("", _cards(side, examples, hits, found[1 - i]))], state.act)


def _agreement(first: Hits, second: Hits) -> str:
    common = {hit.id for hit in first} & {hit.id for hit in second}
    same = sum(left.id == right.id for left, right in zip(first, second, strict=False))
    return f"{len(common)} of {max(len(first), len(second))} hits are in both, {same} of them at the same rank"


def _difference(first: StoreInfo, second: StoreInfo) -> str:
    """Return why the hits of two collections need not agree, "" if nothing speaks against it."""
    if first.dataset != second.dataset:
        return f"These are different data sets, {first.dataset} and {second.dataset}. Their hits need not agree."
    if first.count != second.count:
        return f"One has {first.count:,} images, the other {second.count:,}. Their hits need not agree."
    return ""


def _cards(
    side: Chosen, examples: Sequence[ReadyExample], hits: Sequence[Hit], others: Sequence[Hit]
) -> list[gallery.Card]:
    """Return the cards of one side, marked with the rank of each hit on the other side."""
    ranks = {hit.id: rank for rank, hit in enumerate(others, 1)}
    cards = gallery.hit_cards(side.store, hits, images.calibration(side, examples))
    marks = [_mark(card.rank, ranks.get(card.id)) for card in cards]
    return [replace(card, mark=mark, badges=(badge,)) for card, (mark, badge) in zip(cards, marks, strict=True)]


def _mark(rank: int, other: int | None) -> tuple[str, str]:
    """Return the mark and badge of a hit from its ranks here and on the other side, None if it is not there."""
    if other is None:
        return "alone", "only here"
    if other == rank:
        return "both", "same rank"
    return "moved", f"{abs(other - rank)} {'up' if rank < other else 'down'}"

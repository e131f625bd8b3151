"""Two stores, or two models, side by side: one query, what both find, what only one finds, and how long each took."""

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from cbir.results import Hit, Hits
from cbir.settings import Settings
from cbir.stores.display import display_names

from ..components import gallery, problems, store_facts
from ..query import address, cached, choice, image_input, images, query_card, state
from ..query.choice import Chosen
from ..query.images import ReadyExample

LIMIT = 12


def draw(settings: Settings) -> None:
    """Draw the page for the session's state."""
    address.read(state.adopt)
    sides: list[Chosen | None] = []
    with st.sidebar:
        for title, suffix in (("First", ""), ("Second", "2")):
            st.markdown(f"**{title}**")
            sides.append(choice.choose(settings, suffix))
        limit = st.slider(
            "Pictures to find", 4, 48, LIMIT, 4, key="compared", bind="query-params", on_change=address.touched
        )
        exact = st.toggle("Scan everything", key="exact", bind="query-params", on_change=address.touched)
    for side, key in zip(sides, ("store", "store2"), strict=True):
        if side is None:
            store_facts.how_to_fill(st.session_state[key])
            return
    both = [side for side in sides if side is not None]
    ready = [images.make_ready(state.current(), side) for side in both]
    for problem in dict.fromkeys([*state.problems(), *(problem for _, unusable in ready for problem in unusable)]):
        st.error(problems.literal(problem), icon=":material/error:")
    if all(any(example.sign == "like" for example in examples) for examples, _ in ready):
        found = [_search(side, examples, limit, exact) for side, (examples, _) in zip(both, ready, strict=True)]
        _show(both, ready[0][0], found, exact)
    else:
        st.markdown("Choose a picture, here or on the search page, and see what each of the two finds.")
        image_input.draw(both[0], has_query=False)
        image_input.samples(both[0])
    address.write(state.to_address(state.current()))


def _search(side: Chosen, examples: Sequence[ReadyExample], limit: int, exact: bool) -> Hits:
    like, unlike = (images.vectors(examples, sign) for sign in state.SIGNS)
    return images.with_times(side.collection.search(like=like, unlike=unlike, limit=limit, exact=exact), examples)


def _show(both: Sequence[Chosen], examples: Sequence[ReadyExample], found: Sequence[Hits], exact: bool) -> None:
    query_card.draw(examples, *query_card.heading(examples), [_agreement(found)])
    image_input.clear_button()
    for column, suffix, side, hits, others in zip(
        st.columns(2, gap="medium"), ("first", "second"), both, found, reversed(found), strict=True
    ):
        with column:
            store, info = display_names([side.info.url])[side.info.url], side.info
            name = f"{store}: {info.model.name}, {info.count:,} pictures"
            st.markdown(f"**{problems.literal(name)}**")
            spent = ", ".join(f"{stage} {milliseconds:.1f} ms" for stage, milliseconds in hits.milliseconds.items())
            st.caption(f"{store_facts.how_searched(side.info, exact, filtered=False)} Time: {spent}.")
            gallery.gallery(f"gallery {suffix}", [("", _cards(side, hits, others))], state.act)


def _agreement(found: Sequence[Hits]) -> str:
    first, second = ([hit.id for hit in hits] for hits in found)
    both = set(first) & set(second)
    same = sum(left == right for left, right in zip(first, second, strict=False))
    return f"{len(both)} of {max(len(first), len(second))} are in both, {same} of them at the same rank"


def _cards(side: Chosen, hits: Sequence[Hit], others: Sequence[Hit]) -> list[gallery.Card]:
    """Return cards that say where each hit is among the other hits."""
    ranks = {hit.id: rank for rank, hit in enumerate(others, 1)}
    calibration = cached.score_calibration(side)
    pictures = side.store.thumbnails([hit.id for hit in hits])
    cards = []
    for rank, (hit, picture) in enumerate(zip(hits, pictures, strict=True), 1):
        mark, badge = _mark(rank, ranks.get(hit.id))
        cards.append(replace(gallery.to_card(hit, rank, picture, calibration), badges=(badge,), mark=mark))
    return cards


def _mark(rank: int, other: int | None) -> tuple[str, str]:
    """Return how a hit is marked that has this rank here and that rank, if any, in the other collection."""
    if other is None:
        return "alone", "only here"
    if other == rank:
        return "both", "same rank"
    return "moved", f"{abs(other - rank)} {'up' if rank < other else 'down'}"

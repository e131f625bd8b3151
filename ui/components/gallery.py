"""The gallery: hits as cards, with what a score means in the collection, and stored images as tiles."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from cbir.records import Payload, without_fraction
from cbir.results import Hit, Hits
from cbir.search.examples import is_id
from cbir.search.query import folded
from cbir.search.score_calibration import ScoreCalibration
from cbir.stores.base import Store

from .web import data_url, web_component

ACTIONS = ("ask", "like", "unlike")
_SHOWN_CHARACTERS = 500
_FINEST = 1e-5
_NAMES = ("name", "title", "caption", "productDisplayName")


@dataclass(frozen=True)
class Card:
    """A stored image as it is shown: a card of the gallery, or a tile, of which only the first four matter.

    Attributes:
        id: Its point's id.
        payload: Its payload.
        picture: Its thumbnail.
        caption: What stands below a tile.
        alt: What a screen reader says of a tile; its heading if "".
        score: Its score as a hit.
        rank: From 1.
        percentile: How its score compares with all pairs of the collection, in short.
        meaning: The same in a sentence.
        badges: Labels that lie on the picture.
        copies: Hits that are nearly the same, folded into it.
        mark: "both", "moved" or "alone", where the hits of two collections are compared.
    """

    id: str
    payload: Payload
    picture: bytes | None
    caption: str = ""
    alt: str = ""
    score: float = 0.0
    rank: int = 0
    percentile: str = ""
    meaning: str = ""
    badges: tuple[str, ...] = ()
    copies: tuple["Card", ...] = ()
    mark: str = ""


Section = tuple[str, Sequence[Card]]
"""A heading, "" for none, and the cards below it."""

_gallery = web_component("gallery")


def heading(payload: Payload) -> str:
    """Return what people call an image: the name in its payload, or else its file name, or its key."""
    key = str(payload["key"])
    names = (payload.get(field) for field in _NAMES)
    return next((name for name in names if isinstance(name, str) and name), key.rpartition("/")[2] or key)


def subheading(payload: Payload) -> str:
    """Return its key and label, as far as the heading does not say them."""
    key, label = str(payload["key"]), payload.get("label")
    parts = (key if heading(payload) != key else None, str(label) if label is not None else None)
    return " · ".join(part for part in parts if part)


def sections(
    store: Store, hits: Hits, calibration: ScoreCalibration, limit: int, fold: bool, copied: set[str]
) -> list[Section]:
    """Return hits as cards, by groups if they have some; with `fold`, near-duplicates below the best of them.

    Args:
        store: Where the hits are from.
        hits: What a search found.
        calibration: What a score means in the collection.
        limit: At most how many cards in a section.
        fold: Put near-duplicates together.
        copied: SHA-256 of the query's images.
    """
    groups: list[tuple[str, Sequence[Hit]]] = [(str(group.value), group.hits) for group in hits.groups] or [("", hits)]
    return [(title, _cards(store, group, calibration, limit, fold, copied)) for title, group in groups]


def _cards(
    store: Store, hits: Sequence[Hit], calibration: ScoreCalibration, limit: int, fold: bool, copied: set[str]
) -> list[Card]:
    together = [(first.hit, first.copies) for first in folded(store, hits)] if fold else [(hit, []) for hit in hits]
    together = together[:limit]
    ids = [hit.id for first, copies in together for hit in (first, *copies)]
    pictures = dict(zip(ids, store.thumbnails(ids), strict=True))
    cards = []
    for rank, (hit, copies) in enumerate(together, 1):
        badges = ("exact copy",) if hit.payload.get("sha256") in copied else ()
        tiles = tuple(Card(copy.id, copy.payload, pictures[copy.id], f"{copy.score:.3f}") for copy in copies)
        cards.append(replace(to_card(hit, rank, pictures[hit.id], calibration), badges=badges, copies=tiles))
    return cards


def to_card(hit: Hit, rank: int, picture: bytes | None, calibration: ScoreCalibration) -> Card:
    """Return a hit's card, with what its score means in the collection."""
    percentile = share(calibration.percentile(hit.score))
    sentence = meaning(calibration, hit.score)
    return Card(hit.id, hit.payload, picture, score=hit.score, rank=rank, percentile=percentile, meaning=sentence)


def share(percentile: float) -> str:
    """Return how rare a score is, as "top 0.1 %"."""
    rarer = max(1 - percentile, _FINEST)
    return f"top {'<' if rarer <= _FINEST else ''}{100 * rarer:.2g} %"


def meaning(calibration: ScoreCalibration, score: float) -> str:
    """Return in a sentence what a score means in the collection."""
    same = calibration.same_class(score)
    of_class = f" Of the pairs with such a score, {100 * same:.0f} % have the same label." if same is not None else ""
    return f"Cosine {score:.4f}: among the {share(calibration.percentile(score))} of this collection's pairs.{of_class}"


def gallery(key: str, shown: Sequence[Section], on_action: Callable[[str, str], None]) -> None:
    """Show hits as cards; `on_action` is given one of `ACTIONS` and the id of the hit that it is about."""
    data = [{"title": title, "cards": [_card(card) for card in cards]} for title, cards in shown]
    _gallery(key=key, data={"sections": data}, on_act_change=_on_act(key, on_action))


def tiles(key: str, cards: Sequence[Card], on_choice: Callable[[str], None]) -> None:
    """Show images in rows; `on_choice` is given the id of the one that the visitor chooses."""
    data = {"tiles": [_tile(card) for card in cards]}
    _gallery(key=key, data=data, on_act_change=_on_act(key, lambda _, point_id: on_choice(point_id)))


def _on_act(key: str, on_action: Callable[[str, str], None]) -> Callable[[], None]:
    def act() -> None:
        match st.session_state[key].get("act"):  # what comes from a browser may be anything
            case [str(action), str(point_id)] if action in ACTIONS and is_id(point_id):
                on_action(action, point_id)

    return act


def _card(card: Card) -> dict[str, Any]:
    name, line = heading(card.payload), subheading(card.payload)
    return {
        "id": card.id,
        "src": data_url(card.picture),
        "rank": card.rank,
        "score": f"{card.score:.3f}",
        "bar": max(0.0, min(1.0, card.score)),
        "percentile": card.percentile,
        "meaning": card.meaning,
        "badges": list(card.badges),
        "mark": card.mark,
        "heading": name,
        "subheading": line,
        "alt": f"{name}, {line}" if line else name,
        "copies": [_tile(copy) for copy in card.copies],
        "rows": [[field, _text(value)] for field, value in card.payload.items()] + [["point", card.id]],
    }


def _tile(card: Card) -> dict[str, Any]:
    alt = card.alt or heading(card.payload)
    return {"id": card.id, "src": data_url(card.picture), "alt": alt, "caption": card.caption}


def _text(value: Any) -> str:
    value = without_fraction(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"

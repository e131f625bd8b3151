"""The gallery: hits as cards, with the meaning of a score in the collection, and stored images as tiles."""

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from cbir.records import Payload, without_fraction
from cbir.results import Hit, Hits
from cbir.search.examples import is_id
from cbir.search.query import folded
from cbir.search.score_calibration import ScoreCalibration
from cbir.stores.base import Store

from .web import data_url, web_component

ACTIONS = ("search", "like", "unlike")
_MAX_CHARACTERS = 500
_SMALLEST_SHARE = 1e-5
_NAMES = ("name", "title", "caption", "productDisplayName")


@dataclass(frozen=True)
class Card:
    """A stored image as a card of the gallery, or as a tile, which uses only the first five attributes.

    `percentile` and `meaning` compare the score with all pairs of the collection. `copies` are near-duplicates that
    are folded into the card. `mark` is "both", "moved" or "alone" where the hits of two collections are compared.
    """

    id: str
    payload: Payload
    image: bytes | None
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
"""A heading, "" for none, and its cards."""

_gallery = web_component("gallery")


def heading(payload: Payload) -> str:
    """Return the name of an image: the name in its payload, or else its file name, or its key."""
    key = str(payload["key"])
    names = (payload.get(field) for field in _NAMES)
    return next((name for name in names if isinstance(name, str) and name), key.rpartition("/")[2] or key)


def subheading(payload: Payload) -> str:
    """Return the key and label of an image, without its heading."""
    key, label = str(payload["key"]), payload.get("label")
    parts = (key if heading(payload) != key else None, str(label) if label is not None else None)
    return " · ".join(part for part in parts if part)


def sections(
    store: Store, hits: Hits, calibration: ScoreCalibration, limit: int, fold: bool, copied: set[str]
) -> list[Section]:
    """Return hits as cards, at most `limit` in a section: a section for each group, or a single one.

    With `fold`, near-duplicates are folded into the best of them. `copied` holds the SHA-256 of the query's images.
    """
    groups: list[tuple[str, Sequence[Hit]]] = [(str(group.value), group.hits) for group in hits.groups] or [("", hits)]
    return [(title, hit_cards(store, group, calibration, limit, fold, copied)) for title, group in groups]


def hit_cards(
    store: Store,
    hits: Sequence[Hit],
    calibration: ScoreCalibration,
    limit: int | None = None,
    fold: bool = False,
    copied: Collection[str] = (),
) -> list[Card]:
    """Return hits as cards, each with the meaning of its score in the collection; the rest is as for `sections`."""
    pairs = (folded(store, hits) if fold else [(hit, []) for hit in hits])[:limit]
    ids = [hit.id for first, copies in pairs for hit in (first, *copies)]
    images = dict(zip(ids, store.thumbnails(ids), strict=True))
    cards = []
    for rank, (hit, copies) in enumerate(pairs, 1):
        badges = ("exact copy",) if hit.payload.get("sha256") in copied else ()
        tiles = tuple(Card(copy.id, copy.payload, images[copy.id], f"{copy.score:.3f}") for copy in copies)
        percentile, sentence = share(calibration.percentile(hit.score)), meaning(calibration, hit.score)
        card = Card(hit.id, hit.payload, images[hit.id], "", "", hit.score, rank, percentile, sentence, badges, tiles)
        cards.append(card)
    return cards


def stored_cards(store: Store, ids: Sequence[str], captions: Sequence[str] = ()) -> list[Card]:
    """Return the cards of stored images; points that have been deleted are left out."""
    rows = zip(ids, store.payloads(ids), store.thumbnails(ids), captions or [""] * len(ids), strict=True)
    return [
        Card(point_id, payload, image, caption, f"{heading(payload)}, {caption}" if caption else "")
        for point_id, payload, image, caption in rows
        if payload is not None
    ]


def share(percentile: float) -> str:
    """Return the rank of a score among all pairs, as "top 0.1 %"."""
    above = max(1 - percentile, _SMALLEST_SHARE)
    return f"top {'<' if above <= _SMALLEST_SHARE else ''}{100 * above:.2g} %"


def meaning(calibration: ScoreCalibration, score: float) -> str:
    """Return the meaning of a score in the collection, in a sentence."""
    same = calibration.same_class(score)
    whose = "are an image and its own label" if calibration.of_texts else "have the same label"
    labels = f" Of the pairs with such a score, {100 * same:.0f} % {whose}." if same is not None else ""
    pairs = "pairs of a word and an image of this collection" if calibration.of_texts else "this collection's pairs"
    return f"Cosine {score:.4f}: among the {share(calibration.percentile(score))} of {pairs}.{labels}"


def gallery(key: str, shown: Sequence[Section], on_action: Callable[[str, str], None]) -> None:
    """Draw hits as cards; `on_action` is called with one of `ACTIONS` and the id of a hit."""
    data = [{"title": title, "cards": [_card(card) for card in cards]} for title, cards in shown]
    _gallery(key=key, data={"sections": data}, on_act_change=_on_act(key, on_action))


def tiles(key: str, cards: Sequence[Card], on_choice: Callable[[str], None]) -> None:
    """Draw images in rows; `on_choice` is called with the id of the image that the visitor chooses."""
    data = {"tiles": [_tile(card) for card in cards]}
    _gallery(key=key, data=data, on_act_change=_on_act(key, lambda _, point_id: on_choice(point_id)))


def _on_act(key: str, on_action: Callable[[str, str], None]) -> Callable[[], None]:
    def act() -> None:
        match st.session_state[key].get("act"):  # a browser may send anything
            case [str(action), str(point_id)] if action in ACTIONS and is_id(point_id):
                on_action(action, point_id)

    return act


def _card(card: Card) -> dict[str, Any]:
    name, line = heading(card.payload), subheading(card.payload)
    return {
        "id": card.id,
        "src": data_url(card.image),
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
    return {"id": card.id, "src": data_url(card.image), "alt": alt, "caption": card.caption}


def _text(value: Any) -> str:
    value = without_fraction(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]}…"

"""What was found, as cards: what a score means, what is nearly the same, and how the store searched."""

from collections.abc import Sequence
from typing import Any

from cbir.records import Hit
from cbir.search.query import folded
from cbir.search.score_calibration import Background
from cbir.search.searcher import Answer, Searcher
from cbir.stores.base import StoreInfo

from . import parts

SIMILARITIES = {
    "any": 0.0,
    "top 50 %": 0.5,
    "top 10 %": 0.9,
    "top 1 %": 0.99,
    "top 0.1 %": 0.999,
    "top 0.01 %": 0.9999,
}
"""The steps of the slider: the share of all pairs of the collection that are less alike."""

_FINEST = 1e-5


def sections(
    searcher: Searcher, answer: Answer, scale: Background, k: int, fold: bool, copied: set[str]
) -> list[parts.Section]:
    """Return the answer's hits as cards, in groups if it has some; with `fold`, near-duplicates below the best of them.

    Args:
        searcher: What found them.
        answer: Its answer.
        scale: What a score means in the collection.
        k: At most how many cards.
        fold: Put near-duplicates together.
        copied: SHA-256 of the pictures that were asked with.
    """
    found = [(str(group.value), group.hits) for group in answer.groups] or [("", answer.hits)]
    return [parts.Section(title, _cards(searcher, hits, scale, k, fold, copied)) for title, hits in found]


def _cards(
    searcher: Searcher, hits: Sequence[Hit], scale: Background, k: int, fold: bool, copied: set[str]
) -> list[parts.Card]:
    together = [(one.hit, one.copies) for one in folded(searcher.store, hits)] if fold else [(hit, []) for hit in hits]
    together = together[:k]
    ids = [hit.id for first, rest in together for hit in (first, *rest)]
    pictures = dict(zip(ids, searcher.store.thumbnails(ids), strict=True))
    cards = []
    for rank, (hit, copies) in enumerate(together, 1):
        badges = ("exact copy",) if hit.payload.get("sha256") in copied else ()
        tiles = [parts.Tile(one.id, pictures[one.id], parts.heading(one.payload), f"{one.score:.3f}") for one in copies]
        cards.append(card(scale, hit, rank, pictures[hit.id], badges=badges, copies=tuple(tiles)))
    return cards


def card(scale: Background, hit: Hit, rank: int, picture: bytes | None, **more: Any) -> parts.Card:
    """Return a hit's card, with what its score means in the collection; `more` is as for `parts.Card`."""
    percentile = share(scale.percentile(hit.score))
    return parts.Card(hit, rank, picture, percentile, meaning(scale, hit.score), **more)


def share(percentile: float) -> str:
    """Return how rare a score is, as "top 0.1 %"."""
    rarer = max(1 - percentile, _FINEST)
    return f"top {'<' if rarer <= _FINEST else ''}{100 * rarer:.2g} %"


def meaning(scale: Background, score: float) -> str:
    """Return in a sentence what a score means in the collection."""
    same = scale.same_class(score)
    of_class = f" Of the pairs with such a score, {100 * same:.0f} % have the same label." if same is not None else ""
    return f"Cosine {score:.4f}: among the {share(scale.percentile(score))} of this collection's pairs.{of_class}"


def how_searched(info: StoreInfo, exact: bool, filtered: bool) -> str:
    """Return in words how the store found its hits."""
    if exact or info.access == "scan":
        why = "as asked" if exact and info.access != "scan" else "so few need no graph"
        how = f"Exact search: all {info.count:,} pictures were compared ({why})"
    else:
        option = {"graph": "ef", "lists": "nprobe"}[info.access]
        how = f"Approximate search by the {info.access} ({option} {info.options.get(option, '?')})"
        if info.indexed < info.count:
            how += (
                f" of {info.indexed:,} pictures; the {info.count - info.indexed:,} that are not in it yet were scanned"
            )
        else:
            how += f"; {info.indexed:,} of {info.count:,} pictures are indexed"
    return how + (f". The {info.filtering} applied the filter." if filtered else ".")

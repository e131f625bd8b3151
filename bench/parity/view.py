"""What `parity` found, as JSON for programs and as a section for people."""

import logging
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from ..core.document import Part, Picture, Result, Section, Strip, Table, known, share
from ..core.ranking import RBO_P
from ..core.results import header
from ..core.stores import store_name
from ..core.workload import ORDINARY, Workload
from .measure import AgainstTruth, Parity, StoreAgainstStore

_SHOWN = 5
_STRIPS = 3
PICTURE_RANKS = 10
PICTURE_SIDE = 64
_NOTE = (
    f"rbo is the rank-biased overlap, extrapolated (Webber, Moffat and Zobel 2010), p = {RBO_P:g}: 1 for lists that are"
    " the same up to ties, 0 for such that have nothing in common, the first places weighing most. by_k cuts the one"
    " answer of k hits; a search for fewer may be narrower. worst are the queries with the lowest rbo."
)

log = logging.getLogger(__name__)


def parity_json(workload: Workload, parity: Parity, pictures: Mapping[str, bytes] | None = None) -> dict[str, Any]:
    """Return a parity result as plain JSON values; what is undefined is null."""
    result = header(workload, "parity")
    figures = {**result, "notes": [*result["notes"], _NOTE], **asdict(parity)}
    if pictures is not None:
        figures["pictures"] = {id_: b64encode(data).decode() for id_, data in pictures.items()}
    return figures


def worst_pictures(workload: Workload, parity: Parity) -> dict[str, bytes]:
    """Return thumbnails of at most 64 pixels by point: of the worst queries, their first ten hits and ten missing ones.

    A point without one that can be decoded has none here.
    """
    from cbir.errors import ImageError
    from cbir.images.decode import decode, thumbnail

    compared: list[AgainstTruth | StoreAgainstStore] = [*parity.oracle, *parity.pairs]
    worst = [one for found in compared for one in found.worst]
    sides = [side for one in worst for side in one.hits]
    missing = [[hit for hit in side if hit.missing] for side in sides]
    hits = [hit.id for side in (*sides, *missing) for hit in side[:PICTURE_RANKS]]
    ids = list(dict.fromkeys([*(one.query.id for one in worst), *hits]))
    pictures = {}
    for id_, data in zip(ids, workload.stores[0].thumbnails(ids), strict=True):
        with suppress(ImageError):
            if data:
                pictures[id_] = thumbnail(decode(data, PICTURE_SIDE), side=PICTURE_SIDE)
    if len(pictures) < len(ids):
        log.warning("%d of %d points have no thumbnail that can be shown", len(ids) - len(pictures), len(ids))
    return pictures


def parity_section(result: Result, command: str = "") -> Section:
    """Return the section of a result of `parity`."""
    k = result["settings"]["k"]
    oracle = [
        [
            f"{store_name(one['store'])}, {one['mode']}",
            one["searched"],
            share(one["ann_recall_at_k"]["mean"]),
            share(one["ann_recall_at_k"]["p5"]),
            share(one["ann_recall_at_k"]["worst"]),
            f"{one['queries_below_one']:,}",
            known(one["score_difference"]["worst"], ".1e"),
        ]
        for one in result["oracle"]
    ]
    pairs = [
        [
            f"{' / '.join(map(store_name, one['stores']))}, {one['mode']}",
            *(share(one[name]["mean"]) for name in ("overlap_at_k", "rbo", "kendall_tau_b")),
            *(f"{one[name]:,}" for name in ("identical", "identical_up_to_ties", "different")),
            known(one["score_difference"]["worst"], ".1e"),
        ]
        for one in result["pairs"]
    ]
    parts: list[Part] = [
        Table(
            "Against the exact answer",
            ["store", "searched", f"recall@{k}", "p5", "min", "queries below 1", "score difference"],
            oracle,
        )
    ]
    if pairs:
        columns = ["stores", f"overlap@{k}", "RBO", "tau-b", "identical", "but for ties", "different"]
        parts.append(Table("Store against store", [*columns, "score difference"], pairs))
    parts += _by_k(result)
    parts += _strips(result)
    points = result["counts"]["points"]
    title = f"Do the stores agree? {result['collection']}, {points:,} points"
    question = f"{result['settings']['queries']:,} stored pictures asked for in each store, {k} hits each."
    return Section(title, question, command, parts, result["notes"])


def _by_k(result: Result) -> Iterator[Table]:
    depths = [one["k"] for one in result["oracle"][0].get("by_k", ())] if result["oracle"] else []
    if not depths:
        return
    recall, rbo = ("recall", "ann_recall_at_k"), ("RBO", "rbo")
    overlap, tau = ("overlap", "overlap_at_k"), ("tau-b", "kendall_tau_b")
    compared: list[tuple[list[str], Result, tuple[tuple[str, str], ...]]] = [
        *(([one["store"]], one, (recall, rbo)) for one in result["oracle"]),
        *((one["stores"], one, (overlap, rbo, tau)) for one in result["pairs"]),
    ]
    rows = [
        [f"{' / '.join(map(store_name, stores))}: {name}", *(share(at[metric]["mean"]) for at in one["by_k"])]
        for stores, one, metrics in compared
        if one["mode"] == ORDINARY
        for name, metric in metrics
    ]
    yield Table("Ordinary searches by k, means", ["", *(f"@{depth}" for depth in depths)], rows)


def _strips(result: Result) -> Iterator[Strip]:
    pictures = {one: b64decode(data) for one, data in (result.get("pictures") or {}).items()}
    if not pictures:
        return
    for pair in result["pairs"]:
        for worst in pair.get("worst", ())[:_STRIPS]:
            query = worst["query"]
            for store, hits in zip(pair["stores"], worst["hits"], strict=True):
                shown = [Picture(query["id"], pictures.get(query["id"]), f"query {query['key'] or ''}")]
                for hit in hits:
                    missing = ", missing in the other" if hit["missing"] else ""
                    shown.append(
                        Picture(hit["id"], pictures.get(hit["id"]), f"{hit['rank']}: {hit['score']:.3f}{missing}")
                    )
                yield Strip(f"{store_name(store)}, {pair['mode']}: {query['key'] or query['id']}", shown)


def verdicts(result: Result) -> Iterator[str]:
    """Yield what the tables leave out: queries that did not find themselves, and where stores first differ."""
    for one in result["oracle"]:
        if one["self_missing"]:
            yield (
                f"{store_name(one['store'])}, {one['mode']}: {one['self_missing']:,} queries are not among their own"
                " hits (exact copies came first, or the search missed them)."
            )
    for pair in result["pairs"]:
        names = f"{' / '.join(map(store_name, pair['stores']))}, {pair['mode']}"
        for one in pair["differences"][:_SHOWN]:
            delta = "where one list has ended" if one["delta"] is None else f"by {one['delta']:.1e}"
            query = one["query"]["key"] or one["query"]["id"]
            yield f"{names}: {query} differs at rank {one['rank']} {delta}"
        if pair["different"] > _SHOWN:
            yield f"{names}: {pair['different'] - _SHOWN:,} more queries differ; --json names all"

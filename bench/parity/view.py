"""What `parity` found, as tables for people and as JSON for programs."""

import logging
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from ..core.workload import ORDINARY, Subject
from ..report.report import header, labels, new_console, new_table, share, short, show_subject
from .measure import AgainstOracle, AtDepth, Parity, StoreAgainstStore
from .ranking import RBO_P

_SHOWN = 5
PICTURE_RANKS = 10
PICTURE_SIDE = 64

log = logging.getLogger(__name__)


def parity_json(subject: Subject, parity: Parity, pictures: Mapping[str, bytes] | None = None) -> dict[str, Any]:
    """Return a parity result as plain JSON values; what is undefined is null.

    Args:
        subject: What was compared.
        parity: What was found.
        pictures: Small JPEGs by point, to be looked at beside it.
    """
    result = header(subject, "parity")
    figures = {**result, "notes": [*result["notes"], *parity_notes()], **asdict(parity)}
    if pictures is not None:
        figures["pictures"] = {id_: b64encode(data).decode() for id_, data in pictures.items()}
    return figures


def parity_notes() -> list[str]:
    """Return what the metrics are."""
    return [
        f"rbo is the rank-biased overlap, extrapolated (Webber, Moffat and Zobel 2010), p = {RBO_P:g}: 1 for lists that"
        " are the same up to ties, 0 for such that have nothing in common, the first places weighing most. by_k cuts"
        " the one answer of k hits; a search for fewer may be narrower. worst are the queries with the lowest rbo.",
    ]


def worst_pictures(subject: Subject, parity: Parity) -> dict[str, bytes]:
    """Return thumbnails of at most 64 pixels by point: of the worst queries, their first ten hits and ten missing ones.

    A point without one that can be decoded has none here.
    """
    from cbir.errors import ImageError
    from cbir.images.decode import decode, thumbnail

    compared: list[AgainstOracle | StoreAgainstStore] = [*parity.oracle, *parity.pairs]
    worst = [one for found in compared for one in found.worst]
    sides = [side for one in worst for side in one.hits]
    missing = [[hit for hit in side if hit.missing] for side in sides]
    hits = [hit.id for side in (*sides, *missing) for hit in side[:PICTURE_RANKS]]
    ids = list(dict.fromkeys([*(one.query.id for one in worst), *hits]))
    pictures = {}
    for id_, data in zip(ids, subject.stores[0].thumbnails(ids), strict=True):
        with suppress(ImageError):
            if data:
                pictures[id_] = thumbnail(decode(data, PICTURE_SIDE), side=PICTURE_SIDE)
    if len(pictures) < len(ids):
        log.warning("%d of %d points have no thumbnail that can be shown", len(ids) - len(pictures), len(ids))
    return pictures


def show_parity(subject: Subject, parity: Parity) -> None:
    """Print both tables."""
    console, names = new_console(), labels(subject.infos)
    show_subject(console, subject, names)
    console.print(_oracle_table(subject, parity, names))
    for one in parity.oracle:
        if one.self_missing:
            console.print(
                f"{names[one.store]}, {one.mode}: {one.self_missing:,} of {len(subject.queries):,} queries not among"
                f" their own {subject.k + 1} hits (exact copies came first, or the search missed them)."
            )
    if parity.pairs:
        console.print(_pair_table(subject, parity, names))
    for note in parity_notes():
        console.print(note)
    console.print(_by_k_table(parity, names))
    for pair in parity.pairs:
        _show_verdict(console, " / ".join(names[one] for one in pair.stores), pair)


def _oracle_table(subject: Subject, parity: Parity, names: dict[str, str]) -> Table:
    columns = ["store", "search", f"recall@{subject.k}", "p5", "min", "worst query", "below 1", "score diff."]
    table = new_table("Against the exact answer (NumPy over all vectors)", columns)
    for one in parity.oracle:
        recall = one.ann_recall_at_k
        table.add_row(
            names[one.store],
            one.mode,
            share(recall.mean),
            short(recall.p5),
            short(recall.worst),
            str(recall.worst_query) if one.queries_below_one else "-",
            f"{one.queries_below_one:,}",
            _small(one.score_difference.worst),
        )
    return table


def _pair_table(subject: Subject, parity: Parity, names: dict[str, str]) -> Table:
    columns = ["stores", "search", f"overlap@{subject.k}", "min", "worst query", "same", "ties", "differ", "tau-b"]
    table = new_table("Store against store", [*columns, "score diff."])
    for one in parity.pairs:
        table.add_row(
            " / ".join(names[url] for url in one.stores),
            one.mode,
            share(one.overlap_at_k.mean),
            short(one.overlap_at_k.worst),
            str(one.overlap_at_k.worst_query) if one.different else "-",
            f"{one.identical:,}",
            f"{one.identical_up_to_ties:,}",
            f"{one.different:,}",
            share(one.kendall_tau_b.mean),
            _small(one.score_difference.worst),
        )
    return table


def _by_k_table(parity: Parity, names: dict[str, str]) -> Table:
    """Means of the ordinary searches at each k."""
    rows = [
        *((names[one.store], "exact", one.by_k, ("recall", "rbo")) for one in parity.oracle if one.mode == ORDINARY),
        *(
            (names[one.stores[0]], names[one.stores[1]], one.by_k, ("overlap", "rbo", "tau-b"))
            for one in parity.pairs
            if one.mode == ORDINARY
        ),
    ]
    depths = [one.k for one in parity.oracle[0].by_k]
    table = new_table("Ordinary searches by k, means", ["store", "against", "metric", *(f"@{k}" for k in depths)])
    for store, against, by_k, metrics in rows:
        for at, metric in enumerate(metrics):
            known = (store, against) if at == 0 else ("", "")
            table.add_row(*known, metric, *(share(_mean(one, metric)) for one in by_k))
    return table


def _mean(one: AtDepth, metric: str) -> float | None:
    found = {
        "recall": one.ann_recall_at_k,
        "overlap": one.overlap_at_k,
        "rbo": one.rbo,
        "tau-b": one.kendall_tau_b,
    }[metric]
    return found.mean if found else None


def _show_verdict(console: Console, names: str, pair: StoreAgainstStore) -> None:
    alike = pair.identical + pair.identical_up_to_ties
    console.print(
        f"{names}, {pair.mode}: {alike:,} of {alike + pair.different:,} queries are identical up to ties,"
        f" {pair.different:,} differ."
    )
    for one in pair.differences[:_SHOWN]:
        delta = "where one list has ended" if one.delta is None else f"by {one.delta:.1e}"
        console.print(f"  {one.query} differs at rank {one.rank} {delta}")
    if pair.different > _SHOWN:
        console.print(f"  and {pair.different - _SHOWN:,} more; --json names all")


def _small(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"

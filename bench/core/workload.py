"""What is measured: one collection that is open in several stores, and what is searched for."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace

import numpy as np

from cbir.errors import CbirError, UsageError
from cbir.evaluation.retrieval import neighbours
from cbir.filters.conditions import Filter
from cbir.progress import Advance
from cbir.records import Hit, Vector
from cbir.settings import Settings
from cbir.stores.base import SearchParams, Store, StoreInfo
from cbir.stores.registry import connect, open_store
from cbir.text import redacted

from .ground_truth import Truth, count_copies, ground_truth
from .queries import Queries, from_source, near_points
from .ranking import EPSILON, Ranking, recall
from .stores import identity

BATCH = 16
ORDINARY, EXACT = "ordinary", "exact"
MODES = (ORDINARY, EXACT)
_COMPARED = 1000  # vectors
_FEWEST = 8  # points


@dataclass(frozen=True)
class Workload:
    """One collection in several stores that hold the same points, the queries and their exact neighbours.

    No query is a stored point. `infos` are of the beginning, `copies` the number of points with another's vector. Every
    hit must fulfil `filter`.
    """

    collection: str
    stores: Sequence[Store]
    infos: Sequence[StoreInfo]
    queries: Queries
    truth: Truth
    copies: int
    seed: int
    filter: Filter = ()

    @property
    def k(self) -> int:
        """Hits per query."""
        return self.truth.k

    @property
    def vectors(self) -> Vector:
        """The vectors that are searched for, (Q, D)."""
        return self.queries.vectors


@contextmanager
def open_workload(
    urls: Sequence[str] | None,
    collection: str | None,
    k: int,
    queries: int,
    seed: int,
    settings: Settings,
    query_source: str | None = None,
) -> Iterator[Workload]:
    """Open a collection in the named stores and find the exact neighbours of queries; see `workload_of`."""
    with open_stores(urls, collection, settings) as stores:
        yield workload_of(stores, k, queries, seed, query_source)


@contextmanager
def open_stores(urls: Sequence[str] | None, collection: str | None, settings: Settings) -> Iterator[list[Store]]:
    """Open a collection, by default the newest common one, in the named stores."""
    urls = urls or settings.store_urls
    require_different(urls)
    name = collection or common_collection(urls, settings)
    with ExitStack() as stack:
        yield [stack.enter_context(closing(open_store(url, name, settings))) for url in urls]


def require_different(urls: Sequence[str]) -> None:
    """Raise `UsageError` if two URLs are of the same store."""
    if len(set(map(identity, urls))) < len(urls):
        raise UsageError(f"the same store twice: {', '.join(map(redacted, urls))}")


def require_enough(collection: str, points: int) -> None:
    """Raise `UsageError` if a collection has too few points to measure."""
    if points < _FEWEST:
        raise UsageError(f"Collection {collection} has {points} points, but a measurement needs at least {_FEWEST}.")


def workload_of(stores: Sequence[Store], k: int, queries: int, seed: int, query_source: str | None = None) -> Workload:
    """Return the workload of open stores with the same points; the same points and seed give the same queries.

    Queries are images of `query_source` that are not stored, or else made of stored points (see `near_points`).
    """
    ids, vectors = stores[0].matrix()
    infos = [store.info for store in stores]
    _require_same_points(stores, infos, ids, vectors, seed)
    if query_source is None:
        chosen = near_points(ids, vectors, queries, seed)
        payloads = stores[0].payloads(chosen.names)
        keys = [str(payload["key"]) if payload else id_ for id_, payload in zip(chosen.names, payloads, strict=True)]
        chosen = replace(chosen, names=[f"near {key}" for key in keys])
    else:
        chosen = from_source(query_source, infos[0], vectors, queries, seed, Settings())
    truth = ground_truth(ids, vectors, chosen.vectors, min(k, len(ids)))
    return Workload(infos[0].collection, stores, infos, chosen, truth, count_copies(vectors), seed)


def without_held_out(stores: Sequence[Store], k: int, queries: int, others: int, seed: int) -> tuple[Workload, Vector]:
    """Return the workload of all points but random ones: some are the queries, and the vectors of others are returned.

    At most a quarter of the points are queries, and at most a quarter are `others`. None of them has a copy.
    """
    ids, vectors = stores[0].matrix()
    infos = [store.info for store in stores]
    _require_same_points(stores, infos, ids, vectors, seed)
    rows = np.argsort(ids)[np.random.default_rng(seed).permutation(len(ids))]
    searched, more = min(queries, len(ids) // 4), min(others, len(ids) // 4)
    drawn = rows[: 2 * (searched + more)]  # as some have copies
    following = vectors[neighbours(vectors[drawn], vectors, 2)[:, 1]]
    alone = drawn[np.einsum("ij,ij->i", vectors[drawn], following) < 1 - EPSILON]
    if not len(alone):
        raise UsageError("The points are copies of each other, so there are no queries.")
    chosen, added = alone[:searched], alone[searched : searched + more]
    kept = np.setdiff1d(rows, np.concatenate([chosen, added]))
    names = [ids[row] for row in chosen.tolist()]
    held_out = Queries(names, vectors[chosen], "points of the collection that no index here has")
    remaining = np.ascontiguousarray(vectors[kept])
    truth = ground_truth([ids[row] for row in kept.tolist()], remaining, held_out.vectors, min(k, len(kept)))
    workload = Workload(infos[0].collection, stores, infos, held_out, truth, count_copies(remaining), seed)
    return workload, vectors[added]


def common_collection(urls: Sequence[str], settings: Settings) -> str:
    """Return the collection published last (by the first store's order) among those that all stores have."""
    names = {url: connect(url, settings).names() for url in urls}
    for name in names[urls[0]]:
        if all(name in others for others in names.values()):
            return name
    found = "; ".join(f"{redacted(url)} has {', '.join(existing) or 'none'}" for url, existing in names.items())
    raise UsageError(f"No collection is in every store: {found}.")


def search_all(workload: Workload, store: Store, mode: str, advance: Advance, ef: int | None = None) -> list[Ranking]:
    """Return a store's hits of all queries, which it is given in batches; errors as for `ranking_of`."""
    rankings: list[Ranking] = []
    params = SearchParams(ef, exact=mode == EXACT)
    for start in range(0, len(workload.vectors), BATCH):
        vectors = workload.vectors[start : start + BATCH]
        found = store.search(vectors, workload.k, params=params, filter=workload.filter)
        rankings += [ranking_of(workload, store, hits) for hits in found]
        advance(len(vectors))
    return rankings


def ranking_of(workload: Workload, store: Store, hits: Sequence[Hit]) -> Ranking:
    """Return hits as a ranking; `CbirError` if a point came twice, is unknown, or does not pass the filter."""
    ids = {hit.id for hit in hits}
    if len(ids) < len(hits) or not ids <= workload.truth.position.keys():
        wrong = "that was filtered out" if workload.filter else "that it does not have"
        raise CbirError(f"{store.info.url} returned a point twice, or one {wrong}")
    return Ranking(tuple(hit.id for hit in hits), tuple(hit.score for hit in hits))


def recalls_of(workload: Workload, rankings: Sequence[Ranking]) -> list[float]:
    """Return the recall of each query's ranking."""
    truth = workload.truth
    return [
        recall(truth.scores(number, ranking.ids), float(truth.threshold[number]), truth.k)
        for number, ranking in enumerate(rankings)
    ]


def search_method(info: StoreInfo, mode: str) -> str:
    """Return how a store searches: "graph (36,906 of 36,906 points indexed, ef=128)", "ivf (nprobe=16)", "scan"."""
    if mode == EXACT or info.access == "scan":
        return "scan"
    if info.access == "ivf":
        return f"ivf (nprobe={info.options['nprobe']})"
    ef = f", ef={info.options['ef']}" if "ef" in info.options else ""
    return f"{info.access} ({info.indexed:,} of {info.count:,} points indexed{ef})"


def notes(workload: Workload) -> list[str]:
    """Return what a reader must know to read a result of this workload."""
    lines = [
        f"The {len(workload.vectors):,} queries are {workload.queries.origin} (seed {workload.seed}). An exact search"
        " scans all points.",
        f"Scores within {EPSILON:g} of each other count as equal. {int(workload.truth.tied.sum()):,} queries have such"
        f" a tie at place {workload.k}; {workload.copies:,} points are exact copies of another.",
    ]
    for info in workload.infos:
        if info.access == "scan":
            lines.append(
                f"WARNING: {info.url} scans in its ordinary mode, so agreement proves nothing about a graph. Qdrant"
                " scans a segment with less than about 10 MB of vectors."
            )
        elif info.indexed < info.count:
            lines.append(
                f"WARNING: {info.url} has {info.indexed:,} of {info.count:,} points in its {info.access} and scans the"
                " others."
            )
    return lines


def _require_same_points(
    stores: Sequence[Store], infos: Sequence[StoreInfo], ids: list[str], vectors: Vector, seed: int
) -> None:
    """Raise `UsageError` if the stores do not hold the same points as the first, or too few of them."""
    first = infos[0]
    require_enough(first.collection, len(ids))
    rows = np.random.default_rng(seed).permutation(len(ids))[:_COMPARED].tolist()
    compared = [ids[row] for row in rows]
    for store, info in zip(stores[1:], infos[1:], strict=True):
        problem = f"{first.url} and {info.url} do not hold the same points of {first.collection}"
        if info.model.sha256 != first.model.sha256:
            raise UsageError(f"{problem}: models {first.model.sha256[:12]} and {info.model.sha256[:12]}")
        if info.count != first.count:
            raise UsageError(f"{problem}: {first.count:,} and {info.count:,} points. Ingest into both in one run.")
        different = set(ids).symmetric_difference(store.matrix()[0])
        if different:
            raise UsageError(f"{problem}: {len(different):,} ids are in one store only, such as {min(different)}")
        for point, row, other in zip(compared, rows, store.vectors(compared), strict=True):
            delta = np.inf if other is None else float(np.abs(other - vectors[row]).max())
            if not delta <= EPSILON:
                raise UsageError(f"{problem}: the vectors of {point} differ by up to {delta:.2g}")

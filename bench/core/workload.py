"""What is measured: one collection that is open in several stores, and the stored images that are searched for."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cbir.errors import CbirError, UsageError
from cbir.filters.conditions import Filter
from cbir.progress import Advance
from cbir.records import Vector
from cbir.settings import Settings
from cbir.stores.base import SearchParams, Store, StoreInfo
from cbir.stores.registry import connect, open_store
from cbir.text import redacted

from .ground_truth import Truth, count_copies, ground_truth
from .ranking import EPSILON, Ranking, recall
from .stores import identity

BATCH = 16
ORDINARY, EXACT = "ordinary", "exact"
MODES = (ORDINARY, EXACT)


@dataclass(frozen=True)
class Workload:
    """One collection in several stores that hold the same points, the queries and their exact neighbours.

    `infos` are of the beginning, `copies` the number of points with another's vector. Every hit must fulfil `filter`.
    """

    collection: str
    stores: Sequence[Store]
    infos: Sequence[StoreInfo]
    queries: Sequence[str]
    vectors: Vector
    truth: Truth
    copies: int
    seed: int
    filter: Filter = ()

    @property
    def k(self) -> int:
        """Hits per query."""
        return self.truth.k

    @cached_property
    def names(self) -> list[str]:
        """The keys of the queries, or the ids of points that the first store has lost."""
        payloads = self.stores[0].payloads(list(self.queries))
        return [str(payload["key"]) if payload else id_ for id_, payload in zip(self.queries, payloads, strict=True)]


@contextmanager
def open_workload(
    urls: Sequence[str] | None, collection: str | None, k: int, queries: int, seed: int, settings: Settings
) -> Iterator[Workload]:
    """Open a collection in the named stores, choose queries from its points and find their exact neighbours."""
    urls = urls or settings.store_urls
    if len(set(map(identity, urls))) < len(urls):
        raise UsageError(f"the same store twice: {', '.join(map(redacted, urls))}")
    name = collection or common_collection(urls, settings)
    with ExitStack() as stack:
        stores = [stack.enter_context(closing(open_store(url, name, settings))) for url in urls]
        yield workload_of(stores, k, queries, seed)


def workload_of(stores: Sequence[Store], k: int, queries: int, seed: int) -> Workload:
    """Return the workload of open stores with the same points; the same points and seed give the same queries."""
    ids, vectors = stores[0].matrix()
    infos = [store.info for store in stores]
    name = infos[0].collection
    if len(ids) < 2:
        raise UsageError(f"Collection {name} has {len(ids)} points, but a measurement needs at least two.")
    by_id = np.argsort(ids)
    chosen = by_id[np.sort(np.random.default_rng(seed).permutation(len(ids))[:queries])]
    query_ids = [ids[i] for i in chosen]
    for store, info in zip(stores[1:], infos[1:], strict=True):
        _require_same_points(infos[0], store, info, ids, query_ids, vectors[chosen])
    truth = ground_truth(ids, vectors, chosen, min(k, len(ids) - 1))
    return Workload(name, stores, infos, query_ids, vectors[chosen], truth, count_copies(vectors), seed)


def common_collection(urls: Sequence[str], settings: Settings) -> str:
    """Return the collection published last (by the first store's order) among those that all stores have."""
    names = {url: connect(url, settings).names() for url in urls}
    for name in names[urls[0]]:
        if all(name in others for others in names.values()):
            return name
    found = "; ".join(f"{redacted(url)} has {', '.join(existing) or 'none'}" for url, existing in names.items())
    raise UsageError(f"No collection is in every store: {found}.")


def search_all(
    workload: Workload, store: Store, mode: str, advance: Advance, ef: int | None = None
) -> tuple[list[Ranking], int]:
    """Return a store's hits of all queries, without the query itself, and how many queries were not among theirs.

    For a query that is not among its k + 1 hits (copies came first, or the graph missed it), the last one is dropped.
    `CbirError` is for a point that came twice, is unknown, or does not pass the filter.
    """
    rankings: list[Ranking] = []
    missing = 0
    for start in range(0, len(workload.queries), BATCH):
        queries = workload.queries[start : start + BATCH]
        vectors = workload.vectors[start : start + BATCH]
        params = SearchParams(ef, exact=mode == EXACT)
        found = store.search(vectors, workload.k + 1, params=params, filter=workload.filter)
        for query, hits in zip(queries, found, strict=True):
            ids = {hit.id for hit in hits}
            if len(ids) < len(hits) or not ids <= workload.truth.position.keys():
                wrong = "that was filtered out" if workload.filter else "that it does not have"
                raise CbirError(f"{store.info.url} returned a point twice, or one {wrong}, for {query}")
            missing += query not in ids
            kept = [hit for hit in hits if hit.id != query][: workload.k]
            rankings.append(Ranking(tuple(hit.id for hit in kept), tuple(hit.score for hit in kept)))
        advance(len(queries))
    return rankings, missing


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
        f"The {len(workload.queries):,} queries are stored points (seed {workload.seed}). A query does not count as a"
        f" hit of itself: {workload.k + 1} hits are requested and it is dropped, or the last hit if it is not among"
        " them. An exact search scans all points.",
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
    first: StoreInfo, store: Store, info: StoreInfo, ids: list[str], queries: list[str], vectors: Vector
) -> None:
    problem = f"{first.url} and {info.url} do not hold the same points of {first.collection}"
    if info.model.sha256 != first.model.sha256:
        raise UsageError(f"{problem}: models {first.model.sha256[:12]} and {info.model.sha256[:12]}")
    if info.count != first.count:
        raise UsageError(f"{problem}: {first.count:,} and {info.count:,} points. Ingest into both in one run.")
    different = set(ids).symmetric_difference(store.matrix()[0])
    if different:
        raise UsageError(f"{problem}: {len(different):,} ids are in one store only, such as {min(different)}")
    for query, vector, other in zip(queries, vectors, store.vectors(queries), strict=True):
        delta = np.inf if other is None else float(np.abs(other - vector).max())
        if not delta <= EPSILON:
            raise UsageError(f"{problem}: the vectors of {query} differ by up to {delta:.2g}")

"""What is measured: one collection, open in several stores, and the pictures of it that are asked for."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np

from cbir.errors import CbirError, UsageError
from cbir.filters.conditions import Filter
from cbir.progress import Advance
from cbir.records import Vector
from cbir.settings import Settings
from cbir.stores.base import SearchParams, Store, StoreInfo
from cbir.stores.registry import connect, open_store
from cbir.text import redacted

from .ground_truth import Truth, answer, copies
from .metrics import Query, Summary, summarise
from .ranking import EPSILON, Ranking, recall
from .stores import identity

BATCH = 16
ORDINARY, EXACT = "ordinary", "exact"
MODES = (ORDINARY, EXACT)


@dataclass(frozen=True)
class Workload:
    """One collection in several stores that hold the same points, the queries and the exact answers.

    Attributes:
        infos: What each store said of itself when the measurement began.
        copies: Points whose vector is exactly that of another.
        where: What every hit has to hold to.
    """

    collection: str
    stores: Sequence[Store]
    infos: Sequence[StoreInfo]
    queries: Sequence[str]
    vectors: Vector
    truth: Truth
    copies: int
    seed: int
    where: Filter = ()

    @property
    def k(self) -> int:
        """Hits per query."""
        return self.truth.k


@dataclass(frozen=True)
class Answers:
    """What one store said to all queries in one mode, the query itself left out.

    Attributes:
        self_missing: Queries that were not among their own k + 1 best hits.
    """

    rankings: list[Ranking]
    self_missing: int
    keys: dict[str, str]


@contextmanager
def open_workload(
    urls: Sequence[str] | None, collection: str | None, k: int, queries: int, seed: int, settings: Settings
) -> Iterator[Workload]:
    """Open a collection in the named stores, sample queries from its points and answer them exactly.

    Raises:
        UsageError: A store is named twice, or they have no collection in common, or not the same points in it.
    """
    urls = urls or settings.store_urls
    if len(set(map(identity, urls))) < len(urls):
        raise UsageError(f"the same store twice: {', '.join(map(redacted, urls))}")
    name = collection or common_collection(urls, settings)
    with ExitStack() as stack:
        stores = []
        for url in urls:
            store = open_store(url, name, settings)
            stack.callback(store.close)
            stores.append(store)
        yield workload_of(stores, k, queries, seed)


def workload_of(stores: Sequence[Store], k: int, queries: int, seed: int) -> Workload:
    """Return the workload that open stores make; the same queries for the same points and seed.

    Raises:
        UsageError: They do not hold the same points, or fewer than two.
    """
    ids, vectors = stores[0].matrix()
    infos = [store.info for store in stores]
    name = infos[0].collection
    if len(ids) < 2:
        raise UsageError(f"collection {name} has {len(ids)} points; measuring needs at least two")
    by_id = np.argsort(ids)
    chosen = by_id[np.sort(np.random.default_rng(seed).permutation(len(ids))[:queries])]
    asked = [ids[at] for at in chosen]
    for store, info in zip(stores[1:], infos[1:], strict=True):
        _require_same_points(infos[0], store, info, ids, asked, vectors[chosen])
    truth = answer(ids, vectors, chosen, min(k, len(ids) - 1))
    return Workload(name, stores, infos, asked, vectors[chosen], truth, copies(vectors), seed)


def common_collection(urls: Sequence[str], settings: Settings) -> str:
    """Return the collection published last (by the first store's order) among those that all stores have."""
    names = {url: connect(url, settings).names() for url in urls}
    for name in names[urls[0]]:
        if all(name in others for others in names.values()):
            return name
    has = "; ".join(f"{redacted(url)} has {', '.join(there) or 'none'}" for url, there in names.items())
    raise UsageError(f"no collection is in every store: {has}")


def ask(workload: Workload, store: Store, mode: str, advance: Advance, effort: int | None = None) -> Answers:
    """Return a store's answers to all queries, the query itself left out; `effort` is the `ef` of `SearchParams`.

    Where a query is not among its k + 1 hits (exact copies of it came first, or the graph did not find it) the last
    hit is dropped instead.

    Raises:
        CbirError: The store returned a point twice, or one that the collection does not have or the filter leaves out.
    """
    rankings: list[Ranking] = []
    missing = 0
    keys: dict[str, str] = {}
    for start in range(0, len(workload.queries), BATCH):
        asked = workload.queries[start : start + BATCH]
        vectors = workload.vectors[start : start + BATCH]
        params = SearchParams(effort, exact=mode == EXACT)
        found = store.search(vectors, workload.k + 1, params=params, filter=workload.where)
        for query, hits in zip(asked, found, strict=True):
            ids = {hit.id for hit in hits}
            if len(ids) < len(hits) or not ids <= workload.truth.position.keys():
                asked_for = "that was filtered out" if workload.where else "that it does not have"
                raise CbirError(f"{store.info.url} returned a point twice, or one {asked_for}, for {query}")
            keys.update((hit.id, hit.key) for hit in hits)
            missing += query not in ids
            kept = [hit for hit in hits if hit.id != query][: workload.k]
            rankings.append(Ranking(tuple(hit.id for hit in kept), tuple(hit.score for hit in kept)))
        advance(len(asked))
    return Answers(rankings, missing, keys)


def recalls_of(workload: Workload, rankings: Sequence[Ranking]) -> list[float]:
    """Return the recall of each query's ranking, against the exact answer."""
    truth = workload.truth
    return [
        recall(truth.scores(number, ranking.ids), float(truth.threshold[number]), truth.k)
        for number, ranking in enumerate(rankings)
    ]


def measure_recall(workload: Workload, at: int, advance: Advance, effort: int | None = None) -> Summary:
    """Return the recall of the ordinary searches of the store number `at`; warms the store up."""
    answers = ask(workload, workload.stores[at], ORDINARY, advance, effort)
    queries = [Query(one, answers.keys.get(one)) for one in workload.queries]
    return summarise(recalls_of(workload, answers.rankings), queries)


def how(info: StoreInfo, mode: str) -> str:
    """Return how a store searches: "graph (36,906 of 36,906 points indexed, ef=128)", "lists (nprobe=16)", "scan"."""
    if mode == EXACT or info.access == "scan":
        return "scan"
    if info.access == "ivf":
        return f"lists (nprobe={info.options['nprobe']})"
    ef = f", ef={info.options['ef']}" if "ef" in info.options else ""
    return f"{info.access} ({info.indexed:,} of {info.count:,} points indexed{ef})"


def notes(workload: Workload) -> list[str]:
    """Return what a reader has to know of the figures, in plain words."""
    said = [
        f"The {len(workload.queries):,} queries are stored points (seed {workload.seed}); a query is no hit of itself:"
        f" {workload.k + 1} hits are asked for and it is dropped, or the last hit where it is not among them. An exact"
        " search is a scan of all points.",
        f"Scores within {EPSILON:g} of each other count as equal. {int(workload.truth.tied.sum()):,} queries have such"
        f" a tie at place {workload.k}; {workload.copies:,} points are exact copies of another.",
    ]
    for info in workload.infos:
        if info.access == "scan":
            said.append(
                f"WARNING: {info.url} scans in its ordinary mode, so agreement proves nothing about a graph. Qdrant"
                " scans where a segment has less than about 10 MB of vectors."
            )
        elif info.indexed < info.count:
            said.append(
                f"WARNING: {info.url} has {info.indexed:,} of {info.count:,} points in its {info.access}; it scans the"
                " others."
            )
    return said


def _require_same_points(
    first: StoreInfo, store: Store, info: StoreInfo, ids: list[str], asked: list[str], vectors: Vector
) -> None:
    where = f"{first.url} and {info.url} do not hold the same points of {first.collection}"
    if info.model.sha256 != first.model.sha256:
        raise UsageError(f"{where}: models {first.model.sha256[:12]} and {info.model.sha256[:12]}")
    if info.count != first.count:
        raise UsageError(f"{where}: {first.count:,} and {info.count:,} points; ingest into both in one run")
    strangers = set(ids).symmetric_difference(store.matrix()[0])
    if strangers:
        raise UsageError(f"{where}: {len(strangers):,} ids are in one only, {min(strangers)} for one")
    for one, vector in zip(asked, vectors, strict=True):
        (theirs,) = store.vectors([one])
        delta = np.inf if theirs is None else float(np.abs(theirs - vector).max())
        if not delta <= EPSILON:
            raise UsageError(f"{where}: the vectors of {one} differ by up to {delta:.2g}")

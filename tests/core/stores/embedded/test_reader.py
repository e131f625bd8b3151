"""Embedded collections open for reading: what `nprobe` and `oversampling` do, and what outlives a new generation.

Few lists or candidates miss neighbours, enough of them find the exact ones.
"""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cbir.bench.core.synthetic import clustered

from cbir.filters.conditions import Filter
from cbir.filters.parser import parse_filter
from cbir.index.vector_log import VectorLog
from cbir.progress import silent
from cbir.records import Hit
from cbir.settings import Settings
from cbir.stores.base import SearchParams, Store
from cbir.stores.embedded import reader
from cbir.stores.engines import ENGINES
from cbir.stores.registry import connect, open_store
from tests.support.building import both, build, builder_for, merge, points_of, unit_vectors

COUNT, LISTS, K = 600, 16, 10


VECTORS = unit_vectors(COUNT, dimension=64)


QUERIES = unit_vectors(20, 1, dimension=64)


EXACT = SearchParams(exact=True)


CLASS = parse_filter("label=class 1")


URLS = {
    "ivf": f"faiss:{{}}/ivf?index=IVF{LISTS},Flat&nprobe=1",
    "refined": "faiss:{}/refined?index=RaBitQ,RFlat&oversampling=1",
    "refined-pq": "faiss:{}/refined-pq?index=PQ16x4,RFlat&oversampling=1",
    "refined-ivf": f"faiss:{{}}/refined-ivf?index=IVF{LISTS},PQ16x4,RFlat&nprobe=1&oversampling=1",
    "refined-graph": "faiss:{}/refined-graph?index=HNSW16_PQ16x4,RFlat&oversampling=1&ef=600",
    "graph-pq": "faiss:{}/graph-pq?index=HNSW16_PQ16x4",
    "edge": "edge:{}?quantization=binary&oversampling=1",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("params") / "index"
    build([url.format(folder) for url in URLS.values()], VECTORS)
    return folder


def recall(store: Store, params: SearchParams, filter: Filter = ()) -> float:
    """Return the share of the exact neighbours that a search with these parameters finds."""

    def ids(found: list[list[Hit]]) -> list[set[str]]:
        return [{hit.id for hit in hits} for hits in found]

    exact = ids(store.search(QUERIES, K, params=EXACT, filter=filter))
    found = ids(store.search(QUERIES, K, params=params, filter=filter))
    return float(np.mean([len(one & other) / K for one, other in zip(exact, found, strict=True)]))


ALL_LISTS, ALL_CANDIDATES = SearchParams(nprobe=LISTS), SearchParams(oversampling=COUNT / K)


BOTH = SearchParams(nprobe=LISTS, oversampling=COUNT / K)


@pytest.mark.parametrize(
    ("kind", "few", "enough", "filter"),
    [
        *(("ivf", SearchParams(nprobe=1), ALL_LISTS, filter) for filter in ((), CLASS)),
        *(("ivf", SearchParams(ef=1), SearchParams(ef=LISTS), filter) for filter in ((), CLASS)),
        *(("ivf", SearchParams(ef=LISTS, nprobe=1), replace(ALL_LISTS, ef=1), filter) for filter in ((), CLASS)),
        *(("refined", SearchParams(oversampling=1), ALL_CANDIDATES, filter) for filter in ((), CLASS)),
        *(("refined-ivf", ALL_LISTS, BOTH, filter) for filter in ((), CLASS)),
        *(("refined-ivf", ALL_CANDIDATES, BOTH, filter) for filter in ((), CLASS)),
        *(("edge", SearchParams(oversampling=1), ALL_CANDIDATES, filter) for filter in ((), CLASS)),
        ("refined-pq", SearchParams(oversampling=1), ALL_CANDIDATES, ()),  # which a filter scans whole
        ("refined-graph", SearchParams(oversampling=1), ALL_CANDIDATES, ()),
    ],
)
def test_few_lists_or_candidates_miss_neighbours(
    root: Path, kind: str, few: SearchParams, enough: SearchParams, filter: Filter
) -> None:
    store = open_store(URLS[kind].format(root), "made", Settings())
    try:
        narrow, wide = recall(store, few, filter), recall(store, enough, filter)
        assert narrow < 0.9
        assert wide == 1
        assert recall(store, SearchParams(), filter) < 0.9, "the URL's own options count where nothing is given"
    finally:
        store.close()


@pytest.mark.parametrize("kind", ["refined-pq", "graph-pq"])
def test_codes_that_cannot_be_selected_are_scanned_whole(root: Path, kind: str) -> None:
    store = open_store(URLS[kind].format(root), "made", Settings())
    few = parse_filter("key=" + "|".join(map(str, range(50))))
    try:
        assert recall(store, SearchParams(), few) == recall(store, SearchParams(ef=200, oversampling=2), few) == 1
        assert recall(store, SearchParams()) < 0.9
    finally:
        store.close()


@pytest.mark.parametrize("engine", ["edge:{}", "faiss:{}"])
def test_payloads_are_read_for_the_hits_that_are_used(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build([engine.format(tmp_path)], VECTORS[:200])
    with closing(builder_for([engine.format(tmp_path)], VECTORS)) as writer:
        writer.write(points_of(VECTORS)[200:205])
        writer.publish(silent)
    store = open_store(engine.format(tmp_path), "made", Settings())
    reads: list[tuple[str, int]] = []
    for name, read in (("id", VectorLog.id), ("payload", VectorLog.payload)):
        monkeypatch.setattr(
            VectorLog, name, lambda log, i, name=name, read=read: reads.append((name, i)) or read(log, i)
        )
    indexed, recent = (hits[0] for hits in store.search(VECTORS[[7, 203]], 10, min_score=0.5))
    assert reads == []
    assert (indexed.key, recent.key) == ("7", "203")
    assert reads == [("payload", 7), ("payload", 3)]
    store.close()
    assert recent.id == points_of(VECTORS)[203].id


@pytest.mark.parametrize("engine", ["edge:{}", "faiss:{}", "faiss:{}/flat?index=SQbf16"])
def test_an_index_in_half_precision_has_the_scores_of_the_vectors_and_its_exact_search_is_exact(
    engine: str, tmp_path: Path
) -> None:
    """The vectors are so near to each other that 16 bits cannot tell which is nearer to a query."""
    vectors = VECTORS[:1] + 1e-4 * VECTORS[:300]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    build([engine.format(tmp_path)], vectors)
    store = open_store(engine.format(tmp_path), "made", Settings())
    assert isinstance(store, reader.EmbeddedStore)
    assert store.index.error > 0
    rough, _ = store.index.search(QUERIES, K, EXACT)
    truth = QUERIES.astype(np.float64) @ vectors.T.astype(np.float64)
    best = np.sort(truth, axis=1)[:, ::-1][:, :K]
    assert np.abs(rough - best).max() > 1e-5
    for filter, allowed in (((), np.arange(300)), (CLASS, np.arange(1, 300, 3))):
        best = np.sort(truth[:, allowed], axis=1)[:, ::-1][:, :K]
        exact, usual = (store.search(QUERIES, K, params=params, filter=filter) for params in (EXACT, SearchParams()))
        assert np.allclose([[hit.score for hit in hits] for hits in exact], best, atol=2e-7, rtol=0)
        for row, hits in zip(truth, usual, strict=True):
            assert [hit.score for hit in hits] == pytest.approx([row[int(hit.key)] for hit in hits], abs=2e-7)
    store.close()


def test_an_index_of_an_older_version_keeps_full_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such an index has no option recorded."""
    with monkeypatch.context() as patch:
        older = {kind: replace(engine, initial={}) for kind, engine in ENGINES.items()}
        patch.setattr("cbir.stores.embedded.writer.ENGINES", older)
        build(both(tmp_path), VECTORS)
    build([*both(tmp_path), f"faiss:{tmp_path}/new"], VECTORS[:300], version="2")
    errors = {}
    for url in [*both(tmp_path), f"faiss:{tmp_path}/new"]:
        with closing(open_store(url, "made", Settings())) as store:
            assert isinstance(store, reader.EmbeddedStore)
            errors[url.rpartition("/")[2]] = store.index.error > 0
    assert list(errors.values()) == [False, False, True]


def test_two_programs_may_read_one_index(tmp_path: Path) -> None:
    build(both(tmp_path), VECTORS)
    first, second = (open_store(f"edge:{tmp_path}", "made", Settings()) for _ in range(2))
    answers = [store.search(VECTORS[:1], 5) for store in (first, second)]
    assert answers[0] == answers[1]
    first.close()
    assert second.search(VECTORS[:1], 5) == answers[1]
    second.close()
    second.close()
    assert list((tmp_path / "made" / "views").iterdir()) == []


def test_an_open_store_outlives_the_generations_after_it(tmp_path: Path) -> None:
    build(both(tmp_path), VECTORS)
    stores = [open_store(url, "made", Settings()) for url in both(tmp_path)]
    answers = [store.search(VECTORS[:2], 5) for store in stores]
    for version in ("2", "3", "4"):
        build(both(tmp_path), VECTORS[:100], version=version)
        merge(tmp_path)
    assert sorted(path.name for path in (tmp_path / "made").glob("0*")) == ["000003", "000004"]
    assert [store.search(VECTORS[:2], 5) for store in stores] == answers
    assert all(None not in store.thumbnails(store.sample(3, 0)) for store in stores)
    for store in stores:
        store.close()


@pytest.mark.parametrize("engine", ["edge:{}", "faiss:{}"])
def test_a_long_tail_is_searched_by_codes_unless_the_search_is_exact(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hits have the scores of the vectors themselves. Points are added, replaced and deleted in the tail."""
    monkeypatch.setattr(reader, "_SCANNED", 1000)
    url, first, other = engine.format(tmp_path), clustered(900, 256, 1), clustered(900, 256, 3)
    queries = clustered(12, 256, 2)
    build([url], first[:100])
    catalog = connect(url, Settings())
    store = catalog.open()
    for vectors, version, deleted in (
        (first[:500], "1", []),
        (first, "1", []),
        (other, "2", []),
        (first, "3", [3, 450]),
    ):
        stop = len(vectors)
        build([url], vectors, version=version)
        with closing(builder_for([url], vectors)) as writer:
            writer.delete([point.id for number, point in enumerate(points_of(vectors)) if number in deleted])
            writer.publish(silent)
        store = catalog.open("made", store)
        assert store.info.tail == stop - len(deleted)
        assert store._codes is None or store._codes.rows is not store.log.tail.rows
        kept = np.setdiff1d(np.arange(stop), deleted)
        truth = queries @ vectors[kept].T
        best = np.sort(truth, axis=1)[:, ::-1][:, :K]
        for params in (EXACT, SearchParams()):
            found = store.search(queries, K, params=params)
            scores = np.array([[hit.score for hit in hits] for hits in found])
            assert np.allclose(scores, best, atol=1e-6) if params.exact else np.mean(scores >= best - 1e-6) > 0.99
            for query, hits in zip(queries, found, strict=True):
                assert [hit.score for hit in hits] == pytest.approx([query @ vectors[int(hit.key)] for hit in hits])
        assert store._codes is not None, "no codes were used"
        assert store._codes.rows is store.log.tail.rows
    store.close()

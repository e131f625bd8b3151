"""What `nprobe` and `oversampling` do: few lists or candidates miss neighbours, enough of them find the exact ones."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from qdrant_client.http import models

from cbir.filters.conditions import Filter
from cbir.filters.parser import parse_filter
from cbir.records import Hit
from cbir.settings import Settings
from cbir.stores.base import SearchParams, Store
from cbir.stores.qdrant.store import QdrantStore
from cbir.stores.registry import open_store
from tests.support.building import build, plan_for, qdrant_writer, unit_vectors
from tests.support.qdrant_server import qdrant_server

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


def test_a_server_is_told_how_widely_to_search(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[models.SearchParams] = []

    class Recorder:
        def query_batch_points(
            self, collection: str, requests: list[models.QueryRequest]
        ) -> list[models.QueryResponse]:
            sent.extend(request.params for request in requests if request.params)
            return [models.QueryResponse(points=[]) for _ in requests]

    with qdrant_server() as server:
        qdrant_writer(server.url, plan_for(VECTORS), Settings())
        store = open_store(f"{server.url}?ef=50&oversampling=3", "made", Settings())
        assert isinstance(store, QdrantStore)
        monkeypatch.setattr(store._server, "ask", lambda call: call(Recorder()))
        for params in (SearchParams(), SearchParams(ef=7, oversampling=5), EXACT):
            store.search(QUERIES[:1], K, params=params)
    told = [(one.hnsw_ef, one.exact, one.quantization.oversampling) for one in sent if one.quantization]
    assert told[:2] == [(50, False, 3.0), (7, False, 5.0)]
    assert (told[2][:2], sent[2].quantization and sent[2].quantization.ignore) == ((None, True), True)

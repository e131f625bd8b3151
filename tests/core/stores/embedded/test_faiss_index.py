"""FAISS indexes by factory string."""

from pathlib import Path

import numpy as np
import pytest

from cbir.errors import UsageError
from cbir.filters.conditions import matches
from cbir.filters.parser import parse_filter
from cbir.index.log_format import segment_path
from cbir.index.log_writer import LogWriter
from cbir.index.vector_log import VectorLog
from cbir.stores.base import SearchParams
from cbir.stores.embedded import faiss_index
from tests.support.building import points_of, unit_vectors
from tests.support.contract import COUNT, VECTORS, scan, written_log


@pytest.mark.parametrize(
    "factory",
    [
        "Flat",
        "SQ8",
        "HNSW16_SQ8",
        "HNSW16_PQ4x4,RFlat",
        "IVF4,SQ8",
        "OPQ4,HNSW16",
        "IVF4,PQ4x4fs,RFlat",
        "IVF4,RaBitQ,RFlat",
        "SQ8,RFlat",
        "PQ4x4,RFlat",
        "PQ4x4fs,RFlat",
        "RR8,Flat",
    ],
)
def test_a_factory_string_filters_and_finds(factory: str, tmp_path: Path) -> None:
    log = VectorLog(written_log(tmp_path), VECTORS.shape[1])
    options = {"index": factory, "ef_construct": "100", "ef": "128", "nprobe": "4", "oversampling": "100"}
    faiss_index.build(tmp_path / "index", log, options, lambda done: None)
    index = faiss_index.open_index(tmp_path / "index", log, options)
    for filter in ((), parse_filter("label=Bags"), parse_filter("year=2011 and new=true and price<2")):
        for query in unit_vectors(5, 1):
            best = scan(query, filter)[:10]
            for exact in (False, True):
                scores, positions = index.search(query[None], 10, SearchParams(ef=COUNT, exact=exact), filter)
                slack = 1e-4 if exact or "SQ8" not in factory else 0.05
                found = positions[0] >= 0
                assert np.allclose(np.sort(-scores[0][found]), [score for score, _ in best], atol=slack)
                assert all(matches(log.payload(position), filter) for position in positions[0][found].tolist())


@pytest.mark.parametrize("factory", ["HNSW16", "IVF8,Flat"])
def test_points_that_match_are_found_although_others_are_closer(factory: str, tmp_path: Path) -> None:
    """A third of the points match, and all of them are on the other side of the sphere."""
    vectors = unit_vectors(600)
    query = vectors[0]
    vectors[np.arange(600) % 3 != 1] += 3 * query
    vectors[1::3] -= 3 * query
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    writer = LogWriter(segment_path(tmp_path / "log", 1), vectors.shape[1])
    writer.append(points_of(vectors))
    writer.close()
    log = VectorLog(tmp_path / "log", vectors.shape[1])
    options = {"index": factory, "ef_construct": "100", "ef": "16", "nprobe": "1", "oversampling": "1"}
    faiss_index.build(tmp_path / "index", log, options, lambda done: None)
    index = faiss_index.open_index(tmp_path / "index", log, options)
    best = np.sort(vectors[1::3] @ query)[::-1]
    for k in (10, 200, 201):
        scores, positions = index.search(query[None], k, filter=parse_filter("label=class 1"))
        assert scores[positions >= 0].tolist() == pytest.approx(best[:k].tolist(), abs=1e-5)


@pytest.mark.parametrize("factory", ["HNSW1", "HNSW513", "IVF0,Flat", "IVF16777217,Flat", "HNSW16,IVF0"])
def test_a_number_that_crashes_faiss_is_refused(factory: str) -> None:
    with pytest.raises(UsageError, match=r"the number behind (HNSW is 2 to 512|IVF is 1 to 16,777,216)$"):
        faiss_index.check_options({"index": factory}, 8)


@pytest.mark.parametrize("factory", ["HNSW2", "HNSW512", "IVF1,Flat"])
def test_the_smallest_and_largest_numbers_are_accepted(factory: str) -> None:
    faiss_index.check_options({"index": factory}, 8)


@pytest.mark.parametrize("factory", ["HNSW16", "HNSW16_SQfp16", "IVF4,SQfp16", "Flat"])
def test_an_exact_search_needs_no_copy_of_the_vectors(
    factory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = VectorLog(written_log(tmp_path), VECTORS.shape[1])
    options = {"index": factory, "ef_construct": "100", "ef": "16", "nprobe": "1", "oversampling": "1"}
    faiss_index.build(tmp_path / "index", log, options, lambda done: None)
    index = faiss_index.open_index(tmp_path / "index", log, options)
    monkeypatch.setattr(VectorLog, "vectors", None)
    for filter in ((), parse_filter("label=Bags")):
        scores, _ = index.search(VECTORS[:1], 10, SearchParams(exact=True), filter)
        assert np.allclose(-np.sort(-scores[0]), [-score for score, _ in scan(VECTORS[0], filter)[:10]], atol=1e-3)

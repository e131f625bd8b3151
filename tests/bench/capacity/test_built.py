"""Large indexes that are built to check a plan, at a size that takes no time."""

from pathlib import Path

import numpy as np
import pytest
from cbir.bench.capacity import built
from cbir.bench.capacity.built import BuiltIndex, measure_built
from cbir.bench.capacity.probe import write_log

from cbir.errors import CbirError

COUNT, DIMENSION = 3000, 32


def measured(urls: list[str], recall: float, minutes: float = 20) -> list[BuiltIndex]:
    steps: list[int] = []
    log, found = measure_built(urls, COUNT, DIMENSION, recall, minutes, steps.append)
    assert log.points == COUNT and log.minutes > 0 and log.open_seconds > 0
    assert log.gigabytes * 1e9 > COUNT * DIMENSION * 4
    assert steps == [1] * (1 + len(urls))
    return found


def test_indexes_are_built_and_searched_at_the_recall() -> None:
    names = ["faiss HNSW8", "faiss Flat", "faiss IVF64,PQ2x4"]
    urls = ["faiss:.?index=HNSW8", "faiss:.?index=Flat", "faiss:.?index=IVF64,PQ2x4"]
    found = measured(urls, 0.9)
    assert [(index.name, index.points, index.missing) for index in found] == [(name, COUNT, "") for name in names]
    for index in found:
        assert index.build_minutes and index.core_minutes and index.open_seconds and index.search_ms
        assert index.build_gigabytes and 0.05 < index.build_gigabytes < 2
    graph, flat, codes = found
    assert graph.recall and graph.recall >= 0.9 and graph.ef and graph.ef < 128
    assert (flat.recall, flat.ef) == (1.0, None)
    assert codes.recall and codes.recall < 0.9 and codes.ef, "codes of a byte cannot find them"
    assert graph.gigabytes and flat.gigabytes and codes.gigabytes
    assert codes.gigabytes < flat.gigabytes < graph.gigabytes


def test_an_index_that_takes_too_long_or_fails_is_named() -> None:
    late, failing = measured(["edge:.", "faiss:.?index=IVF4096,Flat"], 0.9, minutes=1e-6)
    assert "took more than" in late.missing and late.recall is late.search_ms is None
    assert failing.missing


def test_the_nearest_vectors_are_those_of_a_product_with_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(built, "_CHUNK", 1499)  # the last chunk has two
    log = write_log(tmp_path / "log", COUNT, DIMENSION)
    queries = built.clustered(5, DIMENSION, 7)
    best = np.argsort(-(queries @ log.vectors().T), axis=1)[:, :10]
    assert built._nearest(log, queries) == [set(row) for row in best.tolist()]


def test_a_failed_build_has_its_reason(tmp_path: Path) -> None:
    write_log(tmp_path / "log", 10, DIMENSION)
    with pytest.raises(CbirError, match="cannot train IVF64,Flat on 10 points"):
        built._build("faiss:.?index=IVF64,Flat", tmp_path / "i", tmp_path / "log", DIMENSION, 1)

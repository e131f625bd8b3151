"""The recall of quantized indexes, which is said when they are built or filled."""

import logging
import re
from dataclasses import replace
from pathlib import Path

import pytest

from cbir.records import Hit, Vector
from cbir.settings import Settings
from cbir.stores.base import SearchParams
from cbir.stores.recall import is_quantized, report_recall, sample_recall
from tests.support.building import build, plan_for, points_of, qdrant_writer, unit_vectors
from tests.support.qdrant_points import publish
from tests.support.qdrant_server import qdrant_server

VECTORS = unit_vectors(600, dimension=16)


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, float]]:
    """Return (level, index, recall) of each message."""
    pattern = re.compile(r"(?:warning: )?(.*) finds ([\d.]+) of the 10 nearest images, in a sample of 50")
    found = [(record, pattern.match(record.getMessage())) for record in caplog.records]
    return [(record.levelname, match[1], float(match[2])) for record, match in found if match]


@pytest.mark.parametrize(("index", "level"), [("PQ2x4", "WARNING"), ("HNSW16_SQ8", "INFO"), ("Flat", "")])
def test_a_built_index(index: str, level: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "cbir")
    build([f"faiss:{tmp_path}/i?index={index}"], VECTORS)
    found = said(caplog)
    assert [found_level for found_level, _, _ in found] == ([level] if level else [])
    assert all((recall < 0.9) == (level == "WARNING") for _, _, recall in found)


def test_a_filled_server(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "cbir")
    with qdrant_server() as server:
        for quantization in ("binary", "scalar"):
            plan = replace(plan_for(VECTORS, quantization), dataset=f"{quantization}-set")
            writer = qdrant_writer(f"{server.url}?quantization={quantization}", plan, Settings())
            writer.write(points_of(VECTORS))
            publish(writer)
        plain = qdrant_writer(server.url, replace(plan_for(VECTORS, "plain"), dataset="plain-set"), Settings())
        plain.write(points_of(VECTORS))
        publish(plain)
    (low, binary, low_recall), (good, scalar, recall) = said(caplog)
    assert (low, good, recall) == ("WARNING", "INFO", 1.0)
    assert 0.05 < low_recall < 0.9
    assert binary.endswith(" binary")
    assert scalar.endswith(" scalar")


def test_a_recall_that_cannot_be_measured_fails_no_ingest(caplog: pytest.LogCaptureFixture) -> None:
    with qdrant_server() as server:
        plan = plan_for(VECTORS, "scalar")
        settings = Settings(server_retry_seconds=0.1)
        writer = qdrant_writer(f"{server.url}?quantization=scalar", plan, settings)
        writer.write(points_of(VECTORS))
        server.inject("query", times=-1, status=503)
        publish(writer)
        assert not writer.needs_publishing
    assert "could not be measured" in caplog.text


def test_a_point_is_no_neighbour_of_itself() -> None:
    def search(vectors: Vector, k: int, params: SearchParams) -> list[list[Hit]]:
        assert k == 11, "ten neighbours, and the point itself"
        return [[Hit(str(i if params.exact else 2 * i), {}, 1.0) for i in range(k)]]

    assert sample_recall(search, [("0", VECTORS[0]), ("0", VECTORS[1])]) == 0.5  # 2, 4, 6, 8 and 10 of 1 to 10
    assert sample_recall(search, []) == 1.0


@pytest.mark.parametrize(("recall", "level"), [(0.899, "WARNING"), (0.9, "INFO")])
def test_a_low_recall_is_a_warning(recall: float, level: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "cbir")
    report_recall("i", recall)
    assert said(caplog) == [(level, "i", 0.9)]


def test_what_is_quantized() -> None:
    quantized = [{"quantization": "binary"}, {"index": "IVF8,PQ4x4"}, {"index": "HNSW16_SQ8"}]
    assert all(map(is_quantized, quantized))
    assert not any(map(is_quantized, [{}, {"quantization": "none"}, {"index": "HNSW16"}, {"index": "IVF8,Flat"}]))

"""What `cbir-bench plan` measures on this machine."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cbir.bench.capacity import probe
from cbir.bench.capacity.probe import probe_images, probe_indexes, write_log
from cbir.bench.core.stores import engine_of
from cbir.bench.core.synthetic import made_up_images

from cbir.errors import UsageError
from cbir.images.decode import thumbnail
from cbir.models.embedder import Embedder
from cbir.settings import Settings


def test_images_are_measured(embedder: Embedder) -> None:
    items = made_up_images(8, 64, 48)
    broken = replace(items[0], read=lambda: b"no image")
    costs = probe_images([*items, broken], "here", embedder, Settings())
    files = [item.read() for item in items]
    thumbnails = [len(thumbnail(embedder.decode(data, 100), data)) for data in files]
    assert (costs.source, costs.count, costs.thumbnail_bytes) == ("here", 8, np.mean(thumbnails))
    assert 0 < costs.core_seconds < 10
    assert 64 < costs.payload_bytes < 200, "a key, a label and a SHA-256"


def test_images_that_cannot_be_decoded_are_no_measurement(embedder: Embedder) -> None:
    broken = replace(made_up_images(1, 64, 48)[0], read=lambda: b"no image")
    with pytest.raises(UsageError, match="none of its first 1 images"):
        probe_images([broken], "here", embedder, Settings())


def test_every_index_is_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "PROBE_BYTES", 2000 * 4 * 32)
    steps: list[int] = []
    urls = ["faiss:.?index=HNSW8", "faiss:.?index=Flat", "edge:."]
    graph, flat, edge = probe_indexes(urls, 32, steps.append)
    assert steps == [1, 1, 1]
    assert [(costs.name, costs.points) for costs in (graph, flat, edge)] == [
        ("faiss HNSW8", 2000),
        ("faiss Flat", 2000),
        ("edge", 2000),
    ]
    assert (graph.access, flat.access, edge.access) == ("graph", "scan", "scan")
    assert 2000 * 4 * 32 <= flat.disk_bytes < graph.disk_bytes
    assert graph.core_seconds > flat.core_seconds > 0


def test_the_log_is_a_real_one(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", 2500, 32)
    assert len(log) == 2500
    assert log.payload(7) == {"label": "made up", "key": "7"}


def test_engines_are_named_with_their_options() -> None:
    engines = [engine_of(url, 64) for url in ("edge:.?m=32", "faiss:.?index=Flat&ef=9", "faiss:.")]
    assert [name for name, _, _ in engines] == ["edge m=32", "faiss Flat ef=9", "faiss HNSW16_SQfp16"]

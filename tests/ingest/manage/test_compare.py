"""How two collections differ."""

from pathlib import Path

import numpy as np
import pytest
from cbir.ingest.manage.compare import compare

from cbir.progress import silent
from cbir.settings import Settings
from cbir.stores.registry import connect
from tests.support.building import both, builder_for, points_of
from tests.support.damaged_index import flip
from tests.support.ingesting import run
from tests.support.made_index import VECTORS
from tests.support.qdrant_server import qdrant_server


def test_two_collections_are_compared_by_their_pictures(root: Path) -> None:
    builder = builder_for(both(root), VECTORS, "other")
    builder.write([*points_of(VECTORS)[:100], *points_of(np.roll(VECTORS, 1, axis=0), version="2")[100:110]])
    builder.publish(silent)
    builder.close()
    flip(root / "made" / "000001" / "faiss" / "index.faiss")
    catalog = connect(f"faiss:{root}/missing", Settings())
    found = compare(catalog, "made", catalog, "other")
    assert found.same == 100
    assert found.changed == [str(number) for number in range(100, 110)]
    assert (len(found.only_first), found.only_second) == (190, [])
    assert found.lowest_cosine == pytest.approx(1, abs=1e-5)
    told = run("collections", "compare", "made", "other", "--store", f"faiss:{root}/faiss").stdout
    assert "100 images are in both and the same" in told
    assert "only in made: 190" in told


def test_a_collection_is_compared_with_its_copy_on_a_server(root: Path) -> None:
    with qdrant_server() as server:
        run("copy", f"edge:{root}", server.url)
        for first, second in ((f"edge:{root}", server.url), (server.url, f"edge:{root}")):
            shown = run("collections", "compare", "made", "set", "--store", first, "--with", second).stdout
            assert "300 images are in both and the same" in shown
            assert "lowest cosine of their vectors: 1.000000" in shown

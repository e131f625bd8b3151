"""The embedded Qdrant engine: quantization, and the private views of its readers."""

from pathlib import Path

import numpy as np
import pytest

from cbir.index.vector_log import VectorLog
from cbir.stores.base import SearchParams
from cbir.stores.embedded import edge
from cbir.stores.engines import ENGINES
from tests.support.building import unit_vectors
from tests.support.contract import VECTORS, scan, written_log


@pytest.mark.parametrize("quantization", ["none", "scalar", "product", "binary", "turbo"])
def test_quantized_vectors_are_searched_and_the_whole_ones_kept(quantization: str, tmp_path: Path) -> None:
    log = VectorLog(written_log(tmp_path), VECTORS.shape[1])
    options = {**ENGINES["edge"].options, "quantization": quantization, "oversampling": "40"}
    edge.build(tmp_path / "made" / "1" / "edge", log, options, lambda done: None)
    index = edge.open_index(tmp_path / "made" / "1" / "edge", log, options)
    for query in unit_vectors(5, 4):
        best = [-score for score, _ in scan(query, ())[:10]]
        for exact in (False, True):
            (found,) = index.search(query[None], 10, SearchParams(exact=exact))
            assert np.allclose(sorted((hit.score for hit in found), reverse=True), best, atol=1e-4)
    index.close()

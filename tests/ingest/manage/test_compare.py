"""How two collections differ."""

from pathlib import Path

import numpy as np
import pytest
from cbir.ingest.manage.compare import compare

from cbir.progress import silent
from tests.support.building import both, builder_for, points_of
from tests.support.ingesting import run
from tests.support.made_index import VECTORS, opened


def test_two_collections_are_compared_by_their_pictures(root: Path) -> None:
    builder = builder_for(both(root), VECTORS, "other")
    builder.write([*points_of(VECTORS)[:100], *points_of(np.roll(VECTORS, 1, axis=0), version="2")[100:110]])
    builder.publish(silent)
    builder.close()
    one, two = opened(root, "made"), opened(root, "other")
    found = compare(one, two)
    assert found.same == 100
    assert found.changed == [str(number) for number in range(100, 110)]
    assert (len(found.only_first), found.only_second) == (190, [])
    assert found.lowest_cosine == pytest.approx(1, abs=1e-5)
    one.close()
    two.close()
    told = run("collections", "compare", "made", "other", "--store", f"edge:{root}").stdout
    assert "100 images are in both and the same" in told
    assert "only in made: 190" in told

"""An index that grows while its log is written is the same as one built at the end."""

import multiprocessing
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from cbir.index.log_format import segment_path
from cbir.index.log_writer import LogWriter
from cbir.index.vector_log import VectorLog
from cbir.stores.base import SearchParams
from cbir.stores.embedded import growing
from cbir.stores.embedded.growing import GrowingBuild
from cbir.stores.engines import ENGINES
from tests.support.building import points_of, unit_vectors

VECTORS = unit_vectors(400)
POINTS = points_of(VECTORS)
PARTS = 4


def options_of(kind: str, **options: str) -> dict[str, str]:
    return {**ENGINES[kind].options, **options}


class Growing:
    """An index that grows in a folder, and the writer of its log."""

    def __init__(self, root: Path, kind: str, options: dict[str, str]):
        self.kind, self.options, self.log = kind, options, root / "log"
        self.folder, self.growing = root / "made" / "1" / kind, root / "made" / "growing" / kind
        self.writer = LogWriter(segment_path(self.log, 1), VECTORS.shape[1])
        self.build = GrowingBuild(kind, self.growing, [self.log], VECTORS.shape[1], options)
        self.advances: list[int] = []

    def finish(self) -> None:
        self.writer.close()
        self.folder.parent.mkdir(exist_ok=True)
        assert self.build.finish(self.folder, self.log, self.advances.append) is None

    def require(self, expected: Sequence[int]) -> None:
        """Raise `AssertionError` unless the index finds these points and no others."""
        log = VectorLog(self.log, VECTORS.shape[1])
        index = ENGINES[self.kind].load().open_index(self.folder, log, self.options)
        for exact in (False, True):
            (scores,), (positions,) = index.search(VECTORS[:1], len(POINTS), SearchParams(exact=exact, ef=1000))
            found = np.flatnonzero(positions >= 0)
            assert {log.id(i) for i in positions[found].tolist()} == {POINTS[number].id for number in expected}
            assert np.allclose(scores[found], log.vectors()[positions[found]] @ VECTORS[0], atol=1e-5)
        index.close()


@pytest.fixture(params=["edge", "faiss"])
def grown(request: pytest.FixtureRequest, tmp_path: Path) -> Growing:
    """An index to which all points were added, in several parts."""
    (tmp_path / "made" / "growing" / request.param).mkdir(parents=True)
    (tmp_path / "made" / "growing" / request.param / "left by a kill").touch()
    grown = Growing(tmp_path, request.param, options_of(request.param))
    for part in range(PARTS):
        grown.writer.append(POINTS[part::PARTS])
    return grown


def test_an_index_that_grew_is_complete(grown: Growing) -> None:
    grown.finish()
    assert grown.advances == [len(POINTS)], "it was built anew"
    grown.require(range(len(POINTS)))
    assert not (grown.folder / "left by a kill").exists()


def test_it_is_built_anew_if_points_were_replaced_or_deleted(grown: Growing) -> None:
    grown.writer.append(points_of(VECTORS[:7] * -1, "2"))
    grown.writer.delete([POINTS[9].id])
    grown.finish()
    assert len(grown.advances) > 1
    grown.require([number for number in range(len(POINTS)) if number != 9])


def test_it_is_built_anew_if_its_process_was_killed(grown: Growing) -> None:
    for child in multiprocessing.active_children():
        child.kill()
    grown.finish()
    grown.require(range(len(POINTS)))


def test_it_is_built_at_the_end_if_it_has_to_be_trained(tmp_path: Path) -> None:
    trained = Growing(tmp_path, "faiss", options_of("faiss", index="IVF2,Flat", nprobe="2"))
    trained.writer.append(POINTS[:200])
    trained.writer.append(POINTS[200:])
    trained.finish()
    assert len(trained.advances) == 2
    trained.require(range(len(POINTS)))


def test_nothing_is_left_of_a_build_that_is_stopped(grown: Growing) -> None:
    grown.build.stop()
    assert not grown.growing.exists()
    assert not multiprocessing.active_children()
    grown.writer.close()


def test_vectors_that_fill_the_memory_are_not_kept_while_images_are_embedded() -> None:
    growing._require_memory(1000)
    with pytest.raises(growing.CbirError, match="of the memory"):
        growing._require_memory(2**50)

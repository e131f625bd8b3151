"""Every embedded engine offers what the registry promises of it."""

from pathlib import Path

import pytest

from cbir.errors import UsageError
from cbir.index.vector_log import VectorLog
from cbir.stores.engines import ENGINES
from tests.support.contract import COUNT, VECTORS, written_log


@pytest.mark.parametrize("kind", ENGINES)
def test_an_engine_is_built_and_searched_with_its_defaults(kind: str, tmp_path: Path) -> None:
    engine = ENGINES[kind]
    module, log, done = engine.load(), VectorLog(written_log(tmp_path), VECTORS.shape[1]), list[int]()
    module.check_options(engine.options, log.dimension)
    module.build(tmp_path / "made" / "1" / kind, log, engine.options, done.append)
    index = module.open_index(tmp_path / "made" / "1" / kind, log, engine.options)
    assert (sum(done), index.access in ("graph", "scan")) == (COUNT, True)
    scores, positions = index.search(VECTORS[:5], 1)
    assert scores[:, 0] == pytest.approx(1, abs=1e-5)
    assert positions[:, 0].tolist() == list(range(5))
    assert index.raw(VECTORS[0], 3)() is not None
    index.close()


@pytest.mark.parametrize(("kind", "option"), [("edge", {"ef_construct": "3"}), ("faiss", {"index": "HNSW1"})])
def test_options_that_crash_a_library_are_refused(kind: str, option: dict[str, str]) -> None:
    engine = ENGINES[kind]
    with pytest.raises(UsageError):
        engine.load().check_options({**engine.options, **option}, 8)


def test_build_and_search_options_are_told_apart() -> None:
    for engine in ENGINES.values():
        assert not engine.build_options.keys() & engine.search_options.keys()
        assert engine.options == {**engine.build_options, **engine.search_options}

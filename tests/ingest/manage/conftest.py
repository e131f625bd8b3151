"""Fixtures of the commands on whole collections."""

from pathlib import Path

import pytest

from tests.support.building import both, build
from tests.support.made_index import VECTORS, copy_index


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of made-up points in Edge and FAISS; tests only read it."""
    folder = tmp_path_factory.mktemp("built") / "index"
    build(both(folder), VECTORS)
    return folder


@pytest.fixture
def root(built: Path, tmp_path: Path) -> Path:
    """A copy of it, which a test may change."""
    return copy_index(built, tmp_path / "index")

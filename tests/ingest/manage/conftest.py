"""Fixtures of the commands on whole collections."""

import subprocess
from pathlib import Path

import pytest

from tests.support.building import both, build
from tests.support.made_index import VECTORS


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of made-up points in Edge and FAISS; tests only read it."""
    folder = tmp_path_factory.mktemp("built") / "index"
    build(both(folder), VECTORS)
    return folder


@pytest.fixture
def root(built: Path, tmp_path: Path) -> Path:
    """A copy of it, which a test may change."""
    subprocess.run(["/bin/cp", "-a", built, tmp_path / "index"], check=True)  # Edge's files stay sparse
    return tmp_path / "index"

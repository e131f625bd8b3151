"""A collection in several stores, and the files that `cbir-bench exchange` writes of it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cbir.settings import Settings
from cbir.stores.base import Store
from cbir.stores.registry import open_store
from tests.support.building import both, build
from tests.support.exchange import OPTIONS, VECTORS
from tests.support.running import Program


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index folder with the usual stores and one of inverted lists."""
    root = tmp_path_factory.mktemp("exchanged") / "index"
    build([*both(root), f"faiss:{root}/lists?index=IVF16,Flat"], VECTORS)
    return root


@pytest.fixture
def store(made: Path) -> Iterator[Store]:
    """The store of inverted lists, open."""
    opened = open_store(f"faiss:{made}/lists", "made", Settings())
    yield opened
    opened.close()


@pytest.fixture
def written(made: Path, tmp_path: Path, run: Program) -> tuple[Path, dict[str, Any]]:
    """The folder that the command wrote, and its result."""
    pytest.importorskip("h5py")
    stores = ("--store", f"faiss:{made}/faiss", "--store", f"faiss:{made}/lists")
    code, out, err = run("exchange", tmp_path / "out", *stores, *OPTIONS, "--ef", "1,2", "--json", tmp_path / "r.json")
    assert (code, "README.md says how" in out) == (0, True), err
    return tmp_path / "out", json.loads((tmp_path / "r.json").read_text())

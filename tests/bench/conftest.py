"""Fixtures of the bench's tests: the command line, an index with several stores, and a folder of images."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cbir.bench import command

from cbir.settings import Settings
from cbir.stores.base import Store
from cbir.stores.registry import open_store
from tests.support.bench_stores import COUNT, VECTORS, build_kinds, mixed_kinds
from tests.support.building import both
from tests.support.running import Program, runner

IMAGES = 40


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index folder with the usual stores and one of inverted lists; the points have a field `kind`."""
    root = tmp_path_factory.mktemp("made") / "index"
    build_kinds([*both(root), f"faiss:{root}/lists?index=IVF32,Flat"], VECTORS, mixed_kinds(COUNT))
    return root


@pytest.fixture
def store(made: Path) -> Iterator[Store]:
    """Its first store, open."""
    opened = open_store(both(made)[0], "made", Settings())
    yield opened
    opened.close()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    """Run `cbir-bench` in this process."""
    return runner(monkeypatch, capsys, command.main, "cbir-bench")


@pytest.fixture(scope="session")
def folder(sample_images: list[tuple[str, str | None, bytes]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 40 images and one file that is none."""
    root = tmp_path_factory.mktemp("speed") / "photos"
    root.mkdir()
    for key, _, data in sample_images[:IMAGES]:
        (root / f"{key}.png").write_bytes(data)
    (root / "broken.png").write_bytes(b"no image")
    return root

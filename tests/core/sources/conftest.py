"""Fixtures that the tests of several sources share."""

from collections.abc import Iterator
from pathlib import Path

import datasets
import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from tests.support.sources import COLOURS, jpeg
from tests.support.web_server import Site, serve

TREE = ["b.jpg", "a/2.PNG", "a/10.jpg", "a/b/c/deep.webp", "a b/ü.gif", "A/x.jpeg", "z.tif"]
OTHERS = [".hidden/x.jpg", ".x.jpg", "a/notes.txt", "a/.jpg", "jpg"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache of `datasets` is the test's own."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of four images, a text and a hidden folder."""
    root = tmp_path / "shapes"
    for name, colour in COLOURS.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(jpeg(colour))
    (root / "red" / "notes.txt").write_text("no image")
    (root / ".hidden").mkdir()
    (root / ".hidden" / "e.jpg").write_bytes(jpeg("black"))
    return root


@pytest.fixture
def table(folder: Path) -> datasets.Dataset:
    """The same four images as rows."""
    rows = {
        "image": [{"bytes": (folder / name).read_bytes(), "path": Path(name).name} for name in COLOURS],
        "colour": [name.split("/")[0] for name in COLOURS],
        "number": [1.5, float("nan"), 3.0, 4.0],
    }
    features = datasets.Features(
        {"image": datasets.Image(), "colour": datasets.Value("string"), "number": datasets.Value("float64")}
    )
    return datasets.Dataset.from_dict(rows, features=features)


@pytest.fixture
def bucket() -> Iterator[MemoryFileSystem]:
    """A bucket: fsspec's file system in memory, which a real one differs from only behind the same calls."""
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.pseudo_dirs[:] = [""]
    yield files
    files.store.clear()
    files.pseudo_dirs[:] = [""]


@pytest.fixture(params=["folder", "bucket"])
def tree(request: pytest.FixtureRequest, tmp_path: Path, bucket: MemoryFileSystem) -> str:
    """The same files as a folder and in a bucket."""
    for name in [*TREE, *OTHERS]:
        for root in (str(tmp_path / "tree"), "memory://deep/tree"):
            with fsspec.open(f"{root}/{name}", "wb", auto_mkdir=True) as file:
                file.write(name.encode())
    return str(tmp_path / "tree") if request.param == "folder" else "memory://deep/tree"


@pytest.fixture
def site() -> Iterator[Site]:
    """A web site on this machine."""
    with serve() as site:
        yield site


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder for tables, with three images in it and one outside."""
    root = tmp_path / "shop"
    (root / "img").mkdir(parents=True)
    for number, colour in enumerate(("red", "green", "blue")):
        (root / "img" / f"{number}.jpg").write_bytes(jpeg(colour))
    (tmp_path / "outside.jpg").write_bytes(jpeg("black"))
    return root

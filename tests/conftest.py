"""Fixtures that several tests share: a clean environment and one real index of real pictures."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

import cbir
from cbir.models.embedder import Embedder
from cbir.models.sealed import find_model
from cbir.pipeline.run import ingest
from cbir.settings import Settings
from cbir.sources.base import SourceOptions
from cbir.sources.registry import open_source
from cbir.stores.registry import connect_all
from tests.support.examples import SampleImages, make_example_folder

if TYPE_CHECKING:
    from playwright.sync_api import Browser

IMAGES = 300

PRECISION = "fp32"  # a self-test depends on the machine
os.environ["CBIR_PRECISION"] = PRECISION  # for fixtures of the session

hypothesis.settings.register_profile("cbir", deadline=None)  # a loaded machine is no failure
hypothesis.settings.load_profile("cbir")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--soak` runs the kill harness and the fuzzer for as long as it takes to trust them: `make soak`."""
    parser.addoption("--soak", action="store_true", help="many more kills and mutants")


@pytest.fixture(scope="session")
def soak(request: pytest.FixtureRequest) -> bool:
    """True under `--soak`."""
    return bool(request.config.getoption("--soak"))


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the settings of the person who runs it, nor leaves files in their folder."""
    for name in list(os.environ):
        if name.startswith("CBIR_") or name in ("QDRANT_URL", "QDRANT_API_KEY", "LOG_LEVEL"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CBIR_PRECISION", PRECISION)
    monkeypatch.setenv("CBIR_REPORTS", str(tmp_path.with_name(f"{tmp_path.name}-reports")))
    monkeypatch.chdir(tmp_path)
    # AppTest replaces it by its script, which every process that a later test spawns would run.
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])


@pytest.fixture(scope="session", autouse=True)
def reports_of_fixtures(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What a fixture of a module trains is not kept among the results of the person who runs the tests."""
    os.environ["CBIR_REPORTS"] = str(tmp_path_factory.mktemp("reports"))


@pytest.fixture(scope="session")
def model_file() -> Path:
    """The packaged model."""
    return find_model("efficientnet_lite0")


@pytest.fixture(scope="session")
def embedder(model_file: Path) -> Embedder:
    """The packaged model, loaded."""
    return Embedder(model_file, threads=2)


@pytest.fixture(scope="session")
def sample_images() -> SampleImages:
    """(key, label, PNG bytes) of pictures of the sample, spread over its categories."""
    items = list(open_source("sample://openmoji", SourceOptions()).items)
    return [(item.key, item.label, item.read()) for item in items[:: len(items) // IMAGES]]


@pytest.fixture(scope="session")
def photo_folder(sample_images: SampleImages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder tree of these pictures: category/key.png."""
    root = tmp_path_factory.mktemp("pictures") / "photos"
    for key, label, data in sample_images:
        folder = root / str(label).replace(" & ", "-")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{key}.png").write_bytes(data)
    return root


@pytest.fixture(scope="session")
def index(photo_folder: Path, model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An index folder with those pictures in Edge and FAISS; tests only read it."""
    root = tmp_path_factory.mktemp("served") / "index"
    source = open_source(str(photo_folder), SourceOptions())
    catalogs = connect_all([f"edge:{root}", f"faiss:{root}/faiss"], Settings())
    ingest(source, catalogs, model_file, Settings())
    yield root


@pytest.fixture(scope="session")
def example_folder(sample_images: SampleImages, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the documented examples (see `tests.support.examples`); tests work on copies."""
    root = tmp_path_factory.mktemp("examples")
    make_example_folder(root, sample_images)
    with cbir.open(root / "index") as photos:
        photos.embedder  # noqa: B018  all that is opened while it lives shares it
        yield root


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """A Chromium without a window."""
    from tests.support.browser import chromium, find_chromium  # playwright is slow to import, and few tests want it

    path = find_chromium()
    if path is None:
        pytest.skip("no Chromium: none in the path, none of playwright's own, and CBIR_CHROMIUM is not set")
    with chromium(path) as running:
        yield running

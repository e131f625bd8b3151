"""Engines are built in a process of their own."""

import multiprocessing
from pathlib import Path

import pytest

from cbir.errors import CbirError, UsageError
from cbir.pipeline.run import ingest
from cbir.settings import Settings
from cbir.sources.base import SourceOptions
from cbir.sources.registry import open_source
from cbir.stores.embedded.build import build_engine
from cbir.stores.engines import ENGINES
from tests.support.building import catalogs
from tests.support.ingesting import some_images


@pytest.fixture
def photos(photo_folder: Path, tmp_path: Path) -> Path:
    """A folder of 24 images that a test may change."""
    return some_images(photo_folder, tmp_path / "photos", 24)


def test_an_engine_whose_process_dies_is_one_line(photos: Path, tmp_path: Path, model_file: Path) -> None:
    with pytest.raises(UsageError, match="cannot train"):
        lists = catalogs(f"faiss:{tmp_path}/i?index=IVF512,Flat")
        ingest(open_source(str(photos), SourceOptions()), lists, model_file, Settings())
    log = next(tmp_path.rglob("building")) / "log"

    def die(count: int) -> None:
        for child in multiprocessing.active_children():
            child.kill()

    with pytest.raises(CbirError, match="ended by SIGKILL; memory may have run out"):
        build_engine("edge", tmp_path / "e", log, 1280, ENGINES["edge"].options, die)

"""Engines are built in a process of their own."""

import multiprocessing
import socket
import threading
from contextlib import closing
from multiprocessing import forkserver
from pathlib import Path

import pytest

from cbir.errors import CbirError, UsageError
from cbir.index.log_format import segment_path
from cbir.index.log_writer import LogWriter
from cbir.pipeline.run import ingest
from cbir.settings import Settings
from cbir.sources.base import SourceOptions
from cbir.sources.registry import open_source
from cbir.stores.embedded.build import build_engine
from cbir.stores.engines import ENGINES
from tests.support.building import catalogs, points_of, unit_vectors
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


@pytest.mark.parametrize("index", ["SQbf16", "HNSW16_SQbf16"])
def test_few_numbers_of_16_bits_are_no_damage(index: str, tmp_path: Path) -> None:
    with closing(LogWriter(segment_path(tmp_path / "log", 1), 4)) as writer:
        writer.append(points_of(unit_vectors(200, dimension=4)))
    options = {**ENGINES["faiss"].options, "index": index}
    build_engine("faiss", tmp_path / "index", tmp_path / "log", 4, options, lambda count: None)


def test_a_process_that_cannot_be_started_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server that starts processes is killed from outside: it takes the connection and never answers."""
    writer = LogWriter(segment_path(tmp_path / "log", 1), 8)
    writer.append(points_of(unit_vectors(3)))
    writer.close()
    arguments = ("faiss", tmp_path / "f", tmp_path / "log", 8, ENGINES["faiss"].options, lambda count: None)
    build_engine(*arguments)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()
        monkeypatch.setattr(forkserver._forkserver, "_forkserver_address", str(tmp_path / "s"))  # type: ignore[attr-defined]

        def end() -> None:
            with server.accept()[0] as connection:
                connection.recv(100)

        ending = threading.Thread(target=end)
        ending.start()
        with pytest.raises(CbirError, match="could not be started or was ended from outside"):
            build_engine(*arguments)
        ending.join()
    with pytest.raises(CbirError, match="could not be started or was ended from outside"):  # nobody listens
        build_engine(*arguments)

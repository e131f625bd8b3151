"""Nothing is done twice on the way: the vector log is opened and checked once, settings reach the model."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from cbir.index import generation
from cbir.index.vector_log import VectorLog
from cbir.models import embedder as embedders
from cbir.models.embedder import Embedder
from cbir.pipeline import run
from cbir.pipeline.run import ingest
from cbir.settings import Settings
from cbir.sources.base import SourceOptions
from cbir.sources.registry import open_source
from tests.support.building import both, catalogs


def test_the_vector_log_is_opened_and_checked_once_before_the_first_image(
    index: Path, photo_folder: Path, model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(index, tmp_path / "index")
    photos = tmp_path / "photos"
    shutil.copytree(photo_folder, photos)
    some = next(photos.rglob("*.png"))
    shutil.copyfile(some, some.with_name("one-more.png"))
    events: list[str] = []
    open_log, decode, record_of = VectorLog.__init__, Embedder.decode, generation.record_of

    def opened(self: VectorLog, folder: Path, dimension: int) -> None:
        events.append("open")
        open_log(self, folder, dimension)

    def hashed(path: Path) -> Any:
        events.append(path.name)
        return record_of(path)

    def decoded(self: Embedder, data: bytes, max_megapixels: float) -> Any:
        events.append("decode")
        return decode(self, data, max_megapixels)

    monkeypatch.setattr(VectorLog, "__init__", opened)
    monkeypatch.setattr(generation, "record_of", hashed)
    monkeypatch.setattr(Embedder, "decode", decoded)
    source = open_source(str(photos), SourceOptions())
    plan = catalogs(*both(tmp_path / "index"))[0].plan("photos-efficientnet_lite0")
    assert plan is not None
    report = ingest(source, catalogs(*both(tmp_path / "index")), model_file, Settings(), dataset=plan.dataset)
    assert report.stored == 1
    before = events[: events.index("decode")]
    assert before.count("open") == 1
    logs = [name for name in before if name.endswith(".log")]
    assert len(logs) == len(set(logs)) > 0


def test_an_ingest_gives_its_settings_to_the_model(
    photo_folder: Path, model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in a worker of a Ray job, whose own environment says nothing."""
    asked: list[tuple[Any, ...]] = []

    def open_session(data: bytes, provider: str, threads: int) -> Any:
        asked.append((provider, threads))
        raise KeyError("far enough")

    monkeypatch.setenv("CBIR_PROVIDER", "auto")
    monkeypatch.setattr(embedders, "open_session", open_session)
    source = open_source(str(photo_folder), SourceOptions())
    settings = Settings(provider="openvino", threads=3, cache=tmp_path)
    with pytest.raises(Exception, match="far enough"):
        run.ingest(source, catalogs(f"edge:{tmp_path}/index"), model_file, settings)
    assert asked == [("openvino", 3)]

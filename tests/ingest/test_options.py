"""The stores that a command names, and the files that are no URLs."""

from pathlib import Path

import pytest
from cbir.ingest.options import local_path, named_catalogs, named_collection, named_stores

from cbir.errors import UsageError
from tests.support.building import both
from tests.support.ingesting import run, some_images
from tests.support.qdrant_server import qdrant_server


def test_named_stores_replace_those_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    assert named_stores(None)[0] == ["edge:./index", "faiss:./index/faiss"]
    monkeypatch.setenv("CBIR_STORES", "edge:./a,faiss:./b")
    assert named_stores([])[0] == ["edge:./a", "faiss:./b"]
    assert named_stores("edge:./c")[0] == ["edge:./c"]
    assert [catalog.urls for catalog in named_catalogs(["edge:./c", "edge:./d"])] == [("edge:./c",), ("edge:./d",)]


def test_the_first_of_several_stores_is_opened(index: Path) -> None:
    with named_collection(both(index), None) as opened:
        assert opened.info.url == f"edge:{index}"
        assert opened.count() > 0


@pytest.mark.parametrize("kind", ["edge", "server"])
def test_failures_are_those_of_the_named_collection(
    kind: str, photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CBIR_CACHE", str(tmp_path / "cache"))
    photos = some_images(photo_folder, tmp_path / "photos", 2)
    (photos / "text.png").write_text("I am no picture")
    with qdrant_server() as server:
        store = ["--store", f"edge:{tmp_path}/index" if kind == "edge" else server.url]
        run(photos, *store)
        for name in ("photos-efficientnet_lite0", "photos"):
            assert run("failures", *store, "--collection", name).stdout.startswith("text.png: "), name
        refused = run("failures", *store, "--collection", "phtos", code=2).stderr
        assert "has no collection 'phtos'; it has: photos-efficientnet_lite0" in refused


def test_a_url_is_not_taken_for_a_path() -> None:
    assert local_path("./a/b.tar") == Path("a/b.tar")
    with pytest.raises(UsageError, match="https://example.org/kept.tar is a URL"):
        local_path("https://example.org/kept.tar")


@pytest.mark.parametrize(
    "words",
    [
        ["collections", "restore", "https://example.org/x"],
        ["collections", "snapshot", "photos", "https://example.org/x"],
        ["copy", "edge:./a", "edge:./b", "--model", "https://example.org/x"],
        ["https://example.org/x"],
    ],
)
def test_a_url_is_shown_as_it_was_given(words: list[str]) -> None:
    (line,) = run(*words, code=2).stderr.splitlines()
    assert "https://example.org/x " in line

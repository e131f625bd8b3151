"""Searching and `cbir-search`: the right hits, one line for every mistake, nothing but JSON where JSON is asked."""

import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit
from cbir.ui import search_command

import cbir
from cbir.collection import Collection
from cbir.errors import ImageError, UsageError
from cbir.images.crop import Crop
from cbir.images.decode import decode
from cbir.results import Hit, Hits
from cbir.settings import Settings
from cbir.stores.display import display_names
from cbir.stores.embedded import catalog
from cbir.stores.embedded.reader import EmbeddedStore
from tests.support.examples import SampleImages
from tests.support.running import Program, runner

ID = "b6d7c0c4-6f0e-5d0e-9c43-1f6b1f0c8a51"


@pytest.fixture(params=["edge:{}", "faiss:{}/faiss"])
def photos(index: Path, request: pytest.FixtureRequest) -> Iterator[Collection]:
    with cbir.open(request.param.format(index)) as opened:
        yield opened


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    """Program `cbir-search` in this process: (exit code, standard output, standard error)."""
    return runner(monkeypatch, capsys, search_command.main, "cbir-search")


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Stands in for the session of a visitor."""
    state: dict[str, object] = {}
    monkeypatch.setattr(streamlit, "session_state", state)
    return state


@pytest.fixture
def picture(sample_images: SampleImages, tmp_path: Path) -> Path:
    path = tmp_path / "query.png"
    path.write_bytes(sample_images[5][2])
    return path


def key_of(picture: tuple[str, str | None, bytes]) -> str:
    key, label, _ = picture
    return f"{str(label).replace(' & ', '-')}/{key}.png"


def test_an_image_finds_itself_first(photos: Collection, sample_images: SampleImages) -> None:
    for picture in sample_images[::60]:
        hits = photos.search(picture[2], limit=5)
        assert hits[0].key == key_of(picture)
        assert hits[0].score == pytest.approx(1, abs=1e-3)
        assert len(hits) == 5
        assert list(hits.milliseconds) == ["decode", "preprocess", "model", "store"]
        assert all(spent > 0 for spent in hits.milliseconds.values())


def test_a_stored_point_is_left_out_of_its_own_answer(photos: Collection) -> None:
    for point_id in photos.store.sample(10, 1):
        hits = photos.search(point_id, limit=7)
        assert len(hits) == 7
        assert point_id not in {hit.id for hit in hits}
        assert list(hits.milliseconds) == ["store"]


def test_hits_come_in_groups_without_the_example(photos: Collection) -> None:
    (point_id,) = photos.store.sample(1, 2)
    hits = photos.search(point_id, group_by="label", limit=4, group_size=3)
    assert len(hits.groups) == 4
    assert list(hits) == [hit for group in hits.groups for hit in group.hits]
    for group in hits.groups:
        assert {hit.label for hit in group.hits} == {group.value}
        assert 0 < len(group.hits) <= 3
        assert point_id not in {hit.id for hit in group.hits}
    best = [group.hits[0].score for group in hits.groups[1:]]
    assert best == sorted(best, reverse=True)


def test_a_part_of_an_image_is_embedded_as_that_part_alone(photos: Collection, sample_images: SampleImages) -> None:
    data = sample_images[9][2]
    image = decode(data)
    crop = Crop(10, 20, 60, 90)
    width, height = image.size
    part = io.BytesIO()
    image.crop((width // 10, height // 5, -(-width * 6 // 10), -(-height * 9 // 10))).save(part, "PNG")
    assert np.allclose(photos.embed(data, crop), photos.embed(part.getvalue()), atol=1e-6)
    assert not np.allclose(photos.embed(data, crop), photos.embed(data), atol=1e-2)


@pytest.mark.parametrize("box", [(0, 0, 0, 50), (50, 0, 40, 50), (-1, 0, 50, 50), (0, 0, 101, 50)])
def test_a_crop_is_a_part_of_the_picture(box: tuple[int, int, int, int]) -> None:
    with pytest.raises(UsageError):
        Crop(*box)


def test_too_many_pixels_are_refused(index: Path, sample_images: SampleImages) -> None:
    settings = Settings(max_image_megapixels=0.01)
    with cbir.open(f"edge:{index}", settings=settings) as small, pytest.raises(ImageError, match="too large"):
        small.embed(sample_images[0][2])


def test_stores_of_one_model_share_its_embedder(index: Path) -> None:
    with cbir.open(f"edge:{index}") as first, cbir.open(f"faiss:{index}/faiss") as second:
        assert first.embedder is second.embedder


@pytest.fixture
def another_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every collection says that another model, with random weights, made its vectors."""

    def opened(*arguments: Any) -> EmbeddedStore:
        store = EmbeddedStore(*arguments)
        store.info = replace(store.info, model=replace(store.info.model, sha256="0" * 64, random_weights=True))
        return store

    monkeypatch.setattr(catalog, "EmbeddedStore", opened)


@pytest.mark.usefixtures("another_model")
def test_another_model_than_the_collections_is_refused(index: Path) -> None:
    with (
        cbir.open(f"edge:{index}") as photos,
        pytest.raises(UsageError, match="was made by another efficientnet_lite0"),
    ):
        photos.embedder  # noqa: B018


def test_the_table_names_hits_and_where_they_are_from(
    run: Program, picture: Path, sample_images: SampleImages, index: Path
) -> None:
    code, out, err = run(picture, "--store", f"edge:{index}", "-k", 3)
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0].split() == ["rank", "score", "key", "label"]
    assert lines[1].split()[:3] == ["1", "1.0000", key_of(sample_images[5])]
    assert "photos-efficientnet_lite0 in edge:" in lines[4]
    assert "(scan, " in lines[4]
    assert len(lines) == 5


def test_json_is_all_there_is_on_standard_output(
    run: Program, picture: Path, sample_images: SampleImages, index: Path
) -> None:
    code, out, _ = run(picture, "--store", f"faiss:{index}/faiss", "-k", 2, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["collection"] == "photos-efficientnet_lite0"
    assert found["store"] == f"faiss:{index}/faiss"
    assert found["access"] == "graph"
    assert set(found["milliseconds"]) == {"decode", "preprocess", "model", "store"}
    first, second = found["hits"]
    assert set(first) == {"rank", "score", "id", "key", "label", "payload"}
    assert (first["rank"], first["key"]) == (1, key_of(sample_images[5]))
    assert second["score"] <= first["score"]


def test_exact_is_a_scan(run: Program, picture: Path, index: Path) -> None:
    _, out, _ = run(picture, "--store", f"faiss:{index}/faiss", "--exact", "--json")
    assert json.loads(out)["access"] == "scan"


def test_the_first_store_of_the_settings_is_the_default(
    run: Program, picture: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CBIR_STORES", f"faiss:{index}/faiss,edge:{index}")
    _, out, _ = run(picture, "--json")
    assert json.loads(out)["store"] == f"faiss:{index}/faiss"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["missing.jpg"], 2, "missing.jpg: No such file or directory"),
        (["."], 2, ".: Is a directory"),
        (["query.png", "--store", "edge:nowhere"], 2, "Create one with: cbir-ingest SOURCE --store edge:nowhere"),
        (["query.png", "--store", "mongo:here"], 2, "unknown store 'mongo:here'"),
        (["query.png", "--store", "edge:{index}", "--collection", "cats"], 2, "no collection 'cats'"),
        (["text.jpg", "--store", "edge:{index}"], 1, "text.jpg: not an image of a known format"),
    ],
)
def test_a_mistake_is_one_line(
    run: Program, picture: Path, index: Path, arguments: list[str], code: int, message: str
) -> None:
    Path("text.jpg").write_text("this is no picture")
    ended, out, err = run(*(argument.format(index=index) for argument in arguments))
    assert (ended, out) == (code, "")
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1


def test_zero_hits_cannot_be_asked_for(run: Program, picture: Path) -> None:
    assert run(picture, "-k", 0)[0] == 2


@pytest.mark.usefixtures("another_model")
def test_random_weights_are_warned_of(run: Program, picture: Path, index: Path) -> None:
    _, _, err = run(picture, "--store", f"edge:{index}")
    assert "warning: the model has random weights" in err


@pytest.mark.parametrize("terminal", [False, True])
def test_a_long_key_is_whole(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], index: Path
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    key = "".join(f"{number}/" for number in range(100))
    with cbir.open(f"edge:{index}") as photos:
        search_command._show(Hits([Hit("1", {"key": key, "label": "cats"}, 0.5)]), photos.info, "scan")
    out = re.sub("\x1b\\[[0-9;]*m", "", capsys.readouterr().out)
    hit = out.partition("\n")[2].rpartition("cats")[0].split()[2] if not terminal else ""
    assert "…" not in out
    assert hit == ("" if terminal else key)
    assert key in "".join(out.split()).replace("cats", "")


@pytest.mark.parametrize(
    ("urls", "names"),
    [
        (["edge:./index", "faiss:./index/faiss"], ["Qdrant Edge · index", "FAISS · faiss"]),
        (["edge:/srv/a/index", "edge:/srv/b/index"], ["Qdrant Edge · a/index", "Qdrant Edge · b/index"]),
        (["edge:index", "edge:index?ef=16"], ["Qdrant Edge · index", "Qdrant Edge · index?ef=16"]),
        (["edge:a", "https://me:secret@host:6333"], ["Qdrant Edge · a", "https://host:6333"]),
        (["edge:a", "edge:a"], ["Qdrant Edge · a"]),
    ],
)
def test_stores_are_told_apart_by_as_little_as_needed(urls: list[str], names: list[str]) -> None:
    assert list(display_names(urls).values()) == names


def test_the_command_line_searches_by_examples_and_filters(run: Program, index: Path, picture: Path) -> None:
    def found(*arguments: object) -> list[dict[str, object]]:
        code, out, _ = run(*arguments, "--store", f"edge:{index}", "--json", "-k", 8)
        assert code == 0
        hits: list[dict[str, object]] = json.loads(out)["hits"]
        return hits

    plain = found(picture)
    first, label = plain[0]["id"], plain[0]["label"]
    assert first not in [hit["id"] for hit in found("--like", first)]
    assert {hit["label"] for hit in found(picture, "--filter", f"label!={label}")} & {label} == set()
    assert {hit["label"] for hit in found(picture, "--filter", f"label={label}", "--ef", 500)} == {label}
    lowest = sorted(float(str(hit["score"])) for hit in plain)[4]
    assert 0 < len(found(picture, "--threshold", lowest)) < 8
    assert [hit["id"] for hit in found(picture, "--diversity", "0.9")] != [hit["id"] for hit in plain]
    assert [hit["id"] for hit in found(picture, "--unlike", plain[1]["id"])] != [hit["id"] for hit in plain]
    assert [(hit["id"], hit["rank"]) for hit in found(picture, "--offset", 3)][:5] == [
        (hit["id"], hit["rank"]) for hit in plain[3:]
    ]
    code, _, err = run("--store", f"edge:{index}")
    assert (code, "PICTURE, or --like" in err) == (2, True)

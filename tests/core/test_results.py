"""Hits: a sequence, values, a table, and the gallery that a notebook shows."""

import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

import cbir
from cbir.results import Hit, Hits
from tests.support.api import FLAT, write_images


@pytest.fixture
def photos(example_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[cbir.Collection]:
    """The collection of the examples, only read."""
    monkeypatch.chdir(example_folder)
    with cbir.open("./index") as photos:
        yield photos


def test_hits_are_a_sequence(photos: cbir.Collection) -> None:
    hits = photos.search("query.png", limit=5)
    assert len(hits) == 5
    assert list(hits) == [hits[index] for index in range(5)]
    assert isinstance(hits[0], cbir.Hit)
    assert hits[-1] == hits[4]
    assert isinstance(hits[1:3], cbir.Hits)
    assert hits[1:3] == [hits[1], hits[2]] == hits[1:3]
    assert hits != hits[:4]
    assert hits != "hits"
    assert hits[0] in hits
    assert hits.index(hits[2]) == 2
    assert list(reversed(hits)) == list(hits)[::-1]
    assert hits == photos.search("query.png", limit=5)
    assert repr(hits).splitlines()[:2] == ["Hits(5)", "  1  1.0000  1F600"]
    with pytest.raises(IndexError):
        hits[5]
    with pytest.raises(AttributeError):
        hits[0].score = 2  # type: ignore[misc]


def test_hits_as_a_table(photos: cbir.Collection) -> None:
    hits = photos.search("query.png", limit=3)
    table = hits.to_pandas()
    assert table.columns.tolist() == ["id", "key", "score", "label", "sha256"]
    assert table["key"].tolist() == [hit.key for hit in hits]
    assert table["score"].tolist() == [hit.score for hit in hits]
    assert hits[:0].to_pandas().columns.tolist() == ["id", "key", "score"]


def test_hits_as_a_gallery(photos: cbir.Collection) -> None:
    hits = photos.search("query.png", limit=3)
    page = hits._repr_html_()
    assert page.count("<figure") == page.count('src="data:image/jpeg;base64,') == 3
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []
    assert "1F600" in page
    assert "Smileys &amp; Emotion" in page
    assert hits[1:2]._repr_html_().count("<figure") == 1
    assert "no hits" in hits[:0]._repr_html_()


def test_keys_in_a_gallery_are_text() -> None:
    evil = Hit("0", {"key": '"><script>alert(1)</script>', "label": "<b>'&"}, score=0.5)
    page = Hits([evil])._repr_html_()
    assert "<script" not in page
    assert "<b>" not in page
    assert 'alt="&quot;&gt;&lt;script&gt;' in page
    assert 'src=""' not in page
    with pytest.raises(cbir.UsageError, match="no stored thumbnail"):
        evil.image()


def test_a_hit_shows_its_thumbnail(photos: cbir.Collection) -> None:
    image = photos.search("query.png", limit=1)[0].image()
    assert (image.size, image.mode) == ((192, 192), "RGB")
    with Image.open("query.png") as original:
        yellow = original.convert("RGB").resize((192, 192)).getpixel((96, 60))
    assert image.getpixel((96, 60)) == pytest.approx(yellow, abs=12)


def test_hits_are_values_and_keep_their_columns() -> None:
    photos = cbir.open(FLAT, create=True)
    files = sorted(write_images("photos", 2, 9).rglob("*.png"))
    photos.add(files, keys=["a", "b"], payloads=[{"id": 102, "score": 7, "label": 5}, {}])
    hits = photos.search(files[0], limit=2)
    table = hits.to_pandas().set_index("key")
    assert table.loc["a", "id"] == hits[0].id
    assert table.loc["a", "score"] == hits[0].score
    assert (table.loc["a", "id_"], table.loc["a", "score_"], hits[0].label) == (102, 7, "5")
    assert "5" in hits._repr_html_()
    assert len({*hits, *hits}) == 2
    assert pickle.loads(pickle.dumps(hits[0])) == hits[0]  # noqa: S301  ours


def test_the_path_is_that_of_the_file_while_it_exists() -> None:
    folder = write_images("photos", 2, 1)
    with cbir.open(FLAT, create=True) as photos:
        photos.add(folder)
        photos.add(["photos/c/0.png", "photos/c/1.png"], keys=["x" * 300, str(Path("photos/c/1.png").absolute())])
        paths = {image.key: image.path for image in photos.scroll()}
        first, second = (Path("photos/c", name).absolute() for name in ("0.png", "1.png"))
        assert paths == {"c/0.png": first, "c/1.png": second, "x" * 300: None, str(second): second}
        first.unlink()
        hits = photos.search(second, limit=4)
        assert {hit.path for hit in hits} == {second, None}
        assert photos.get("c/0.png").path is None  # type: ignore[union-attr]
        groups = photos.search(second, group_by="label").groups
        assert second in [hit.path for hit in groups[0].hits]


def test_a_relative_key_of_a_list_is_not_taken_for_a_path() -> None:
    write_images("photos", 1, 2)
    with cbir.open(FLAT, create=True) as photos:
        photos.add(["photos/c/0.png"])
        Path("python").symlink_to(".")
        assert [image.path for image in photos.scroll()] == [None]

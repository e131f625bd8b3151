"""Captions come from columns and from files in the forms of COCO and Flickr30k; unseen images are chosen by key."""

import json
from pathlib import Path

import numpy as np
import pytest

from cbir.errors import UsageError
from cbir.evaluation import captions, retrieval
from cbir.evaluation.captions import captions_by_key, is_held_out, ranks, read_captioned, read_captions
from cbir.models.embedder import Embedder
from cbir.settings import Settings
from cbir.sources.base import SourceOptions
from tests.support.building import unit_vectors

COCO = {
    "images": [{"id": 7, "file_name": "train/a.jpg"}, {"id": 9, "file_name": "b.jpg"}],
    "annotations": [
        {"id": 1, "image_id": 9, "caption": "A red bus. "},
        {"id": 2, "image_id": 7, "caption": "Two dogs"},
        {"id": 3, "image_id": 9, "caption": "Buses"},
        {"id": 4, "image_id": 9, "caption": "  "},
    ],
}
FORMS = {
    "captions.json": json.dumps(COCO),
    "captions.csv": 'image,caption\na.jpg,Two dogs\nb.jpg,"A red bus."\nb.jpg,Buses\n',
    "captions.token": "a.jpg#0\tTwo dogs\nb.jpg#0\tA red bus.\n\nb.jpg#1\tBuses\n",
}


@pytest.mark.parametrize("name", FORMS)
def test_a_file_of_captions_is_read_in_each_form(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(FORMS[name])
    first = "train/a.jpg" if name == "captions.json" else "a.jpg"
    assert read_captions(tmp_path / name) == {first: ["Two dogs"], "b.jpg": ["A red bus.", "Buses"]}


def test_a_table_of_captions_may_have_a_mark_at_its_start_and_lack_a_caption(tmp_path: Path) -> None:
    (tmp_path / "excel.csv").write_bytes("image,caption\na.jpg\nb.jpg,A bus\n".encode("utf-8-sig"))
    assert read_captions(tmp_path / "excel.csv") == {"b.jpg": ["A bus"]}


@pytest.mark.parametrize(
    "text",
    [
        f"image,caption\na,{'x' * 140_000}\n",
        "{}",
        "[]",
        '{"images": 3}',
        "name,text\na,b\n",
        '{"images": [], "annotations": [{"caption": "x"}]}',
        "{",
    ],
)
def test_a_file_of_another_form_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "captions"
    path.write_text(text)
    with pytest.raises(UsageError, match="has no captions: it is neither COCO's JSON"):
        read_captions(path)
    with pytest.raises(UsageError, match=r"cannot read the captions .*missing: No such file"):
        read_captions(tmp_path / "missing")


def test_images_of_one_file_name_keep_their_own_captions(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("image,caption\n./cats/0.jpg,a cat\ndogs/0.jpg,a dog\ntrain/1.jpg,a bus\n")
    captions = read_captions(tmp_path / "a.csv")
    assert captions == {"cats/0.jpg": ["a cat"], "dogs/0.jpg": ["a dog"], "train/1.jpg": ["a bus"]}
    keys = ["cats/0.jpg", "dogs/0.jpg", "birds/0.jpg", "1.jpg", "2.jpg"]
    assert captions_by_key(captions, keys) == {"cats/0.jpg": ["a cat"], "dogs/0.jpg": ["a dog"], "1.jpg": ["a bus"]}
    with pytest.raises(
        UsageError, match=r"0\.jpg: cats/0\.jpg and dogs/0\.jpg have the same file name\. Write the whole"
    ):
        captions_by_key(captions, ["0.jpg"])
    with pytest.raises(UsageError, match=r"1\.jpg: a/1\.jpg and b/1\.jpg have the same file name"):
        captions_by_key(captions, ["a/1.jpg", "b/1.jpg"])


def test_images_are_joined_with_the_captions_of_columns_and_file(
    photo_folder: Path, embedder: Embedder, tmp_path: Path
) -> None:
    first, second, third = sorted(photo_folder.rglob("*.png"))[:3]
    rows = [
        f"{path},{text},{kind}" for path, text, kind in ((first, "a thing", "x"), (second, "", "y"), (third, "", "x"))
    ]
    (tmp_path / "list.csv").write_text("\n".join(["path,title,label", *rows]) + "\n")
    (tmp_path / "more.csv").write_text(f"image,caption\n{first.name},another\n{third.name},the third\n")
    for path in (first, second, third):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    table = (tmp_path / "list.csv").read_text().replace(f"{first.parent}/", "").replace(f"{second.parent}/", "")
    (tmp_path / "list.csv").write_text(table.replace(f"{third.parent}/", ""))
    arguments = (["title"], tmp_path / "more.csv", SourceOptions(), embedder, Settings())
    found = read_captioned(str(tmp_path / "list.csv"), *arguments)
    assert [list(texts) for texts in found.captions] == [["a thing", "another"], ["the third"]]
    assert list(found.labels) == ["x", "x"]
    assert found.vectors.shape == (2, 1280)
    (only,) = found.of_rows([1]).captions
    assert list(only) == ["the third"]
    with pytest.raises(UsageError, match=r"has no captions in the column nothing\. Name their column with --caption"):
        read_captioned(str(tmp_path / "list.csv"), ["nothing"], None, *arguments[2:])


def test_about_three_of_sixteen_images_are_held_out_by_their_keys_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [f"images/{number}.jpg" for number in range(4000)]
    held_out = {key for key in keys if is_held_out(key, 42)}
    assert 0.17 < len(held_out) / len(keys) < 0.205
    assert held_out != {key for key in keys if is_held_out(key, 43)}
    monkeypatch.setattr(captions, "HELD_OUT", 0.0)
    assert not any(is_held_out(key, 42) for key in keys)


def test_a_rank_is_the_number_of_better_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, found = unit_vectors(20, seed=1, dimension=8), unit_vectors(30, seed=2, dimension=8)
    own = np.arange(20) % 7
    expected = []
    for scores, row in zip((queries @ found.T).tolist(), own.tolist(), strict=True):
        expected.append(sum(score > scores[row] for score in scores))
    for cells in (2**25, 70, 1):
        monkeypatch.setattr(retrieval, "_CELLS", cells)
        assert ranks(queries, found, own).tolist() == expected
    assert ranks(queries[:0], found, own[:0]).tolist() == []

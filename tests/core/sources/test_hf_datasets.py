"""Rows of Hugging Face data sets: keys, labels, columns, and images that may be read."""

import io
import os
import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from cbir.errors import ImageError, UsageError
from cbir.records import Item
from cbir.sources.base import SourceOptions
from cbir.sources.registry import open_source
from tests.support.sources import COLOURS, jpeg, reason


def test_rows_without_a_name_are_keyed_by_an_id_column_or_their_row(tmp_path: Path) -> None:
    def keys(**columns: list[Any]) -> list[str]:
        pictures = [{"bytes": jpeg("red"), "path": None}, {"bytes": jpeg("blue"), "path": None}]
        data = datasets.Dataset.from_dict({"image": pictures, **columns})
        data.cast_column("image", datasets.Image()).to_parquet(str(tmp_path / "x.parquet"))
        return [item.key for item in open_source(str(tmp_path / "x.parquet"), SourceOptions()).items]

    assert keys() == ["row 0", "row 1"]
    assert keys(id=[7, 9]) == ["7", "9"]


def test_class_labels_are_their_names(tmp_path: Path) -> None:
    pictures = [{"bytes": jpeg("red"), "path": "a.jpg"}, {"bytes": jpeg("blue"), "path": "b.jpg"}]
    features = datasets.Features({"image": datasets.Image(), "kind": datasets.ClassLabel(names=["cat", "dog"])})
    datasets.Dataset.from_dict({"image": pictures, "kind": [1, 0]}, features=features).save_to_disk(
        str(tmp_path / "set")
    )
    items = open_source(str(tmp_path / "set"), SourceOptions()).items
    assert [item.label for item in items] == ["dog", "cat"]


def test_keys_do_not_depend_on_the_rows_chosen_and_keep_their_folders(tmp_path: Path) -> None:
    names = [None, "cat/0.png", "dog/0.png", "dog/1.png"]
    pictures = [{"bytes": jpeg("red"), "path": name} if name else None for name in names]
    data = datasets.Dataset.from_dict({"image": pictures, "id": [1, 2, 3, 4], "kind": ["cat", "cat", "dog", "dog"]})
    data.cast_column("image", datasets.Image()).to_parquet(str(tmp_path / "x.parquet"))
    every = [item.key for item in open_source("x.parquet", SourceOptions(label="kind")).items]
    assert every == ["row 0", "cat/0.png", "dog/0.png", "dog/1.png"]
    dogs = [item.key for item in open_source("x.parquet", SourceOptions(label="kind", top_classes=1, limit=9)).items]
    assert dogs == every[:2]


def test_a_row_cannot_point_out_of_its_data_set(tmp_path: Path) -> None:
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(jpeg("red"))
    data = datasets.Dataset.from_dict({"image": [{"bytes": None, "path": str(secret)}]})
    (tmp_path / "sub").mkdir()
    data.cast_column("image", datasets.Image(decode=False)).to_parquet(str(tmp_path / "sub" / "x.parquet"))
    (item,) = open_source(str(tmp_path / "sub" / "x.parquet"), SourceOptions()).items
    with pytest.raises(ImageError, match="leads out"):
        item.read()


def test_streaming_gives_the_same_items_and_converts_nothing(
    folder: Path, table: datasets.Dataset, tmp_path: Path
) -> None:
    (folder / "metadata.jsonl").write_text("".join(f'{{"file_name": "{name}", "n": 1}}\n' for name in sorted(COLOURS)))
    table.to_parquet(str(tmp_path / "t.parquet"))
    table.save_to_disk(str(tmp_path / "saved"))
    arrow = str(next((tmp_path / "saved").glob("*.arrow")))
    for text, label, total in (
        ("t.parquet", "colour", 4),
        (arrow, "colour", None),
        (f"imagefolder:{folder}", "n", None),
    ):

        def row(item: Item) -> tuple[Any, ...]:
            return item.key, item.label, item.read(), str(item.payload), item.version

        streamed = open_source(text, SourceOptions(label=label, streaming=True))
        rows = sorted(map(row, streamed.items))
        assert rows == sorted(map(row, streamed.items))
        assert not list((tmp_path / "cache").rglob("*.arrow"))
        assert rows == sorted(map(row, open_source(text, SourceOptions(label=label)).items))
        assert streamed.total == total
        for chosen in ({"limit": 2}, {"filter": f"{label}!=red"}, {"top_classes": 1}, {"shard": (1, 2)}):
            options = {"label": label, **chosen}
            keys = {item.key for item in open_source(text, SourceOptions(**options, streaming=True)).items}
            assert keys == {item.key for item in open_source(text, SourceOptions(**options)).items}
        for path in (tmp_path / "cache").rglob("*.arrow"):
            path.unlink()
        shutil.rmtree(tmp_path / "cache")
    with pytest.raises(UsageError, match="--streaming does not work with saved"):
        open_source("saved", SourceOptions(streaming=True))


def test_a_stream_from_the_hub_reads_files_of_its_own_repository_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub is stood in for by a file system of its address, and a stream as `datasets` gives of an image folder."""
    files = fsspec.filesystem("memory")
    root = "hf://datasets/me/pictures@0123abc"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("z.jpg", jpeg("green"))
    stored = {"/datasets/me/pictures@0123abc/train/red.jpg": jpeg("red"), "/datasets/me/other@0/x.jpg": jpeg("black")}
    stored["/datasets/me/pictures@0123abc/a.zip"] = archive.getvalue()
    for path, data in stored.items():
        files.pipe_file(path, data)
    paths = [
        f"{root}/train/red.jpg",
        f"zip://z.jpg::{root}/a.zip",
        "hf://datasets/me/other@0/x.jpg",
        "hf://datasets/me/pictures-2@0/x.jpg",
        f"memory://datasets/me/other@0/x.jpg::{root}/a.zip",
        "/etc/passwd",
        "memory://datasets/me/other@0/x.jpg",
        f"{root}/train/gone.jpg",
        f"zip://z.jpg::{root}/gone.zip",
    ]
    features = datasets.Features({"image": datasets.Image()})

    def rows() -> Iterator[dict[str, Any]]:
        for path in paths:
            yield {"image": {"bytes": None, "path": path}}

    class Hub(MemoryFileSystem):
        protocol = "hf"

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return "/" + path.removeprefix("hf://").strip("/")

    def load_builder(name: str) -> Any:
        assert name == "me/pictures"
        stream = datasets.IterableDataset.from_generator(rows, features=features)
        return SimpleNamespace(config=None, as_streaming_dataset=lambda split: {"train": stream}[split])

    monkeypatch.setattr(datasets, "load_dataset_builder", load_builder)
    monkeypatch.setitem(sys.modules["fsspec.registry"]._registry, "hf", Hub)
    source = open_source("hf://me/pictures", SourceOptions(streaming=True))
    assert (source.name, source.origin, source.total) == ("pictures", "hf://me/pictures", None)
    items = list(source.items)
    assert [item.key for item in items[:2]] == ["train/red.jpg", "a.zip/z.jpg"]
    assert all("0123abc" in item.version for item in items[:2])
    assert [item.read() for item in items[:2]] == [jpeg("red"), jpeg("green")]
    for item in items[2:-2]:
        with pytest.raises(ImageError, match="leads out of the data set"):
            item.read()
    for item in items[-2:]:
        with pytest.raises(ImageError, match="FileNotFoundError"):
            item.read()
    files.store.clear()


def test_columns_of_a_data_set_are_chosen_by_payload_and_where(tmp_path: Path) -> None:
    columns = {
        "image": [{"bytes": jpeg("red"), "path": f"{n}.jpg"} for n in range(4)],
        "mask": [{"bytes": jpeg("white"), "path": "m.jpg"}] * 4,
        "raw": [b"\x00"] * 4,
        "kind": [0, 1, 1, -1],
        "year": [2014, 2015, 2016, None],
        "tags": [["a"], [], ["b", "c"], None],
    }
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "mask": datasets.Image(),
            "raw": datasets.Value("binary"),
            "kind": datasets.ClassLabel(names=["cat", "dog"]),
            "year": datasets.Value("int64"),
            "tags": datasets.List(datasets.Value("string")),
        }
    )
    datasets.Dataset.from_dict(columns, features=features).to_parquet(str(tmp_path / "t.parquet"))

    def found(**options: Any) -> list[str]:
        source = open_source("t.parquet", SourceOptions(**options))
        keys = [item.key for item in source.items]
        assert source.total == len(keys)
        return keys

    (first, *_) = open_source("t.parquet", SourceOptions()).items
    assert first.payload == {"kind": 0, "year": 2014, "tags": ["a"]}
    (first, *_) = open_source("t.parquet", SourceOptions(payload=("tags",))).items
    assert (first.payload, first.label) == ({"tags": ["a"]}, "cat")
    assert found(filter="kind=dog") == ["1.jpg", "2.jpg"]
    assert found(filter="kind=dog and year>2015") == ["2.jpg"]
    assert found(filter="year=") == ["3.jpg"]
    assert found(filter="year>2020") == []
    assert found(filter="year>2013", top_classes=1) == ["1.jpg", "2.jpg"]
    for options in ({"payload": ("mask",)}, {"filter": "raw=1"}, {"key": "image"}, {"label": "mask"}):
        with pytest.raises(UsageError, match="holds bytes. Columns with values are kind, year, tags"):
            found(**options)
    with pytest.raises(UsageError, match="no column 'size' for --payload. Its columns are image, mask, raw, kind"):
        found(payload=("kind", "size"))
    with pytest.raises(UsageError, match="--allow-private-addresses does not work with t.parquet, a data set"):
        found(allow_private_addresses=True)


def test_an_image_folders_version_changes_with_its_files(folder: Path) -> None:
    """Its rows hold paths, and a file is not read again to learn that it is the same."""
    before = {item.key: item.version for item in open_source(f"imagefolder:{folder}", SourceOptions()).items}
    os.utime(folder / "red" / "a.jpg", ns=(1, 1))
    after = {item.key: item.version for item in open_source(f"imagefolder:{folder}", SourceOptions()).items}
    assert all(before.values())
    assert [key for key in before if before[key] != after[key]] == ["red/a.jpg"]


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    "kind", [pa.binary(), pa.large_binary(), pa.struct({"bytes": pa.binary(), "path": pa.string()})]
)
def test_parquet_of_plain_arrow_has_an_image_column(kind: pa.DataType, streaming: bool, tmp_path: Path) -> None:
    """Other writers than `datasets` leave no metadata that says which column has images."""
    cells = [jpeg("red"), None, jpeg("blue")]
    images = [{"bytes": cell, "path": None} for cell in cells] if pa.types.is_struct(kind) else cells
    columns = {"name": ["a", "b", "c"], "photo": pa.array(images, kind), "label": ["x", "y", None]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    source = open_source(str(tmp_path / "a.parquet"), SourceOptions(key="name", streaming=streaming))
    found = list(source.items)
    assert [(item.key, item.label, item.payload) for item in found] == [
        ("a", "x", {"name": "a"}),
        ("b", "y", {"name": "b"}),
        ("c", None, {"name": "c"}),
    ]
    assert [found[0].read(), found[2].read()] == [jpeg("red"), jpeg("blue")]
    assert "no image" in reason(found[1])


@pytest.mark.parametrize("value", [["x", "y"], {"x": 1}])
def test_a_list_in_the_column_label_stays_a_field_unless_it_is_named(value: object, tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [jpeg("red")], "label": [value]}), tmp_path / "a.parquet")
    (item,) = open_source(str(tmp_path / "a.parquet"), SourceOptions()).items
    assert (item.label, item.payload) == (None, {"label": value})
    (item,) = open_source(str(tmp_path / "a.parquet"), SourceOptions(label="label")).items
    assert (item.label, item.payload) == (str(value), {})

"""Sources: the same picture under the same key, wherever it is read from."""

import io
import os
import pickle
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cbir.errors import CbirError, ImageError, UsageError
from cbir.images.files import read_file
from cbir.models.embedder import Embedder
from cbir.records import Item
from cbir.sources.base import Source, SourceOptions, in_shard, parse_shard
from cbir.sources.registry import OPENERS, open_source

COLOURS = {"red/a.jpg": "red", "red/b.jpg": "darkred", "blue/c.jpg": "blue", "green/d.jpg": "green"}


def jpeg(colour: str) -> bytes:
    """A picture that lies on its side and says so in its EXIF block."""
    image = Image.new("RGB", (60, 80), colour)
    image.paste("white", (10, 10, 30, 70))
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=exif.tobytes())
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "shapes"
    for name, colour in COLOURS.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(jpeg(colour))
    (root / "red" / "notes.txt").write_text("no picture")
    (root / ".hidden").mkdir()
    (root / ".hidden" / "e.jpg").write_bytes(jpeg("black"))
    return root


@pytest.fixture
def table(folder: Path) -> datasets.Dataset:
    rows = {
        "image": [{"bytes": (folder / name).read_bytes(), "path": Path(name).name} for name in COLOURS],
        "colour": [name.split("/")[0] for name in COLOURS],
        "number": [1.5, float("nan"), 3.0, 4.0],
    }
    features = datasets.Features(
        {"image": datasets.Image(), "colour": datasets.Value("string"), "number": datasets.Value("float64")}
    )
    return datasets.Dataset.from_dict(rows, features=features)


def read(source: Source) -> dict[str, tuple[str | None, bytes]]:
    return {Path(item.key).name: (item.label, item.read()) for item in source.items}


EXPECTED = {Path(name).name: (name.split("/")[0], jpeg(colour)) for name, colour in COLOURS.items()}


def every_source(folder: Path, table: datasets.Dataset, tmp_path: Path) -> dict[str, Source]:
    """The same pictures, from each kind of source that needs no network."""
    table.to_parquet(str(tmp_path / "shapes.parquet"))
    table.save_to_disk(str(tmp_path / "saved"))
    labelled = SourceOptions(label="colour")
    arrow = next((tmp_path / "saved").glob("*.arrow"))
    return {
        "folder": open_source(str(folder), SourceOptions()),
        "parquet": open_source(str(tmp_path / "shapes.parquet"), labelled),
        "glob": open_source(str(tmp_path / "*.parquet"), labelled),
        "arrow": open_source(str(arrow), labelled),
        "saved": open_source(str(tmp_path / "saved"), labelled),
        "imagefolder": open_source(f"imagefolder:{folder}", SourceOptions()),
    }


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def test_a_picture_is_the_same_from_every_source(
    folder: Path, table: datasets.Dataset, tmp_path: Path, embedder: Embedder
) -> None:
    for kind, source in every_source(folder, table, tmp_path).items():
        assert read(source) == EXPECTED, kind
        assert source.total == len(COLOURS), kind
    vectors = [
        embedder.embed(
            [embedder.decode(item.read(), 40) for item in sorted(source.items, key=lambda item: item.key[-5:])]
        )
        for source in every_source(folder, table, tmp_path).values()
    ]
    assert all(np.array_equal(vectors[0], other) for other in vectors)


def test_a_source_can_be_read_twice(table: datasets.Dataset, tmp_path: Path) -> None:
    table.to_parquet(str(tmp_path / "shapes.parquet"))
    source = open_source(str(tmp_path / "shapes.parquet"), SourceOptions())
    assert read(source) == read(source)


def test_keys_labels_and_payload(folder: Path, table: datasets.Dataset, tmp_path: Path) -> None:
    items = {item.key: item for item in open_source(str(folder), SourceOptions()).items}
    assert sorted(items) == sorted(COLOURS)
    assert items["red/a.jpg"].version
    table.to_parquet(str(tmp_path / "shapes.parquet"))
    rows = list(open_source(str(tmp_path / "shapes.parquet"), SourceOptions(label="colour", key="number")).items)
    assert [row.key for row in rows] == ["1.5", "nan", "3.0", "4.0"]
    assert set(rows[0].payload or {}) == {"number"}


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


def test_top_classes_and_limit(folder: Path, table: datasets.Dataset, tmp_path: Path) -> None:
    for source, label in ((str(folder), None), (str(tmp_path / "t.parquet"), "colour")):
        table.to_parquet(str(tmp_path / "t.parquet"))
        top = list(open_source(source, SourceOptions(label=label, top_classes=1)).items)
        assert {item.label for item in top} == {"red"}
        two = list(open_source(source, SourceOptions(label=label, top_classes=2)).items)
        assert {item.label for item in two} == {"red", "blue"}  # of equally frequent ones the first in the alphabet
        assert len(list(open_source(source, SourceOptions(label=label, limit=3)).items)) == 3


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("./nowhere", SourceOptions(), "./nowhere does not exist"),
        ("./nowhere.parquet", SourceOptions(), "./nowhere.parquet does not exist"),
        ("imagefolder:./nowhere", SourceOptions(), "is not a folder"),
        ("sample://other", SourceOptions(), "no sample 'other'"),
        ("table.parquet", SourceOptions(label="shape"), "no column 'shape' for --label; its columns are image, colour"),
        ("table.parquet", SourceOptions(key="shape"), "no column 'shape' for --key"),
        ("table.parquet", SourceOptions(top_classes=3), "needs labels"),
        ("shapes", SourceOptions(label="colour"), "--label means nothing for a folder"),
        ("shapes/.hidden", SourceOptions(), ""),
        ("shapes/empty", SourceOptions(), "has no image file"),
        ("plain.parquet", SourceOptions(), "has no image column"),
        ("broken.parquet", SourceOptions(), "cannot read broken.parquet"),
    ],
)
def test_a_wrong_source_is_one_line(
    text: str, options: SourceOptions, message: str, folder: Path, table: datasets.Dataset, tmp_path: Path
) -> None:
    (folder / "empty").mkdir()
    table.to_parquet(str(tmp_path / "table.parquet"))
    table.remove_columns("image").to_parquet(str(tmp_path / "plain.parquet"))
    (tmp_path / "broken.parquet").write_bytes((tmp_path / "table.parquet").read_bytes()[:300])
    if not message:
        assert len(list(open_source(text, options).items)) == 1
        return
    with pytest.raises(UsageError, match=message) as caught:
        open_source(text, options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", OPENERS)
def test_every_form_has_an_opener_and_is_named_where_none_fits(form: str) -> None:
    module, _, function = OPENERS[form].partition(".")
    assert callable(getattr(import_module(f"cbir.sources.{module}"), function))
    with pytest.raises(UsageError, match="./nowhere does not exist; a source is a folder") as caught:
        open_source("./nowhere", SourceOptions())
    assert f" {form}" in str(caught.value)


@pytest.mark.parametrize("name", ["sample", "hf", ".tar", "a:b", "x.parquet", "x.csv"])
def test_a_folder_may_be_called_as_a_scheme_or_a_file_is(name: str, folder: Path, tmp_path: Path) -> None:
    folder.rename(tmp_path / name)
    assert open_source(name, SourceOptions()).name == name


def test_a_split_is_an_origin_of_its_own_and_refused_where_there_is_none(
    table: datasets.Dataset, tmp_path: Path
) -> None:
    datasets.DatasetDict(train=table, test=table.select([0])).save_to_disk(str(tmp_path / "dict"))
    table.to_parquet(str(tmp_path / "t.parquet"))
    train, test = (open_source("dict", SourceOptions(split=split)) for split in (None, "test"))
    assert (train.total, test.total) == (4, 1)
    assert train.origin != test.origin
    for text in ("t.parquet", "shapes", "sample://openmoji"):
        with pytest.raises(UsageError, match="--split means nothing"):
            open_source(text, SourceOptions(split="test"))
    with pytest.raises(UsageError, match="no split 'x'; it has train, test"):
        open_source("dict", SourceOptions(split="x"))


def test_keys_do_not_depend_on_the_rows_chosen_and_keep_their_folders(tmp_path: Path) -> None:
    names = [None, "cat/0.png", "dog/0.png", "dog/1.png"]
    pictures = [{"bytes": jpeg("red"), "path": name} if name else None for name in names]
    data = datasets.Dataset.from_dict({"image": pictures, "id": [1, 2, 3, 4], "kind": ["cat", "cat", "dog", "dog"]})
    data.cast_column("image", datasets.Image()).to_parquet(str(tmp_path / "x.parquet"))
    every = [item.key for item in open_source("x.parquet", SourceOptions(label="kind")).items]
    assert every == ["row 0", "cat/0.png", "dog/0.png", "dog/1.png"]
    dogs = [item.key for item in open_source("x.parquet", SourceOptions(label="kind", top_classes=1, limit=9)).items]
    assert dogs == every[:2]


def test_a_file_whose_name_is_a_pattern_is_read(table: datasets.Dataset, tmp_path: Path) -> None:
    table.to_parquet(str(tmp_path / "[a].parquet"))
    assert open_source("[a].parquet", SourceOptions()).total == 4


def test_a_folder_that_cannot_be_listed_is_an_item_that_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def scandir(path: str) -> Any:
        if str(path).endswith("blue"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    items = {item.key: item for item in open_source(str(folder), SourceOptions()).items}
    assert set(items) == {"red/a.jpg", "red/b.jpg", "green/d.jpg", "blue"}
    with pytest.raises(ImageError, match="cannot list this folder: Permission denied"):
        items["blue"].read()


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageError, match="not a regular file"):
        read_file(tmp_path / "pipe.jpg")
    with pytest.raises(OSError, match="No such file"):
        read_file(tmp_path / "gone.jpg")


def test_a_row_cannot_point_out_of_its_data_set(tmp_path: Path) -> None:
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(jpeg("red"))
    data = datasets.Dataset.from_dict({"image": [{"bytes": None, "path": str(secret)}]})
    (tmp_path / "sub").mkdir()
    data.cast_column("image", datasets.Image(decode=False)).to_parquet(str(tmp_path / "sub" / "x.parquet"))
    (item,) = open_source(str(tmp_path / "sub" / "x.parquet"), SourceOptions()).items
    with pytest.raises(ImageError, match="leads out"):
        item.read()


def test_the_sample_has_nine_classes_and_no_skin_tones() -> None:
    items = list(open_source("sample://openmoji", SourceOptions()).items)
    assert 1600 < len(items) < 2200
    assert len({item.label for item in items}) == 9
    assert not any(tone in item.key for item in items for tone in ("1F3FB", "1F3FC", "1F3FD", "1F3FE", "1F3FF"))
    assert len({item.key for item in items}) == len(items)
    assert items[0].read().startswith(b"\x89PNG")
    assert isinstance(items[0], Item)


def test_an_unreachable_hub_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(CbirError, match="no-such-owner/no-such-set") as caught:
        open_source("hf://no-such-owner/no-such-set", SourceOptions())
    assert "\n" not in str(caught.value)


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
    with pytest.raises(UsageError, match="--streaming means nothing for saved"):
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
        with pytest.raises(UsageError, match="holds bytes; those with values are kind, year, tags"):
            found(**options)
    with pytest.raises(UsageError, match="no column 'size' for --payload; its columns are image, mask, raw, kind"):
        found(payload=("kind", "size"))
    with pytest.raises(UsageError, match="--allow-private-addresses means nothing for t.parquet, a data set"):
        found(allow_private_addresses=True)


def test_items_travel_to_other_processes_one_by_one(folder: Path, table: datasets.Dataset, tmp_path: Path) -> None:
    for kind, source in every_source(folder, table, tmp_path).items():
        for item in source.items:
            packed = pickle.dumps(item)
            assert pickle.loads(packed).read() == item.read(), kind  # noqa: S301
            assert len(packed) < 2 * len(item.read()) + 1000, kind


def test_shards_of_every_source_are_disjoint_and_together_all(
    folder: Path, table: datasets.Dataset, tmp_path: Path
) -> None:
    (folder / "t.jsonl").write_text("".join(f'{{"path": "{name}"}}\n' for name in COLOURS))
    with tarfile.open(tmp_path / "t.tar", "w") as file:
        for name in COLOURS:
            file.add(folder / name, name)
    texts = ["shapes", "shapes/t.jsonl", "t.tar", "saved", "shapes.parquet", "sample://openmoji"]
    every_source(folder, table, tmp_path)
    for text in texts:
        whole = [item.key for item in open_source(text, SourceOptions()).items]
        for limit in (None, 3):
            parts = [open_source(text, SourceOptions(shard=(part, 3), limit=limit)) for part in (1, 2, 3)]
            keys = [item.key for part in parts for item in part.items]
            assert sorted(keys) == sorted(whole[:limit]), text
            assert not any(part.complete for part in parts)
            assert all(part.total in (None, len(list(part.items))) for part in parts)


@given(key=st.text(), count=st.integers(1, 100))
def test_a_key_is_in_one_shard(key: str, count: int) -> None:
    assert sum(in_shard(key, (number, count)) for number in range(1, count + 1)) == 1


def test_shards_are_even_and_the_same_for_ever() -> None:
    keys = [f"{number:05}.jpg" for number in range(10_000)]
    sizes = [sum(in_shard(key, (number, 4)) for key in keys) for number in (1, 2, 3, 4)]
    assert all(abs(size - 2500) < 150 for size in sizes)
    assert [[number for number in range(1, 17) if in_shard(key, (number, 16))] for key in ("a.jpg", "\udcff.jpg")] == [
        [10],
        [12],
    ]


@pytest.mark.parametrize(
    "text", ["", "3", "3/", "/16", "0/16", "17/16", "-1/16", "1/0", "1.0/2", "a/b", "1/2/3", "²/3"]
)
def test_what_is_no_shard(text: str) -> None:
    assert parse_shard("3/16") == (3, 16)
    with pytest.raises(UsageError, match=r"is not I/N with 1 <= I <= N, such as 3/16"):
        parse_shard(text)


def test_the_sample_has_columns_for_payload_and_refuses_the_rest() -> None:
    (item, *_) = open_source("sample://openmoji", SourceOptions(payload=("emoji",))).items
    assert item.payload == {"emoji": "😀"}
    (other, *_) = open_source("sample://openmoji", SourceOptions()).items
    assert item.version != other.version
    with pytest.raises(UsageError, match="no column 'x' for --payload; its columns are name, emoji"):
        open_source("sample://openmoji", SourceOptions(payload=("x",)))
    for options in ({"filter": "name=x"}, {"streaming": True}, {"allow_private_addresses": True}, {"label": "x"}):
        with pytest.raises(UsageError, match="means nothing for sample://openmoji"):
            open_source("sample://openmoji", SourceOptions(**options))


def test_an_image_folders_version_changes_with_its_files(folder: Path) -> None:
    """Its rows hold paths, and a file is not read again to learn that it is the same."""
    before = {item.key: item.version for item in open_source(f"imagefolder:{folder}", SourceOptions()).items}
    os.utime(folder / "red" / "a.jpg", ns=(1, 1))
    after = {item.key: item.version for item in open_source(f"imagefolder:{folder}", SourceOptions()).items}
    assert all(before.values())
    assert [key for key in before if before[key] != after[key]] == ["red/a.jpg"]

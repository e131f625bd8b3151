"""Every kind of source is opened by the text that names it, and gives the same images."""

import pickle
import tarfile
from importlib import import_module
from pathlib import Path

import datasets
import numpy as np
import pytest

from cbir.errors import UsageError
from cbir.models.embedder import Embedder
from cbir.sources.base import SourceOptions
from cbir.sources.registry import OPENERS, open_source
from tests.support.sources import COLOURS, EXPECTED, every_source, read


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
        ("sample://other", SourceOptions(), "There is no sample 'other'"),
        ("table.parquet", SourceOptions(label="shape"), "no column 'shape' for --label. Its columns are image, colour"),
        ("table.parquet", SourceOptions(key="shape"), "no column 'shape' for --key"),
        ("table.parquet", SourceOptions(top_classes=3), "needs labels"),
        ("shapes", SourceOptions(label="colour"), "--label does not work with a folder"),
        ("shapes/.hidden", SourceOptions(), ""),
        ("shapes/empty", SourceOptions(), "has no image files"),
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
    with pytest.raises(UsageError, match="./nowhere does not exist. A source is a folder") as caught:
        open_source("./nowhere", SourceOptions())
    assert f" {form}" in str(caught.value)


@pytest.mark.parametrize("name", ["sample", "hf", ".tar", "a:b", "x.parquet", "x.csv"])
def test_a_folder_may_be_called_as_a_scheme_or_a_file_is(name: str, folder: Path, tmp_path: Path) -> None:
    folder.rename(tmp_path / name)
    assert open_source(name, SourceOptions()).name == name


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

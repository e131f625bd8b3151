"""Data sets that Hugging Face `datasets` finds: their split, their origin, and what cannot be loaded."""

from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets.packaged_modules.parquet.parquet import Parquet
from fsspec.implementations.memory import MemoryFileSystem

from cbir.errors import CbirError, UsageError
from cbir.sources import hf_loading
from cbir.sources.base import SourceOptions
from cbir.sources.registry import open_source
from tests.support.sources import jpeg


def test_a_split_is_an_origin_of_its_own_and_refused_where_there_is_none(
    table: datasets.Dataset, tmp_path: Path
) -> None:
    datasets.DatasetDict(train=table, test=table.select([0])).save_to_disk(str(tmp_path / "dict"))
    table.to_parquet(str(tmp_path / "t.parquet"))
    train, test = (open_source("dict", SourceOptions(split=split)) for split in (None, "test"))
    assert (train.total, test.total) == (4, 1)
    assert train.origin != test.origin
    for text in ("t.parquet", "shapes", "sample://openmoji"):
        with pytest.raises(UsageError, match="--split does not work with"):
            open_source(text, SourceOptions(split="test"))
    with pytest.raises(UsageError, match="no split 'x'. It has train, test"):
        open_source("dict", SourceOptions(split="x"))


def test_a_file_whose_name_is_a_pattern_is_read(table: datasets.Dataset, tmp_path: Path) -> None:
    table.to_parquet(str(tmp_path / "[a].parquet"))
    assert open_source("[a].parquet", SourceOptions()).total == 4


def test_an_unreachable_hub_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(CbirError, match="no-such-owner/no-such-set") as caught:
        open_source("hf://no-such-owner/no-such-set", SourceOptions())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("others", [0, 5], ids=["alone", "among small ones"])
@pytest.mark.parametrize("streaming", [False, True])
def test_a_cell_that_is_too_large_is_refused_before_it_is_converted(
    others: int, streaming: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`datasets` took 2.3 GB for a cell of 300 MB, and the file may have a few kilobytes."""
    monkeypatch.setattr(hf_loading, "MAX_FILE_BYTES", 10_000_000)
    monkeypatch.setattr(Parquet, "_generate_tables", None)
    cells = [{"bytes": bytes(size), "path": None} for size in (*[100] * others, 12_000_000, *[100] * others)]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    pq.write_table(pa.table({"image": pa.array(cells, kind)}), tmp_path / "a.parquet")
    message = r"a.parquet: a cell of image.bytes in row group 0 has 11 MiB, the limit is 9"
    with pytest.raises(UsageError, match=message):
        open_source(str(tmp_path / "a.parquet"), SourceOptions(streaming=streaming))


@pytest.mark.parametrize("streaming", [False, True])
def test_a_cell_of_a_file_on_the_hub_is_as_limited(
    streaming: bool, bucket: MemoryFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub is stood in for by a file system in memory."""
    monkeypatch.setattr(datasets.config, "DOWNLOADED_DATASETS_PATH", tmp_path / "downloads")
    monkeypatch.setattr(hf_loading, "MAX_FILE_BYTES", 10_000_000)
    for name, sizes in (("a", [100, 100]), ("b", [100, 12_000_000])):
        with bucket.open(f"/me/{name}.parquet", "wb") as file:
            pq.write_table(pa.table({"image": [bytes(size) for size in sizes]}), file)
    builder = datasets.load_dataset_builder("parquet", data_files="memory://me/*.parquet")
    monkeypatch.setattr(datasets, "load_dataset_builder", {"me/photos": builder}.get)
    with pytest.raises(UsageError, match=r": a cell of image in row group 0 has 11 MiB, the limit is 9"):
        list(open_source("hf://me/photos", SourceOptions(streaming=streaming)).items)


def test_a_large_row_group_of_small_cells_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hf_loading, "MAX_FILE_BYTES", 5_000)
    lists = [[bytes(range(90))], [], None] * 100
    texts = [f"{number:090}" for number in range(300)]
    columns = {"image": [jpeg("red")[:4000]] * 300, "notes": pa.array(lists), "text": texts}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    assert open_source(str(tmp_path / "a.parquet"), SourceOptions()).total == 300


@pytest.mark.parametrize("streaming", [False, True])
def test_a_large_dictionary_column_is_read(streaming: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hf_loading, "MAX_FILE_BYTES", 5_000)
    kinds = pa.array([f"{number:090}" for number in range(300)]).dictionary_encode()
    pq.write_table(pa.table({"image": [jpeg("red")[:4000]] * 300, "kind": kinds}), tmp_path / "a.parquet")
    source = open_source(str(tmp_path / "a.parquet"), SourceOptions(streaming=streaming))
    assert source.total == 300
    assert [item.payload for item in source.items][7] == {"kind": f"{7:090}"}


def test_repeated_cells_are_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dictionary page has a cell once, and the rows repeat it: together they may be a thousand times larger."""
    monkeypatch.setattr(hf_loading, "MAX_FILE_BYTES", 5_000_000)
    cells = [bytes([i]) * 3_000_000 for i in range(2)]
    pq.write_table(pa.table({"image": cells * 500}), tmp_path / "a.parquet", dictionary_pagesize_limit=10_000_000)
    memory = pa.proxy_memory_pool(pa.default_memory_pool())
    before = pa.default_memory_pool()
    pa.set_memory_pool(memory)
    try:
        hf_loading._check_cells(str(tmp_path / "a.parquet"))
    finally:
        pa.set_memory_pool(before)
    assert memory.max_memory() < 100_000_000

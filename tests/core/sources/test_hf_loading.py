"""Data sets that Hugging Face `datasets` finds: their split, their origin, and what cannot be loaded."""

from pathlib import Path

import datasets
import pytest

from cbir.errors import CbirError, UsageError
from cbir.sources.base import SourceOptions
from cbir.sources.registry import open_source


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

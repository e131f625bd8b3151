"""The packaged sample."""

import pytest

from cbir.errors import UsageError
from cbir.records import Item
from cbir.sources.base import SourceOptions
from cbir.sources.registry import open_source


def test_the_sample_has_nine_classes_and_no_skin_tones() -> None:
    items = list(open_source("sample://openmoji", SourceOptions()).items)
    assert 1600 < len(items) < 2200
    assert len({item.label for item in items}) == 9
    assert not any(tone in item.key for item in items for tone in ("1F3FB", "1F3FC", "1F3FD", "1F3FE", "1F3FF"))
    assert len({item.key for item in items}) == len(items)
    assert items[0].read().startswith(b"\x89PNG")
    assert isinstance(items[0], Item)


def test_the_sample_has_columns_for_payload_and_refuses_the_rest() -> None:
    (item, *_) = open_source("sample://openmoji", SourceOptions(payload=("emoji",))).items
    assert item.payload == {"emoji": "😀"}
    (other, *_) = open_source("sample://openmoji", SourceOptions()).items
    assert item.version != other.version
    with pytest.raises(UsageError, match="no column 'x' for --payload. Its columns are name, emoji"):
        open_source("sample://openmoji", SourceOptions(payload=("x",)))
    for options in ({"filter": "name=x"}, {"streaming": True}, {"allow_private_addresses": True}, {"label": "x"}):
        with pytest.raises(UsageError, match="does not work with sample://openmoji"):
            open_source("sample://openmoji", SourceOptions(**options))

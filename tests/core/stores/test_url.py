"""Store URLs: what they mean and which are refused."""

from pathlib import Path

import pytest

from cbir.errors import UsageError
from cbir.stores.url import as_url, locate, parse, with_index_fields


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("redis://x", "unknown store"),
        ("edge:", "unknown store"),
        ("./index", "unknown store"),
        ("edge:./index?nprobe=3", "unknown option 'nprobe'; edge has m, ef_construct, quantization"),
        ("faiss:./index?ef=many", "whole number from 1"),
        ("edge:./index?m=0", "whole number from 1"),
        ("edge:./index?quantization=half", "one of none, scalar, product, binary, turbo"),
        ("edge:./index?ef=1000001", "whole number from 1 to 1,000,000"),
        ("edge:./index?rescore=2", "rescore must be one of 0, 1, not '2'"),
    ],
)
def test_a_wrong_url_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse(text)


def test_paths_inside_an_index_folder_name_its_indexes(tmp_path: Path) -> None:
    def places(*urls: str) -> list[tuple[str, str]]:
        return [(str(place.root.relative_to(tmp_path)), place.name) for place in locate([parse(url) for url in urls])]

    assert places(f"edge:{tmp_path}/i", f"faiss:{tmp_path}/i/flat") == [("i", "edge"), ("i", "flat")]
    assert places(f"faiss:{tmp_path}/i/flat") == [("i/flat", "faiss")]
    (tmp_path / "i").mkdir()
    (tmp_path / "i" / "cbir.json").write_text("{}")
    assert places(f"faiss:{tmp_path}/i/flat") == [("i", "flat")]
    (tmp_path / "link").symlink_to(tmp_path / "i")
    assert places(f"edge:{tmp_path}/link", f"faiss:{tmp_path}/x/../i/flat") == [("i", "edge"), ("i", "flat")]
    for name in ("log", "tail", "building", "a.b", "a b"):
        with pytest.raises(UsageError, match="cannot be an index's name"):
            locate([parse(f"edge:{tmp_path}/i/{name}")])
    with pytest.raises(UsageError, match="the same index twice"):
        locate([parse(f"edge:{tmp_path}/i"), parse(f"edge:{tmp_path}/i?ef=9")])


def test_the_fields_to_index_go_to_the_engines_that_have_field_indexes() -> None:
    found = with_index_fields(["./i?m=8", "faiss:./i/faiss", "edge:./j"], ["year", "my field"])
    assert found == ["edge:./i?m=8&index_field=year,my+field", "faiss:./i/faiss", "edge:./j?index_field=year,my+field"]
    assert parse(found[0]).options == {"m": "8", "index_field": "year,my field"}
    with pytest.raises(UsageError, match="--index-field works with edge:PATH only"):
        with_index_fields(["faiss:./i", "http://localhost:6333"], ["year"])


@pytest.mark.parametrize(
    ("store", "url"),
    [
        ("./index", "edge:./index"),
        (Path("a/b"), "edge:a/b"),
        ("faiss:./index", "faiss:./index"),
        ("C:/index", "edge:C:/index"),
        ("https://host", "https://host"),
    ],
)
def test_a_bare_path_is_an_index_folder(store: str | Path, url: str) -> None:
    assert as_url(store) == url


def test_the_parts_of_a_url() -> None:
    url = parse("faiss:./index/a?index=IVF8,Flat&nprobe=3")
    assert (url.scheme, url.path, url.options) == ("faiss", "./index/a", {"index": "IVF8,Flat", "nprobe": "3"})
    assert parse("edge:i?m=1&ef=1000000&on_disk=1&index_field=").options["ef"] == "1000000"
    server = parse("https://host:443/q?m=32&shards=")
    assert (server.path, server.options) == ("https://host:443/q", {"m": "32", "shards": ""})

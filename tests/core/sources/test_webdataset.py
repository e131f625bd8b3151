"""WebDataset shards: every sample stands for itself, nothing is unpacked, and damage is named."""

import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbir.errors import CbirError, ImageError, UsageError
from cbir.records import full_payload
from cbir.sources.base import SourceOptions
from cbir.sources.registry import open_source

Member = tuple[str, bytes]


def tar(path: Path, members: Iterable[Member]) -> Path:
    with tarfile.open(path, "w") as file:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


def sample(number: int, suffix: str = "jpg", **fields: Any) -> list[Member]:
    name = f"{number:04}"
    return [
        (f"{name}.{suffix}", f"image {number}".encode()),
        (f"{name}.json", json.dumps({"n": number, **fields}).encode()),
        (f"{name}.txt", "a fox, größer".encode()),
        (f"{name}.cls", str(number % 2).encode()),
    ]


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    folder = tmp_path / "shards"
    folder.mkdir()
    for shard in range(3):
        tar(folder / f"{shard}.tar", [member for n in range(4) for member in sample(shard * 4 + n)])
    return folder


@pytest.fixture
def bucket(shards: Path) -> Iterator[str]:
    files = fsspec.filesystem("memory")
    files.store.clear()
    for path in shards.iterdir():
        files.pipe_file(f"/wds/shards/{path.name}", path.read_bytes())
    yield "memory://wds/shards"
    files.store.clear()


@pytest.mark.parametrize("pattern", ["webdataset:shards/*.tar", "shards/*.tar", "webdataset:memory://wds/shards/*.tar"])
def test_the_samples_of_all_shards(shards: Path, bucket: str, pattern: str) -> None:
    source = open_source(pattern, SourceOptions())
    for _ in range(2):
        items = list(source.items)
        assert [item.key for item in items] == [f"{n:04}.jpg" for n in range(12)]
        assert [item.read() for item in items] == [f"image {n}".encode() for n in range(12)]
        assert [item.label for item in items] == ["0", "1"] * 6
        assert items[5].payload == {"n": 5, "txt": "a fox, größer"}
        assert len({item.version for item in items}) == 12
    assert (source.name, source.total, source.complete) == ("shards", None, True)
    assert source.origin == (f"{bucket}/*.tar" if "memory" in pattern else f"{shards}/*.tar")


def test_one_shard(shards: Path) -> None:
    source = open_source("shards/1.tar", SourceOptions())
    assert (source.name, len(list(source.items))) == ("1", 4)


def test_options_choose(shards: Path) -> None:
    def keys(**options: Any) -> list[int]:
        return [int(item.key[:4]) for item in open_source("shards/*.tar", SourceOptions(**options)).items]

    assert keys(filter="n>=10") == [10, 11]
    assert keys(filter="cls=1 and n<4") == [1, 3]
    assert keys(limit=2) == [0, 1]
    assert keys(top_classes=1) == [0, 2, 4, 6, 8, 10]
    assert sorted(keys(shard=(1, 2)) + keys(shard=(2, 2))) == list(range(12))
    (first, *_) = open_source("shards/*.tar", SourceOptions(label="txt", key="n", payload=("cls",))).items
    assert (first.key, first.label, first.payload) == ("0", "a fox, größer", {"cls": "0"})


def test_a_sample_says_what_is_wrong_with_it_and_harms_no_other(tmp_path: Path) -> None:
    """All of these end the run of `datasets`, or its opening."""
    odd: list[list[Member]] = [
        sample(0),
        sample(1, suffix="png"),
        sample(2, suffix="JPEG", late="field"),
        sample(3, n="text where a number was"),
        [("0004.jpg", b"image 4"), ("0004.json", b"{broken")],
        [("0005.jpg", b"image 5"), ("0005.cls", b"fox")],
        [("0006.json", b"{}")],
        [("0007.jpg", b"image 7"), ("0007.json", b"[" * 100_000 + b"]" * 100_000)],
        [("0008.jpg", b"image 8"), ("0008.json", b"[1, 2]")],
        [("0009.jpg", b"image 9"), ("0009.mask.png", b"not the image"), ("0009.pth", b"never loaded")],
        [("./a.b/0010.jpg", b"image 10"), ("./a.b/0010.txt", b"\xff")],
        [("._0011.jpg", b"what macOS adds"), ("README", b"no dot")],
        sample(12),
    ]
    tar(tmp_path / "x.tar", [member for members in odd for member in members])
    items = {item.key: item for item in open_source("x.tar", SourceOptions()).items}
    good = {
        "0000.jpg",
        "0001.png",
        "0002.JPEG",
        "0003.jpg",
        "0005.jpg",
        "0008.jpg",
        "0009.jpg",
        "a.b/0010.jpg",
        "0012.jpg",
    }
    assert {key: items[key].read() for key in good} == {
        key: f"image {int(key.split('/')[-1][:4])}".encode() for key in good
    }
    assert items["0002.JPEG"].payload == {"n": 2, "late": "field", "txt": "a fox, größer"}
    assert items["0005.jpg"].label == "fox"
    assert items["0008.jpg"].payload == {"json": [1, 2]}
    assert full_payload(items["a.b/0010.jpg"], "")["txt"] == "\ufffd"
    bad = {
        "0004.jpg": "its .json is not JSON",
        "0006": "the sample has no image",
        "0007.jpg": "nested deeper than 50 levels",
    }
    assert set(items) == good | set(bad)
    for key, reason in bad.items():
        with pytest.raises(ImageError, match=reason):
            items[key].read()


def test_links_and_folders_in_a_tar_are_not_followed(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as file:
        for kind, name in ((tarfile.SYMTYPE, "0.jpg"), (tarfile.LNKTYPE, "1.jpg"), (tarfile.DIRTYPE, "2.jpg")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            file.addfile(info)
        for name, data in sample(3):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    assert [item.key for item in open_source("x.tar", SourceOptions()).items] == ["0003.jpg"]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("nowhere.tar", {}, "nowhere.tar does not exist"),
        ("webdataset:nowhere/*.tar", {}, "webdataset:nowhere/\\*.tar does not exist"),
        ("webdataset:memory://nowhere/*.tar", {}, "does not exist"),
        ("webdataset:https://example.org/x.tar", {}, "cannot be listed as a folder"),
        ("empty.tar", {}, "no image in its first 0 samples"),
        ("text.tar", {}, "no image in its first 1 samples"),
        ("shards/*.tar", {"label": "kind"}, "no column 'kind' for --label. Its columns are n, txt, cls"),
        ("shards/*.tar", {"payload": ("kind",)}, "no column 'kind' for --payload"),
        ("shards/*.tar", {"filter": "kind=1"}, "no column 'kind' for --filter"),
        ("shards/*.tar", {"split": "x"}, "--split does not work with WebDataset shards"),
        (
            "shards/*.tar",
            {"allow_private_addresses": True},
            "--allow-private-addresses does not work with WebDataset shards",
        ),
    ],
)
def test_wrong_shards_are_one_line(
    shards: Path, tmp_path: Path, text: str, options: dict[str, Any], message: str
) -> None:
    tar(tmp_path / "empty.tar", [])
    tar(tmp_path / "text.tar", [("a.txt", b"text")])
    with pytest.raises(UsageError, match=message) as caught:
        open_source(text, SourceOptions(**options))
    assert "\n" not in str(caught.value)


def test_damage_is_named_after_what_came_before(shards: Path) -> None:
    """tarfile itself takes a broken header in the middle for the end of the archive, and says nothing."""
    whole = (shards / "1.tar").read_bytes()
    with tarfile.open(shards / "1.tar") as file:
        third = next(member for member in file if member.name == "0006.jpg")
    damaged = {
        "flipped header": whole[: third.offset] + b"\xff" * 40 + whole[third.offset + 40 :],
        "cut in a header": whole[: third.offset + 100],
        "cut in an image": whole[: third.offset_data + 3],
        "no tar": b"x" * 2000,
        "impossible size": with_size(whole, third.offset, b"\x80" + b"\xff" * 11),
        "negative size": whole[: third.offset + 124] + b"\xff" * 12 + whole[third.offset + 136 :],
    }
    for kind, data in damaged.items():
        (shards / "1.tar").write_bytes(data)
        source = open_source("shards/*.tar", SourceOptions())
        items = iter(source.items)
        expected = 4 if kind == "no tar" else 5  # nobody knows whether the sixth is whole
        assert [next(items).key for _ in range(expected)] == [f"{n:04}.jpg" for n in range(expected)], kind
        with pytest.raises(CbirError, match=r"1.tar is damaged or cannot be read"):
            list(items)


def with_size(archive: bytes, offset: int, size: bytes) -> bytes:
    """Return the archive with another size field in a header, and the right checksum."""
    header = bytearray(archive[offset : offset + 512])
    header[124:136], header[148:156] = size, b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return archive[:offset] + header + archive[offset + 512 :]


@settings(max_examples=150, deadline=2000)
@given(position=st.integers(0, 10_239), size=st.integers(1, 64), value=st.integers(0, 255))
def test_any_damage_ends_in_items_or_in_one_line(
    position: int, size: int, value: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tar(tmp_path_factory.mktemp("any") / "x.tar", [member for n in range(4) for member in sample(n)])
    data = bytearray(path.read_bytes())
    data[position : position + size] = bytes([value]) * size
    path.write_bytes(data)
    try:
        for item in open_source(str(path), SourceOptions()).items:
            with suppress(ImageError):
                item.read()
    except CbirError as error:
        assert "\n" not in str(error)

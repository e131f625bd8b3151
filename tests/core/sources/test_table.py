"""Tables of paths and URLs, and standard input: every row is an item, and a bad one says why."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbir.errors import ImageError, UsageError
from cbir.records import full_payload, to_json
from cbir.sources.base import Source, SourceOptions
from cbir.sources.registry import open_source
from tests.support.sources import jpeg, reason
from tests.support.web_server import Site, answer


def test_csv_tsv_and_json_lines_are_the_same_items(shop: Path) -> None:
    rows = [{"id": f"00{n}", "file_name": f"img/{n}.jpg", "kind": "tea, green", "note": "a\nb"} for n in range(3)]
    (shop / "a.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    for suffix, separator in ((".csv", ","), (".tsv", "\t")):
        lines = [separator.join(rows[0]), *(separator.join(f'"{value}"' for value in row.values()) for row in rows)]
        (shop / f"a{suffix}").write_text("\ufeff" + "\r\n".join(lines) + "\r\n", newline="")
    found = [
        list(open_source(str(shop / name), SourceOptions(label="kind")).items) for name in ("a.csv", "a.tsv", "a.jsonl")
    ]
    for items in found:
        assert [item.key for item in items] == ["img/0.jpg", "img/1.jpg", "img/2.jpg"]
        assert [item.read() for item in items] == [jpeg(colour) for colour in ("red", "green", "blue")]
        assert [item.payload for item in items] == [{"id": f"00{n}", "note": "a\nb"} for n in range(3)]
        assert {item.label for item in items} == {"tea, green"}
        assert [item.version for item in items] == [item.version for item in found[0]]
        assert all(item.version for item in items)


def test_json_keeps_numbers_and_csv_has_text(shop: Path) -> None:
    (shop / "a.jsonl").write_text('{"path": "img/0.jpg", "n": 5, "deep": {"x": [1.5, null, true]}, "nan": NaN}\n')
    (shop / "a.csv").write_text("path,n\nimg/0.jpg,5\n")
    (item,) = open_source(str(shop / "a.jsonl"), SourceOptions()).items
    assert full_payload(item, "")["deep"] == {"x": [1.5, None, True]}
    assert full_payload(item, "")["nan"] is None
    (item,) = open_source(str(shop / "a.csv"), SourceOptions()).items
    assert item.payload == {"n": "5"}


def test_the_version_changes_with_the_file_the_label_and_the_payload(shop: Path) -> None:
    def version(line: str, **options: Any) -> str:
        (shop / "a.csv").write_text(f"path,label,n\n{line}\n")
        (item,) = open_source(str(shop / "a.csv"), SourceOptions(**options)).items
        return item.version

    first = version("img/0.jpg,tea,1", label="label")
    assert version("img/0.jpg,tea,1", label="label") == first
    others = [
        version("img/0.jpg,tea,2", label="label"),
        version("img/0.jpg,cup,1", label="label"),
        version("img/0.jpg,tea,1", label="label", payload=()),
    ]
    os.utime(shop / "img" / "0.jpg", ns=(1, 1))
    others.append(version("img/0.jpg,tea,1", label="label"))
    assert len({first, *others}) == 5


def test_options_choose_rows_and_columns(shop: Path) -> None:
    rows = [("img/0.jpg", "tea", 1), ("img/1.jpg", "cup", 2), ("img/2.jpg", "tea", 3)]
    (shop / "a.csv").write_text("path,kind,n\n" + "".join(f"{path},{kind},{n}\n" for path, kind, n in rows))

    def keys(**options: Any) -> list[str]:
        source = open_source(str(shop / "a.csv"), SourceOptions(**options))
        found = [item.key for item in source.items]
        assert source.total == len(found) == len(list(source.items))
        assert source.complete is (set(options) <= {"payload", "key", "label"})
        return found

    assert keys() == [path for path, _, _ in rows]
    assert keys(filter="n>1") == ["img/1.jpg", "img/2.jpg"]
    assert keys(filter="n>1 and kind!=cup") == ["img/2.jpg"]
    assert keys(label="kind", top_classes=1) == ["img/0.jpg", "img/2.jpg"]
    assert keys(limit=2) == ["img/0.jpg", "img/1.jpg"]
    assert keys(key="n") == ["1", "2", "3"]
    (first, *_) = open_source(str(shop / "a.csv"), SourceOptions(payload=("path", "n"))).items
    assert first.payload == {"path": "img/0.jpg", "n": "1"}


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"path": "../outside.jpg"}, "leads out of the table's folder"),
        ({"path": "img/../../outside.jpg"}, "leads out of the table's folder"),
        ({"path": "/etc/passwd"}, "leads out of the table's folder"),
        ({"path": "//etc/passwd"}, "leads out of the table's folder"),
        ({"path": "file:///etc/passwd"}, "only http and https are fetched, not file"),
        ({"path": "FILE:///etc/passwd"}, "only http and https are fetched, not file"),
        ({"path": "memory://x.jpg"}, "only http and https are fetched, not memory"),
        ({"path": "http://127.0.0.1:9/x.jpg"}, "private address"),
        ({"path": "img"}, "Is a directory"),
        ({"path": "img/pipe.jpg"}, "not a regular file"),
        ({"path": "img/9.jpg"}, "No such file"),
        ({"path": "img/0.jpg\0.png"}, "not a valid file name"),
        ({"path": "img/\ud800.jpg"}, "not a valid file name"),
        ({"path": "x" * 5000}, "File name too long"),
        ({"path": ""}, "no path or URL in path"),
        ({"path": " "}, "no path or URL in path"),
        ({"path": None}, "no path or URL in path"),
        ({"path": 5}, "no path or URL in path"),
        ({"path": ["img/0.jpg"]}, "no path or URL in path"),
        ({"other": "img/0.jpg"}, "no path or URL in path"),
    ],
)
def test_a_bad_row_is_an_item_that_says_why(shop: Path, row: dict[str, Any], why: str) -> None:
    os.mkfifo(shop / "img" / "pipe.jpg")
    good = {"path": "img/0.jpg"}
    (shop / "a.jsonl").write_text("\n".join(map(json.dumps, [good, row, good])))
    items = list(open_source(str(shop / "a.jsonl"), SourceOptions()).items)
    assert len(items) == 3
    assert why in reason(items[1])
    assert items[2].read() == jpeg("red")


@pytest.mark.parametrize(
    ("name", "text", "options", "message"),
    [
        (
            "a.csv",
            "photo,n\nx.jpg,1\n",
            {},
            "no column that names images. Name it one of image, .*. Its columns are photo, n",
        ),
        ("a.csv", "path;n\nx.jpg;1\n", {}, "Its columns are path;n"),
        ("a.csv", "path,n\nx.jpg,1\n", {"label": "kind"}, "no column 'kind' for --label. Its columns are path, n"),
        ("a.csv", "path,n\nx.jpg,1\n", {"key": "kind"}, "no column 'kind' for --key"),
        (
            "a.csv",
            "path,n\nx.jpg,1\n",
            {"payload": ("n", "kind")},
            "no column 'kind' for --payload. Its columns are path, n",
        ),
        ("a.csv", "path,n\nx.jpg,1\n", {"filter": "kind=1"}, "no column 'kind' for --filter"),
        ("a.csv", "path,n\nx.jpg,1\n", {"filter": "n"}, "the filter 'n' cannot be understood"),
        ("a.csv", "path,n\nx.jpg,1\n", {"split": "test"}, "--split does not work with .*a table"),
        ("a.csv", "path,n\nx.jpg,1\n", {"streaming": True}, "--streaming does not work with .*a table"),
        ("a.csv", "path,n\nx.jpg,1\n", {"top_classes": 2}, "needs labels"),
        ("a.csv", "", {}, "is empty"),
        ("a.csv", "path,n\n", {}, "is empty"),
        ("a.jsonl", "\n\n[1]\n", {}, "has no row that can be read"),
        ("b.csv", "", {}, "a.csv does not exist"),
    ],
)
def test_a_wrong_table_is_one_line(tmp_path: Path, name: str, text: str, options: dict[str, Any], message: str) -> None:
    (tmp_path / name).write_text(text)
    asked = "a.jsonl" if name == "a.jsonl" else "a.csv"
    with pytest.raises(UsageError, match=message) as caught:
        open_source(asked, SourceOptions(**options))
    assert "\n" not in str(caught.value)


def test_links_out_of_the_tables_folder_are_not_followed(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (shop / "out.jpg").symlink_to(shop.parent / "outside.jpg")
    (shop / "away").symlink_to(shop.parent)
    (shop / "in.jpg").symlink_to("img/0.jpg")
    lines = "out.jpg\naway/outside.jpg\nin.jpg\n"
    (shop / "a.csv").write_text(f"path\n{lines}")
    out, away, inside = open_source(str(shop / "a.csv"), SourceOptions()).items
    for item in (out, away):
        assert f"its path leads out of the table's folder, {shop}/ (a list on standard input may" in reason(item)
    assert inside.read() == jpeg("red")
    monkeypatch.chdir(shop)
    assert next(iter(from_stdin(monkeypatch, lines.encode()).items)).read() == jpeg("black")


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_column_named_label_is_the_class_unless_another_is_named(shop: Path, suffix: str) -> None:
    row = {"path": "img/0.jpg", "label": "tea", "kind": "cup"}
    (shop / "a.csv").write_text(f"{','.join(row)}\n{','.join(row.values())}\n")
    (shop / "a.jsonl").write_text(json.dumps(row))
    (item,) = open_source(str(shop / f"a.{suffix}"), SourceOptions()).items
    assert (item.label, item.payload) == ("tea", {"kind": "cup"})
    (item,) = open_source(str(shop / f"a.{suffix}"), SourceOptions(label="kind")).items
    assert (item.label, item.payload) == ("cup", {"label": "tea"})


@pytest.mark.parametrize("value", [["x", "y"], {"x": 1}])
def test_a_list_in_the_column_label_stays_a_field_unless_it_is_named(shop: Path, value: object) -> None:
    (shop / "a.jsonl").write_text(json.dumps({"path": "img/0.jpg", "label": value}))
    (item,) = open_source(str(shop / "a.jsonl"), SourceOptions()).items
    assert (item.label, item.payload) == (None, {"label": value})
    (item,) = open_source(str(shop / "a.jsonl"), SourceOptions(label="label")).items
    assert (item.label, item.payload) == (str(value), {})


def test_an_absolute_path_below_the_tables_folder_is_read(shop: Path) -> None:
    (shop / "a.csv").write_text(f"path\n{shop}/img/0.jpg\n./img//1.jpg\nimg/x/../2.jpg\n")
    items = list(open_source(str(shop / "a.csv"), SourceOptions()).items)
    assert [item.key for item in items] == ["img/0.jpg", "img/1.jpg", "img/2.jpg"]
    assert [item.read() for item in items] == [jpeg(colour) for colour in ("red", "green", "blue")]


def test_urls_are_fetched_and_never_show_a_password(shop: Path, site: Site) -> None:
    site.pages["/@me/a.jpg?x=1"] = lambda handler: answer(handler, jpeg("red"))
    (shop / "a.csv").write_text(f"URL,n\n{site.url}/@me/a.jpg?x=1,1\nhttp://me:secret@127.0.0.1/b.jpg,2\n")
    first, second = open_source(str(shop / "a.csv"), SourceOptions(allow_private_addresses=True)).items
    assert first.key == f"{site.url}/@me/a.jpg?x=1"
    assert first.read() == jpeg("red")
    assert (first.version, first.payload) == ("", {"n": "1"})
    assert second.key == "http://127.0.0.1/b.jpg"
    assert "secret" not in reason(second)
    (first, _) = open_source(str(shop / "a.csv"), SourceOptions()).items
    assert "private address" in reason(first)


def test_names_that_are_no_utf8_are_read(shop: Path) -> None:
    name = os.fsencode(shop) + b"/img/\xff.jpg"
    with open(name, "wb") as file:  # noqa: PTH123
        file.write(jpeg("red"))
    (shop / "a.csv").write_bytes(b"path\nimg/\xff.jpg\n")
    (item,) = open_source(str(shop / "a.csv"), SourceOptions()).items
    assert item.read() == jpeg("red")
    assert full_payload(item, "")["key"] == "img/\\udcff.jpg"


def from_stdin(monkeypatch: pytest.MonkeyPatch, data: bytes, **options: Any) -> Source:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    return open_source("-", SourceOptions(**options))


def test_standard_input_is_a_path_or_url_a_line(
    shop: Path,
    site: Site,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site.pages["/u.jpg"] = lambda handler: answer(handler, jpeg("blue"))
    lines = ["shop/img/0.jpg\r", "", f"{tmp_path}/outside.jpg", "shop/img/9.jpg", f"{site.url}/u.jpg"]
    source = from_stdin(monkeypatch, "\n".join(lines).encode(), allow_private_addresses=True)
    assert (source.name, source.origin, source.total, source.complete) == ("stdin", "standard input", 4, False)
    for _ in range(2):
        near, absolute, gone, url = source.items
        assert (near.key, near.read()) == ("shop/img/0.jpg", jpeg("red"))
        assert (absolute.key, absolute.read()) == ("outside.jpg", jpeg("black"))
        assert "No such file" in reason(gone)
        assert (url.key, url.read()) == (f"{site.url}/u.jpg", jpeg("blue"))


def test_standard_input_leads_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.jpg").write_bytes(jpeg("red"))
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    items = list(from_stdin(monkeypatch, f"../x.jpg\n{tmp_path}/x.jpg\n".encode()).items)
    assert [item.key for item in items] == [f"{tmp_path}/x.jpg"] * 2
    assert [item.read() for item in items] == [jpeg("red")] * 2


def test_standard_input_takes_json_lines(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"image": f"shop/img/{n}.jpg", "n": n} for n in range(3)]
    data = b"\n" + "\n".join(map(json.dumps, rows)).encode()
    source = from_stdin(monkeypatch, data, filter="n>=1", label="n")
    assert [(item.key, item.label) for item in source.items] == [("shop/img/1.jpg", "1"), ("shop/img/2.jpg", "2")]


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (b"", {}, "standard input is empty"),
        (b"\n\n", {}, "standard input is empty"),
        (b"a.jpg\n", {"label": "kind"}, "standard input has no column 'kind' for --label. Its columns are path"),
        (b"a.jpg\n", {"split": "x"}, "--split does not work with standard input"),
        (b'{"photo": "a.jpg"}', {}, "standard input has no column that names images"),
    ],
)
def test_wrong_standard_input_is_one_line(
    monkeypatch: pytest.MonkeyPatch, data: bytes, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        from_stdin(monkeypatch, data, **options)


def test_a_pipe_of_a_real_process(shop: Path) -> None:
    code = (
        "import sys; from cbir.sources.registry import *; items = open_source('-', SourceOptions()).items;"
        "sys.stdout.write(' '.join(item.key for item in items))"
    )
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", code],
        input=b"img/0.jpg\nimg/1.jpg",
        cwd=shop,
        capture_output=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == (b"img/0.jpg img/1.jpg", b"")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60)
@given(rows=st.lists(st.dictionaries(st.text() | st.just("path"), json_values, max_size=4), min_size=1, max_size=6))
def test_any_rows_give_items_with_payload_that_can_be_stored(
    rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("any") / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, [{"path": "x.jpg"}, *rows])))
    items = list(open_source(str(path), SourceOptions()).items)
    assert len(items) == len(rows) + 1
    for item in items:
        assert item.key
        to_json(full_payload(item, "")).encode()
        with pytest.raises((ImageError, OSError)):
            item.read()

"""Result files of `cbir-bench`: written atomically by the real commands, and checked when they are read."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from cbir.bench import command
from hypothesis import given, settings
from hypothesis import strategies as st

import cbir
from cbir.errors import CbirError
from cbir.evaluation import result_files
from cbir.evaluation.result_files import MAX_BYTES, SCHEMA, Report, keep, latest, shortened
from cbir.settings import Settings
from tests.support.building import both, build, store_options, unit_vectors
from tests.support.running import runner

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def read(folder: Path) -> dict[str, Report]:
    found, notes = latest(folder)
    assert notes == []
    return {report.kind: report for report in found}


def noted(folder: Path) -> list[str]:
    found, notes = latest(folder)
    assert found == []
    return notes


def test_the_commands_keep_what_they_print(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    build(both(tmp_path / "index"), unit_vectors(300))
    stores = store_options(both(tmp_path / "index"))
    run = runner(monkeypatch, capsys, command.main, "cbir-bench")
    for kind, options in (
        ("parity", []),
        ("latency", ["--rounds", "1", "--threads", "1", "--ef", "16", "--seconds", "0"]),
    ):
        code, out, err = run(kind, *stores, "-k", "5", "--queries", "20", "--json", "-", *options)
        assert code == 0, err
        report = read(Settings().reports)[kind]
        assert report.result == json.loads(out)
        assert report.command.startswith(f"cbir-bench {kind} --store edge:")
        assert report.cbir_version == cbir.__version__
        assert report.machine["cpus"] == os.cpu_count()
        assert report.result["benchmark"] == kind
    assert sorted(path.name for path in Settings().reports.iterdir()) == ["latency.json", "parity.json"]
    code, _, err = run("parity", *stores, "-k", "5", "--queries", "7")
    assert (code, read(Settings().reports)["parity"].result["queries"]) == (0, 7), err


def test_a_report_that_cannot_be_kept_costs_a_line_and_not_the_result(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    build(both(tmp_path / "index"), unit_vectors(100))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CBIR_REPORTS", str(tmp_path / "file" / "reports"))
    run = runner(monkeypatch, capsys, command.main, "cbir-bench")
    code, out, err = run("parity", "--store", both(tmp_path / "index")[0], "-k", "5", "--queries", "5", "--json", "-")
    assert code == 0
    assert json.loads(out)["benchmark"] == "parity"
    (warning,) = (record for record in caplog.records if record.name == "cbir.bench.core.subject")
    assert "was not kept for the page" in warning.getMessage()
    assert "see CBIR_REPORTS" in warning.getMessage()
    assert "Traceback" not in err


@settings(max_examples=20)
@given(result=st.dictionaries(st.text(), JSON, max_size=4))
def test_what_is_kept_is_read_back(result: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("reports")
    measured = {**result, "benchmark": "later-kind"}
    keep(measured, folder, ["later", "--store", "http://me:secret@host:6333", "a b"])
    report = read(folder)["later-kind"]
    assert report.result == measured
    assert report.command == "cbir-bench later --store http://host:6333 'a b'"
    assert report.schema == SCHEMA


def test_a_report_replaces_the_one_before_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep({"benchmark": "parity", "number": 1}, tmp_path)
    monkeypatch.setattr(result_files.os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(CbirError, match=r"was not kept .*No space left"):
        keep({"benchmark": "parity", "number": 2}, tmp_path)
    assert read(tmp_path)["parity"].result["number"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["parity.json"]


def test_a_report_that_is_too_large_is_neither_kept_nor_read(tmp_path: Path) -> None:
    with pytest.raises(CbirError, match="more than 16 MB"):
        keep({"benchmark": "parity", "text": "x" * MAX_BYTES}, tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "parity.json").write_bytes(b" " * (MAX_BYTES + 1))
    assert noted(tmp_path) == ["parity.json is left out: it has more than 16 MB"]


def envelope(**other: Any) -> bytes:
    whole = {
        "kind": "parity",
        "created": "2026-01-02T03:04:05+00:00",
        "cbir_version": "1",
        "command": "cbir-bench parity",
        "machine": {"python": "3.11"},
        "result": {},
        "schema": SCHEMA,
    }
    return json.dumps({**whole, **other}).encode()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is not JSON"),
        (b"\xff\xfe", "it is not JSON"),
        (b"[1, 2]", "it is no report of cbir-bench"),
        (b"{}", "it is no report of cbir-bench"),
        (b"[" * 100_000, "it is nested too deeply"),
        (envelope(result={"x": float("nan")}), "NaN is no figure"),
        (envelope(result=[]), "it is no report of cbir-bench"),
        (envelope(created="yesterday"), "it is no report of cbir-bench"),
        (envelope(created="2026-01-02T03:04:05"), "it is no report of cbir-bench"),
        (envelope(kind="../../etc"), "it is no report of cbir-bench"),
        (envelope(kind="stores"), "it is a report of the kind stores"),
        (envelope(more=1), "it is no report of cbir-bench"),
        (envelope(schema=SCHEMA + 1, more=1), f"another version of cbir wrote it (schema {SCHEMA + 1})"),
    ],
)
def test_a_file_that_is_no_report_is_named_and_left_out(content: bytes, why: str, tmp_path: Path) -> None:
    keep({"benchmark": "plan"}, tmp_path)
    (tmp_path / "parity.json").write_bytes(content)
    found, notes = latest(tmp_path)
    assert [report.kind for report in found] == ["plan"]
    assert notes == [f"parity.json is left out: {why}"]


def test_a_pipe_a_folder_and_a_dead_link_are_left_out(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "link.json").symlink_to(tmp_path / "nothing")
    assert [note.split()[0] for note in noted(tmp_path)] == ["folder.json", "link.json", "pipe.json"]
    assert latest(tmp_path / "not there") == ([], [])
    (tmp_path / "ok.json").write_bytes(envelope(kind="ok"))
    assert [report.kind for report in latest(tmp_path)[0]] == ["ok"]


def test_where_reports_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CBIR_REPORTS", str(tmp_path / "here"))
    assert Settings().reports == tmp_path / "here"
    monkeypatch.delenv("CBIR_REPORTS")
    monkeypatch.setenv("CBIR_CACHE", str(tmp_path / "cache"))
    assert Settings().reports == tmp_path / "cache" / "reports"


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("edge:/home/me/index", "edge:…/index"),
        ("faiss:/a/b/c?index=Flat --store 'edge:/x/y'", "faiss:…/c?index=Flat --store 'edge:…/y'"),
        ("https://example.org/a/b/c", "https://example.org/a/b/c"),
        ("./photos and ../b/c and 1/2/3", "./photos and ../b/c and 1/2/3"),
        ("hf://owner/name", "hf://owner/name"),
    ],
)
def test_absolute_paths_are_shortened(text: str, short: str) -> None:
    assert shortened(text) == short

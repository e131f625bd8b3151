"""The command line of `cbir-bench exchange`."""

import sys
from pathlib import Path

import pytest

from tests.support.building import both
from tests.support.exchange import OPTIONS
from tests.support.running import Program


def test_existing_files_are_refused_or_replaced(made: Path, tmp_path: Path, run: Program) -> None:
    arguments = ("exchange", tmp_path / "out", "--store", both(made)[1], *OPTIONS, "--ef", 32)
    assert run(*arguments)[0] == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    code, out, err = run(*arguments)
    assert (code, out, err.count("\n"), "--overwrite" in err) == (2, "", 1, True)
    assert all(path.read_bytes() == data for path, data in before.items())
    (tmp_path / "out" / "train.parquet").write_bytes(b"old")
    assert run(*arguments, "--overwrite")[0] == 0
    assert (tmp_path / "out" / "train.parquet").read_bytes() == before[tmp_path / "out" / "train.parquet"]
    assert not list((tmp_path / "out").rglob("*.tmp"))


def test_without_h5py(made: Path, tmp_path: Path, run: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    arguments = ("exchange", tmp_path / "out", "--store", both(made)[1], *OPTIONS)
    code, out, err = run(*arguments)
    assert (code, out, "pip install 'cbir[bench]'" in err) == (2, "", True)
    assert not (tmp_path / "out").exists()
    assert run(*arguments, "--format", "parquet")[0] == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"README.md", "train.parquet", "test.parquet", "neighbors.parquet", "ids.parquet"}
    assert "ann-benchmarks" not in (tmp_path / "out" / "README.md").read_text()


def test_an_unknown_format(made: Path, tmp_path: Path, run: Program) -> None:
    code, _, err = run("exchange", tmp_path / "out", "--store", both(made)[1], "--format", "csv")
    assert (code, "Use hdf5 or parquet" in err) == (2, True)


def test_the_old_name_of_ef_still_works(made: Path, tmp_path: Path, run: Program) -> None:
    arguments = ("exchange", tmp_path / "out", "--store", both(made)[1], *OPTIONS)
    assert run(*arguments, "--effort", 32)[0] == 0
    assert [path.name for path in (tmp_path / "out").rglob("graph_*")] == ["graph_ef_32.hdf5"]
    code, _, err = run(*arguments, "--ef", "none")
    assert (code, "Invalid --ef 'none'" in err) == (2, True)

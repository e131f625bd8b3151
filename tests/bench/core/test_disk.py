"""The space that a folder takes."""

import shutil
from pathlib import Path

from cbir.bench.core.disk import disk_bytes


def test_a_file_with_two_names_counts_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    before = disk_bytes(tmp_path)
    assert before >= 100_000
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    assert disk_bytes(tmp_path) == before
    shutil.copyfile(tmp_path / "a", tmp_path / "c")
    assert disk_bytes(tmp_path) == 2 * before

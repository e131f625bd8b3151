"""A disk that is full in any step of a change leaves what was published, and the same change succeeds later.

A third of the steps is tried, with `--soak` all of them.
"""

import errno
import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cbir.errors import CbirError
from cbir.stores.embedded import making
from tests.support.building import build_here
from tests.support.killed_changes import VECTORS, Change, contents, first, look, opened

HALF = len(VECTORS) // 2
CHANGES = {
    "add": Change("add", range(HALF - 5, HALF + 15), "2"),
    "delete": Change("delete", range(8), "2"),
    "update": Change("update", range(4, 12), "2"),
    "rebuild": Change("rebuild", range(4, 12), "2"),
    "merge": Change("merge"),
}


class SmallDisk:
    """Counts the calls that need room on the disk. Call number `full` fails, -1: none."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.calls, self.full = 0, -1
        for module, name in ((io, "open"), *((os, name) for name in ("fsync", "link", "mkdir", "rename", "replace"))):
            monkeypatch.setattr(module, name, self._counted(getattr(module, name), name))

    def _counted(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        def counted(*words: Any, **options: Any) -> Any:
            mode = str(options.get("mode", words[1] if len(words) > 1 else "r"))
            if name == "open" and not set(mode) & set("wax"):
                return call(*words, **options)
            self.calls += 1
            if self.calls - 1 == self.full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return call(*words, **options)

        return counted

    def run(self, call: Callable[[], object], full: int = -1) -> bool:
        """Return False if the disk was full, and the call failed."""
        self.calls, self.full = 0, full
        try:
            call()
        except (CbirError, OSError) as error:
            assert full >= 0, error
            return False
        finally:
            self.full = -1
        return True


@pytest.mark.parametrize("kind", CHANGES)
def test_a_disk_that_is_full_in_any_step_leaves_what_was_published(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, soak: bool
) -> None:
    change, made, root = CHANGES[kind], tmp_path / "first", tmp_path / "index"
    monkeypatch.setattr(making, "build_engine", build_here)
    urls = [f"faiss:{root}"]

    def start() -> None:
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(made / "index", root)

    made.mkdir()
    first([f"faiss:{made}/index"])
    shutil.copy(made / "model.onnx", tmp_path)
    Change("add", range(HALF, HALF + 5), "1").apply(opened(f"faiss:{made}/index"), lambda _: None)
    start()
    old = contents(opened(*urls), [])
    disk = SmallDisk(monkeypatch)

    def apply() -> None:
        change.apply(opened(*urls), lambda _: None)

    assert disk.run(apply)
    calls, new = disk.calls, contents(opened(*urls), [])
    assert (old == new) == (kind == "merge")
    assert calls > 10
    failed, numbers = 0, range(calls) if soak else range(len(kind) % 3, calls, 3)
    for number in numbers:
        start()
        failed += not disk.run(apply, number)
        before, _, complaints = look(root, urls)
        assert before in (old, new), f"step {number}: the change is seen in part"
        assert complaints == [], f"step {number}"
        assert disk.run(apply)
        assert look(root, urls) == (new, new, []), f"step {number}: the change cannot be made again"
    assert failed > len(numbers) / 2

"""Whenever a change is killed, it is there as a whole or not at all, and nothing is left; `--soak` kills 300 times."""

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from cbir.index import layout
from cbir.index.generation import Generation, open_generation, with_published
from cbir.progress import silent
from cbir.stores.embedded.making import merge
from tests.support.building import build, builder_for, points_of, unit_vectors
from tests.support.qdrant_server import ROOT

STEPS = {
    *("writer.__init__", "writer._log_writer", "writer.publish", "log_writer.append", "publishing.append"),
    *("log_writer.compact_tail", "making.merge", "making.make_generation", "publishing.publish"),
    *("publishing._point_to", "publishing.remove_leftovers", "publishing.open_published", "json_file.save"),
}
"""Functions in which some kills have to be."""


@pytest.mark.parametrize(("engines", "kills", "many"), [("", 26, 240), ("edge", 4, 60)])
def test_a_change_that_is_killed_anywhere_is_there_as_a_whole_or_not_at_all(
    tmp_path: Path, engines: str, kills: int, many: int, soak: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Points are added, replaced, updated and deleted, the tail is compacted and merged, an index is built again."""
    words = [str(tmp_path / "index"), str(many if soak else kills), "2", engines]
    command = [sys.executable, "-m", "tests.support.killed_changes", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    with capsys.disabled():
        print(f"\n{json.dumps(report)}")  # noqa: T201
    assert report["wrong"] == []
    assert report["published"] > kills / 2
    if soak:
        assert report["kills"].keys() >= STEPS


def test_what_a_killed_run_left_before_its_first_point_is_no_change(tmp_path: Path) -> None:
    """There are a plan and an empty log, and a folder in which a generation was made."""
    root, folder = tmp_path / "index", tmp_path / "index" / "made"
    build([f"faiss:{root}"], unit_vectors(20))
    published = open_generation(root, "made")
    with closing(builder_for([f"faiss:{root}"], unit_vectors(20))) as writer:
        writer.write(points_of(unit_vectors(1)))
    for segment in (folder / layout.BUILDING / layout.LOG).iterdir():
        segment.unlink()
    (folder / layout.MAKING / layout.LOG).mkdir(parents=True)
    with closing(builder_for([f"faiss:{root}"], unit_vectors(20))) as writer:
        assert not (folder / layout.MAKING).exists()
        writer.publish(silent)
    assert open_generation(root, "made") == published
    assert not (folder / layout.BUILDING).exists()


def test_a_reader_begins_again_if_files_vanish_since_another_generation_is_published(tmp_path: Path) -> None:
    root = tmp_path / "index"
    build([f"faiss:{root}"], unit_vectors(20))
    seen: list[str] = []

    def use(generation: Generation) -> int:
        seen.append(generation.folder.name)
        if len(seen) == 1:
            for version in ("2", "3"):
                build([f"faiss:{root}"], unit_vectors(22), version=version)
                merge(root / "made", silent)  # the second one removes the first generation
        return len(generation.log())

    assert with_published(root, "made", use) == 22
    assert seen == ["000001", "000003"]

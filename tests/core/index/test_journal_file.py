"""A journal is read where nothing may be written, and only damage is called damage."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from cbir.errors import CbirError
from cbir.index.disk import report_full_disk
from cbir.index.journal_file import damage_of, open_for_lookups, open_to_write, stored_keys
from cbir.pipeline.journal import Journal, read_failures
from cbir.records import Failure
from tests.support.building import points_of, unit_vectors

POINTS = points_of(unit_vectors(3))
FAILURE = Failure(POINTS[2].id, "two", "broken", "v", "s")


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A journal that this process may read, in a folder where it may write nothing."""
    folder = Path(tempfile.mkdtemp())
    journal = Journal(folder / "journal.sqlite", 40)
    journal.record(POINTS[:2], [FAILURE])
    journal.commit()
    journal.close()
    (folder / "journal.sqlite").chmod(0o444)
    folder.chmod(0o555)
    user = os.geteuid()
    os.seteuid(user or 65534)  # nothing is forbidden to root
    yield folder / "journal.sqlite"
    os.seteuid(user)
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_a_read_only_journal_is_read(read_only: Path) -> None:
    before = list(read_only.parent.iterdir())
    assert [failure.key for failure in read_failures(read_only)] == ["two"]
    assert sorted(stored_keys(read_only).values()) == ["0", "1"]
    assert damage_of(read_only) == ""
    with (
        pytest.raises(CbirError, match="the journal cannot be written: attempt to write a readonly"),
        report_full_disk(),
    ):
        Journal(read_only, 40)
    assert list(read_only.parent.iterdir()) == before


def test_a_journal_that_may_not_be_read_is_not_called_damaged(read_only: Path) -> None:
    user = os.geteuid()
    os.seteuid(0 if user == 65534 else user)
    read_only.chmod(0)
    os.seteuid(user)
    assert damage_of(read_only) == ""
    with pytest.raises(CbirError, match="cannot be read: unable to open"):
        read_failures(read_only)


def test_a_journal_in_use_is_read(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite", 40)
    journal.record(POINTS[:2], [])
    journal.commit()
    assert len(stored_keys(tmp_path / "journal.sqlite")) == 2
    journal.close()


def test_a_damaged_journal_is_named_and_has_no_keys(tmp_path: Path) -> None:
    (tmp_path / "journal.sqlite").write_bytes(bytes(5000))
    assert "not a database" in damage_of(tmp_path / "journal.sqlite")
    assert stored_keys(tmp_path / "journal.sqlite") == {}
    assert damage_of(tmp_path / "none") == ""


def test_any_thread_may_look_something_up(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with closing(open_to_write(path)) as db, closing(open_for_lookups(path)) as lookups, ThreadPoolExecutor(1) as pool:
        db.execute("INSERT INTO stored VALUES (?, 'one', '')", (b"1",))
        db.commit()
        assert pool.submit(lambda: lookups.execute("SELECT key FROM stored").fetchall()).result() == [("one",)]

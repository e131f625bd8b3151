"""The journal of a collection: an SQLite file with one row for each image, stored or failed.

It holds what a store cannot answer: which images failed and why, so that they are not tried again until their file
changes, and which stored images have the same bytes. It is written after the store has made its points durable. When it
is opened, its rows of stored points are compared with the store, and replaced if they differ.
"""

import sqlite3
import threading
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from cbir.errors import CbirError
from cbir.index.journal_file import is_damage, open_for_lookups, open_to_read, open_to_write, remove_journal
from cbir.index.stored_ids import PointIds
from cbir.records import Failure, Payload, Point, id_bytes, id_text, to_plain

_FAILURES = "SELECT id, key, reason, version, sha256, at FROM failed"
_MOST_IDS = 10
_MOST_HASHES = 500


class Journal:
    """The journal of one collection. What is recorded is kept in memory until `commit`.

    Only `ids_with` may be called from other threads.

    `failures` are those of earlier runs that are not tried again, by id. Those of runs with another limit on
    megapixels are tried again.
    """

    def __init__(self, path: Path, max_megapixels: float, *, checked: bool = True):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._max_megapixels = max_megapixels
        self._stored: dict[str, tuple[str, str]] = {}
        self._failed: list[Failure] = []
        try:
            self._db = open_to_write(path, checked=checked)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            remove_journal(path)  # it can be made again from the store
            self._db = open_to_write(path)
        self._lookups, self._looking_up = open_for_lookups(path), threading.Lock()
        rows = self._db.execute(f"{_FAILURES} WHERE megapixels = ?", (max_megapixels,))
        self.failures = {failure.id: failure for failure in map(_failure, rows)}

    def reconcile(self, stored_ids: PointIds, described: Iterable[tuple[str, Payload]]) -> None:
        """Make the rows of stored points agree with the store; `described` is read only if their ids differ."""
        rows = self._db.execute("SELECT id FROM stored ORDER BY id")
        if np.array_equal(np.frombuffer(b"".join(row[0] for row in rows), "S16"), stored_ids.ids):
            return
        with self._db:
            self._db.execute("DELETE FROM stored")
            self._insert(
                (id_bytes(point_id), str(payload.get("key", "")), str(payload.get("sha256", "")))
                for point_id, payload in described
            )

    def record(self, points: Sequence[Point], failures: Sequence[Failure]) -> None:
        """Record stored points and failures, to be written by `commit`."""
        for point in points:
            self._stored[point.id] = (str(point.payload["key"]), str(point.payload["sha256"]))
        self._failed += failures

    def commit(self, removed: Iterable[str] = (), forgotten: Iterable[str] = ()) -> None:
        """Write what was recorded in one transaction, after the store has made it durable.

        Remove the points that were removed from the store, and forget failures whose image the source no longer has.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        failed = [
            (id_bytes(item.id), item.key, to_plain(item.reason), item.version, item.sha256, now, self._max_megapixels)
            for item in self._failed
        ]
        with self._db:
            self._insert((id_bytes(point_id), *row) for point_id, row in self._stored.items())
            self._forget("failed", [*self._stored, *forgotten])
            self._db.executemany("INSERT OR REPLACE INTO failed VALUES (?, ?, ?, ?, ?, ?, ?)", failed)
            self._forget("stored", removed)
        with self._looking_up:  # one transaction for all look-ups until the next commit takes half of their time
            self._lookups.rollback()
            self._lookups.execute("BEGIN")
        self._stored.clear()
        self._failed.clear()

    def keys(self, ids: Iterable[str]) -> dict[str, str]:
        """Return id -> key of stored points. An id that is not in the journal is its own key."""
        rows = (
            (point_id, self._db.execute("SELECT key FROM stored WHERE id = ?", (id_bytes(point_id),)).fetchone())
            for point_id in ids
        )
        return {point_id: str(row[0]) if row else self._stored.get(point_id, (point_id,))[0] for point_id, row in rows}

    def keys_below(self, folders: Iterable[str]) -> dict[str, str]:
        """Return id -> key of the committed images in some folders. Every row is read."""
        starts = tuple(f"{to_plain(folder)}/" for folder in folders)
        rows = self._db.execute("SELECT id, key FROM stored")
        return {id_text(point_id): key for point_id, key in rows if key.startswith(starts)}

    def sha256_of(self, point_id: str) -> str:
        """Return the SHA-256 of a committed image, "" if it is not known."""
        row = self._db.execute("SELECT sha256 FROM stored WHERE id = ?", (id_bytes(point_id),)).fetchone()
        return str(row[0]) if row else ""

    def keys_with(self, sha256: str, other_than: str = "") -> list[str]:
        """Return the keys of the committed images with these bytes and another id, in order."""
        rows = self._db.execute(
            "SELECT key FROM stored WHERE sha256 = ? AND id != ? ORDER BY key", (sha256, id_bytes(other_than))
        )
        return [str(key) for (key,) in rows]

    def hashes_among(self, hashes: Sequence[str]) -> set[str]:
        """Return those of some SHA-256s that committed images have."""
        found = set[str]()
        for start in range(0, len(hashes), _MOST_HASHES):
            part = hashes[start : start + _MOST_HASHES]
            marks = ",".join("?" * len(part))
            found |= {row[0] for row in self._db.execute(f"SELECT sha256 FROM stored WHERE sha256 IN ({marks})", part)}  # noqa: S608
        return found

    def ids_with(self, sha256: str) -> list[str]:
        """Return the ids of some committed images with these bytes. Any thread may call this."""
        with self._looking_up:
            rows = self._lookups.execute("SELECT id FROM stored WHERE sha256 = ? LIMIT ?", (sha256, _MOST_IDS))
            return [id_text(row[0]) for row in rows]

    def first_key(self) -> str:
        """Return the key of some committed image, "" if there is none."""
        row = self._db.execute("SELECT key FROM stored LIMIT 1").fetchone()
        return str(row[0]) if row else ""

    def close(self) -> None:
        """Close the file, once no thread looks anything up: SQLite crashes if a connection is closed while it works."""
        with self._looking_up:
            for connection in (self._lookups, self._db):
                with suppress(sqlite3.Error):
                    connection.close()

    def _forget(self, table: str, ids: Iterable[str]) -> None:
        self._db.executemany(f"DELETE FROM {table} WHERE id = ?", ((id_bytes(row),) for row in ids))  # noqa: S608

    def _insert(self, rows: Iterable[tuple[bytes, str, str]]) -> None:
        self._db.executemany("INSERT OR REPLACE INTO stored VALUES (?, ?, ?)", rows)


def read_failures(path: Path) -> list[Failure]:
    """Return the failures in a journal in order of their keys; none if there is no journal.

    Raises:
        CbirError: The journal is damaged.
    """
    if not path.is_file():
        return []
    try:
        with closing(open_to_read(path)) as db:
            return [_failure(row) for row in db.execute(f"{_FAILURES} ORDER BY key")]
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            raise CbirError(f"{path} is damaged ({error}). The next ingest replaces it.") from None
        raise CbirError(f"{path} cannot be read: {error}") from None


def _failure(row: Sequence[Any]) -> Failure:
    return Failure(id_text(row[0]), *row[1:])

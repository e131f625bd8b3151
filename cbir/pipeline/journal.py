"""The journal: what became of every image, beside the store that it tells of.

A SQLite file with one row an image: stored, or failed and why. It is written after the store has made its points
durable, so it never runs ahead by itself; on opening, whatever it says of stored points is compared with the store,
which is the truth. It is used for what a store cannot tell: failures, which are not tried again unless their file
changed, and copies of a picture that are stored already.
"""

import sqlite3
import uuid
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cbir.errors import CbirError
from cbir.index.stored_ids import StoredIds
from cbir.records import Failure, Payload, Point, id_bytes, to_plain

_SCHEMA = """
CREATE TABLE IF NOT EXISTS stored (id BLOB PRIMARY KEY, key TEXT NOT NULL, sha256 TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS stored_content ON stored (sha256);
CREATE TABLE IF NOT EXISTS failed (
    id BLOB PRIMARY KEY, key TEXT NOT NULL, reason TEXT NOT NULL, version TEXT NOT NULL, sha256 TEXT NOT NULL,
    at TEXT NOT NULL, megapixels REAL NOT NULL
) WITHOUT ROWID;
"""
_FAILURES = "SELECT id, key, reason, version, sha256, at FROM failed"
_SECONDS = 30.0


class Journal:
    """One collection's journal, for one thread; `failures` are those of earlier runs, by id.

    What is recorded is kept in memory until `commit`.

    Args:
        path: The file.
        max_megapixels: The largest picture that this run decodes: failures of runs with another limit are left out of
            `failures`, and so are tried again.
    """

    def __init__(self, path: Path, max_megapixels: float):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._max_megapixels = max_megapixels
        self._stored: dict[str, tuple[str, str]] = {}
        self._failed: list[Failure] = []
        try:
            self._db = _open(path)
        except sqlite3.DatabaseError:  # damaged, and only a hint: begun anew
            for stale in path.parent.glob(f"{path.name}*"):
                stale.unlink()
            self._db = _open(path)
        rows = self._db.execute(f"{_FAILURES} WHERE megapixels = ?", (max_megapixels,))
        self.failures = {one.id: one for one in map(_failure, rows)}

    def reconcile(self, known: StoredIds, described: Iterable[tuple[str, Payload]]) -> None:
        """Make the journal say of stored points what the store says; `described` is read only if they differ."""
        (count,) = self._db.execute("SELECT count(*) FROM stored").fetchone()
        if count == len(known) and all(_text(row[0]) in known for row in self._db.execute("SELECT id FROM stored")):
            return
        with self._db:
            self._db.execute("DELETE FROM stored")
            self._insert(
                (id_bytes(one), str(payload.get("key", "")), str(payload.get("sha256", "")))
                for one, payload in described
            )

    def record(self, points: Sequence[Point], failures: Sequence[Failure]) -> None:
        """Note what was stored and what failed."""
        for point in points:
            self._stored[point.id] = (str(point.payload["key"]), str(point.payload["sha256"]))
        self._failed += failures

    def commit(self, removed: Iterable[str] = (), forgotten: Iterable[str] = ()) -> None:
        """Write down what was noted; called when the store has made it durable.

        In one short transaction, since another process may have the journal open.

        Args:
            removed: Ids of points that are gone from the store.
            forgotten: Ids of failures whose image the source has no more.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        failed = [
            (id_bytes(one.id), one.key, to_plain(one.reason), one.version, one.sha256, now, self._max_megapixels)
            for one in self._failed
        ]
        with self._db:
            self._insert((id_bytes(one), key, sha256) for one, (key, sha256) in self._stored.items())
            self._forget("failed", [*self._stored, *forgotten])
            self._db.executemany("INSERT OR REPLACE INTO failed VALUES (?, ?, ?, ?, ?, ?, ?)", failed)
            self._forget("stored", removed)
        self._stored.clear()
        self._failed.clear()

    def keys(self, ids: Iterable[str]) -> dict[str, str]:
        """Return id -> key of stored points; an id that the journal does not know has its own text as its key."""
        rows = (
            (one, self._db.execute("SELECT key FROM stored WHERE id = ?", (id_bytes(one),)).fetchone()) for one in ids
        )
        return {one: str(row[0]) if row else self._stored.get(one, (one,))[0] for one, row in rows}

    def key_of(self, sha256: str, other_than: str) -> str | None:
        """Return the key of a picture with these very bytes, committed under another id, or None."""
        row = self._db.execute(
            "SELECT key FROM stored WHERE sha256 = ? AND id != ? ORDER BY key LIMIT 1", (sha256, id_bytes(other_than))
        ).fetchone()
        return str(row[0]) if row else None

    def close(self) -> None:
        """Close the file."""
        with suppress(sqlite3.Error):
            self._db.close()

    def _forget(self, table: str, ids: Iterable[str]) -> None:
        self._db.executemany(f"DELETE FROM {table} WHERE id = ?", ((id_bytes(one),) for one in ids))  # noqa: S608

    def _insert(self, rows: Iterable[tuple[bytes, str, str]]) -> None:
        self._db.executemany("INSERT OR REPLACE INTO stored VALUES (?, ?, ?)", rows)


def read_failures(path: Path) -> list[Failure]:
    """Return the failures that a journal names, by key; none where there is no journal.

    Raises:
        CbirError: The journal is damaged.
    """
    if not path.is_file():
        return []
    try:
        with closing(_open(path)) as db:
            return [_failure(row) for row in db.execute(f"{_FAILURES} ORDER BY key")]
    except sqlite3.DatabaseError as error:
        raise CbirError(f"{path} is damaged ({error}); the next ingest begins it anew") from None


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=_SECONDS)
    # Power may take the last commits, never the file; what they said is found again in the store.
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.executescript(_SCHEMA)
    (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)
    return db


def _failure(row: Sequence[Any]) -> Failure:
    return Failure(_text(row[0]), *row[1:])


def _text(blob: bytes) -> str:
    return str(uuid.UUID(bytes=blob))

"""Opens the SQLite file of a journal, also where nothing may be written; see `cbir.pipeline.journal`."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS stored (id BLOB PRIMARY KEY, key TEXT NOT NULL, sha256 TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS stored_content ON stored (sha256);
CREATE TABLE IF NOT EXISTS failed (
    id BLOB PRIMARY KEY, key TEXT NOT NULL, reason TEXT NOT NULL, version TEXT NOT NULL, sha256 TEXT NOT NULL,
    at TEXT NOT NULL, megapixels REAL NOT NULL
) WITHOUT ROWID;
"""
_SECONDS = 30.0


def open_to_write(path: Path, *, checked: bool = True) -> sqlite3.Connection:
    """Open a journal, which is created if it does not exist; `sqlite3.DatabaseError` if it is damaged.

    All of it is read for that, unless it need not be `checked` again.
    """
    db = sqlite3.connect(path, timeout=_SECONDS)
    # A power cut may lose the last commits, but does not damage the file. What they said is found in the store.
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.executescript(_SCHEMA)
    return _checked(db) if checked else db


def open_for_lookups(path: Path) -> sqlite3.Connection:
    """Open a journal that is open for writing, too, for queries of any thread, one at a time."""
    return sqlite3.connect(path, timeout=_SECONDS, check_same_thread=False)


def open_to_read(path: Path) -> sqlite3.Connection:
    """Open a journal, and write nothing at all unless a run is at work; `sqlite3.DatabaseError` if it is damaged."""
    in_use = path.with_name(f"{path.name}-wal").exists() and os.access(path.parent, os.W_OK)
    mode = "mode=ro" if in_use else "immutable=1"
    return _checked(sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", timeout=_SECONDS, uri=True))


def remove_journal(path: Path) -> None:
    """Remove a journal, if there is one, with the files that SQLite keeps next to it."""
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink(missing_ok=True)


def is_damage(error: sqlite3.DatabaseError) -> bool:
    """Return False for an error of another kind: no right to write, no space, or a lock."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)  # the error raised below has none
    return code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def damage_of(path: Path) -> str:
    """Return what is damaged of a journal, "" if it is whole or does not exist."""
    try:
        if path.is_file():
            open_to_read(path).close()
    except sqlite3.DatabaseError as error:
        return str(error) if is_damage(error) else ""
    return ""


def stored_keys(path: Path) -> dict[bytes, str]:
    """Return id -> key of the points that a journal calls stored; nothing if it is missing or damaged."""
    try:
        with closing(open_to_read(path)) as db:
            return dict(db.execute("SELECT id, key FROM stored"))
    except sqlite3.DatabaseError:
        return {}


def _checked(db: sqlite3.Connection) -> sqlite3.Connection:
    try:
        (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError:
        db.close()
        raise
    if verdict != "ok":
        db.close()
        raise sqlite3.DatabaseError(verdict)
    return db

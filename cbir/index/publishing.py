"""The steps that publish a generation, and what is done about a run that was killed between two of them."""

import fcntl
import logging
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from cbir.errors import CbirError
from cbir.index import layout
from cbir.index.files import files_below, sync
from cbir.index.generation import (
    Generation,
    IndexRecord,
    Plan,
    Pointer,
    damage_error,
    manifest_in,
    manifest_of,
    numbered,
    open_generation,
    record_of,
    save,
)
from cbir.index.vector_log import VectorLog

log = logging.getLogger(__name__)


def locked(folder: Path) -> IO[bytes]:
    """Return a collection folder's lock file, locked until it is closed; `CbirError` if another process has it."""
    lock = (folder / layout.LOCK).open("wb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise CbirError(
            f"another ingest is filling {folder}; wait for it or stop it, or name another --collection"
        ) from None
    return lock


def publish(
    folder: Path, building: Path, number: int, plan: Plan, engines: Mapping[str, IndexRecord], points: VectorLog
) -> None:
    """Publish the files in `building`, which hold `points`, as the generation `number` of the collection `folder`."""
    manifest = manifest_of(building, plan, dict(engines), points)
    for path in [*files_below(building), *building.rglob("*/")]:
        sync(path)
    manifest_sha256 = save(building / layout.MANIFEST, manifest)
    generation = folder / f"{number:06d}"
    building.rename(generation)
    sync(folder)
    point_to(folder, generation.name, manifest_sha256)


def point_to(folder: Path, generation: str, manifest_sha256: str) -> None:
    """Let readers see a generation of the collection `folder`, and open this collection by default."""
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    save(folder / layout.POINTER, Pointer(generation, manifest_sha256, now))


def remove_leftovers(folder: Path, number: int) -> None:
    """Remove what killed runs left, and all generations but `number` and the one before.

    Open readers keep the files that they have opened.
    """
    for path in numbered(folder):
        if not number - 1 <= int(path.name) <= number:
            shutil.rmtree(path)
    for path in folder.glob("*.tmp"):
        path.unlink()


def set_aside(generation: Path) -> Path:
    """Rename a damaged generation, so that nothing reads or removes it; return its new path."""
    target = generation.with_name(f"damaged-{generation.name}")
    while target.exists():
        target = target.with_name(f"{target.name}-again")
    return generation.rename(target)


def open_published(folder: Path) -> Generation | None:
    """Return the published generation, after finishing what a killed run left; None if there is none.

    A complete generation that is newer than the pointer is published, and a damaged one is set aside. `DamageError` if
    it is damaged and there is no pointer, or the published one cannot be read.
    """
    exists = (folder / layout.POINTER).is_file()
    published = open_generation(folder.parent, folder.name) if exists else None
    for latest in numbered(folder):
        if published is not None and latest.name <= published.folder.name:
            break
        manifest = manifest_in(latest)
        if manifest is not None and not Generation(latest, manifest).damage():
            point_to(folder, latest.name, record_of(latest / layout.MANIFEST).sha256)
            published = open_generation(folder.parent, folder.name)
        elif published is None:
            raise damage_error(f"{latest} is damaged, and {folder / layout.POINTER} does not name it", folder)
        else:
            log.warning("%s is damaged and was never published; it is kept in %s", latest, set_aside(latest))
    remove_leftovers(folder, int(published.folder.name) if published else 0)
    return published

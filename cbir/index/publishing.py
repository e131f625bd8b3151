"""The steps that publish a change, and what is done about a run that was killed between two of them.

A small change is appended to the tail; a large one is a generation. In both, replacing the pointer is the only commit.
"""

import fcntl
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import IO

from cbir.errors import CbirError
from cbir.index import layout
from cbir.index.files import files_below, is_locked, link, sync
from cbir.index.generation import (
    Generation,
    Manifest,
    Plan,
    Pointer,
    as_published,
    damage_error,
    ids_digest,
    manifest_in,
    numbered,
    open_generation,
    record_of,
)
from cbir.index.json_file import load, save
from cbir.index.log_writer import compact_tail
from cbir.index.vector_log import VectorLog

_MOST_SEGMENTS = 32

log = logging.getLogger(__name__)


def locked(folder: Path, name: str = layout.LOCK) -> IO[bytes]:
    """Return a collection folder's lock file, locked until it is closed; `CbirError` if another process has it."""
    lock = (folder / name).open("wb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        what = "another process optimizes" if name == layout.MERGE_LOCK else "another ingest is filling"
        raise CbirError(f"{what} {folder}; wait for it or stop it, or name another --collection") from None
    return lock


@contextmanager
def pointer_lock(folder: Path) -> Iterator[None]:
    """Keep others from replacing the pointer of the collection `folder` meanwhile. Nobody holds this lock for long."""
    with (folder / layout.POINTER_LOCK).open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def append(folder: Path, files: Sequence[Path], count: int, dimension: int) -> None:
    """Publish segments of the log as the end of the tail of the collection `folder`, which then has `count` points."""
    tail = folder / layout.TAIL
    with pointer_lock(folder):
        pointer = load(folder / layout.POINTER, Pointer)
        if not tail.is_dir():
            tail.mkdir()
            sync(folder)
        paths = [tail / path.name for path in files]
        for path, target in zip(files, paths, strict=True):
            target.unlink(missing_ok=True)
            link(path, target)
            sync(target)
        before = [tail / name for name in pointer.tail]
        records = dict(pointer.tail)
        if len(before) + len(paths) > _MOST_SEGMENTS and not is_locked(folder / layout.MERGE_LOCK):
            compact_tail([*before, *paths], paths[-1], dimension)
            records, paths = {}, paths[-1:]
        sync(tail)
        records |= {path.name: record_of(path) for path in paths}
        commit = int(paths[-1].stem)
        save(folder / layout.POINTER, replace(pointer, tail=records, commit=commit, count=count, published=_now()))
        _remove_segments(folder, records)


def publish(
    folder: Path,
    building: Path,
    plan: Plan,
    points: VectorLog,
    merged: Generation | None = None,
) -> bool:
    """Publish the files in `building`, which hold `points`, as the next generation of the collection `folder`.

    If these are the points of a `merged` generation and its tail, what was appended to the tail since then stays. False
    is returned, and nothing is published, if another generation was published since then.
    """
    manifest = manifest_of(building, plan, points, merged)
    for path in [*files_below(building), *building.rglob("*/")]:
        sync(path)
    save(building / layout.MANIFEST, manifest)
    with pointer_lock(folder):
        if merged and not _is_published(merged):
            return False
        number = 1 + max((int(path.name) for path in numbered(folder)), default=0)
        generation = building.rename(folder / f"{number:06d}")
        sync(folder)
        _point_to(generation, manifest)
    return True


def _is_published(generation: Generation) -> bool:
    """Return True if the pointer still names this generation, and no other of its number."""
    folder = generation.folder.parent
    try:
        return open_generation(folder.parent, folder.name).manifest == generation.manifest
    except CbirError:  # dropped meanwhile
        return False


def manifest_of(folder: Path, plan: Plan, log: VectorLog, merged: Generation | None = None) -> Manifest:
    """Return the manifest of the files in `folder`, which hold the points of `log`, and so all of those `merged`."""
    return Manifest(
        collection=plan.collection,
        dataset=plan.dataset,
        source=plan.source,
        model=plan.model,
        count=len(log),
        ids_sha256=ids_digest(log),
        engines=plan.engines,
        files={path.relative_to(folder).as_posix(): record_of(path) for path in files_below(folder)},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        cbir_version=version("cbir"),
        merged_from=merged.folder.name if merged else "",
        merged=tuple(merged.tail) if merged else (),
    )


def _point_to(generation: Path, manifest: Manifest) -> None:
    """Let readers see a complete generation, and what the tail holds beyond it."""
    path = generation.parent / layout.POINTER
    pointer = Pointer(generation.name, record_of(generation / layout.MANIFEST).sha256, _now())
    if manifest.merged_from and path.is_file():
        before = load(path, Pointer)
        tail = {name: record for name, record in before.tail.items() if name not in manifest.merged}
        count = before.count if tail else None
        pointer = replace(pointer, tail=tail, commit=before.commit, count=count, published=before.published)
    save(path, replace(pointer, commit=as_published(generation, manifest, pointer).commit))


def choose(folder: Path) -> None:
    """Open this collection by default from now on."""
    with pointer_lock(folder):
        pointer = load(folder / layout.POINTER, Pointer)
        save(folder / layout.POINTER, replace(pointer, published=_now()))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def remove_leftovers(published: Generation) -> None:
    """Remove what killed runs left, and all generations but the published one and the one before.

    Open readers keep the files that they have opened.
    """
    folder, number = published.folder.parent, int(published.folder.name)
    for path in numbered(folder):
        if not number - 1 <= int(path.name) <= number:
            shutil.rmtree(path)
    if not is_locked(folder / layout.MERGE_LOCK):
        shutil.rmtree(folder / layout.MERGING, ignore_errors=True)
    _remove_segments(folder, published.tail)


def _remove_segments(folder: Path, kept: Mapping[str, object]) -> None:
    for path in (folder / layout.TAIL).glob("*"):
        if path.name not in kept:
            path.unlink()


def _has_later(folder: Path, generation: Generation) -> bool:
    """Return True if the tail has a segment that is not in the log of a generation."""
    last = max(generation.log_names, default="")
    return any(path.name > last for path in (folder / layout.TAIL).glob("*.log"))


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
    with pointer_lock(folder):
        exists = (folder / layout.POINTER).is_file()
        published = open_generation(folder.parent, folder.name) if exists else None
        for latest in numbered(folder):
            if published is not None and latest.name <= published.folder.name:
                break
            manifest = manifest_in(latest)
            if manifest is not None and published is None and _has_later(folder, Generation(latest, manifest)):
                raise damage_error(
                    f"{folder / layout.POINTER}, which names segments in {layout.TAIL}/, is missing", folder
                )
            if manifest is not None and not Generation(latest, manifest).damage():
                _point_to(latest, manifest)
                published = open_generation(folder.parent, folder.name)
            elif published is None:
                raise damage_error(f"{latest} is damaged, and {folder / layout.POINTER} does not name it", folder)
            else:
                log.warning("%s is damaged and was never published; it is kept in %s", latest, set_aside(latest))
        for path in folder.glob("*.tmp"):  # by the next writer alone, since another one may be writing them
            path.unlink()
        shutil.rmtree(folder / layout.MAKING, ignore_errors=True)
        if published is not None:
            remove_leftovers(published)
        return published

"""The collections of an index folder: listed, opened, filled, chosen, dropped and verified."""

import fcntl
import logging
import os
import shutil
from collections.abc import Hashable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from cbir.errors import CbirError, DamageError, UsageError
from cbir.index import layout
from cbir.index.files import files_below
from cbir.index.generation import Damage, Plan, Pointer, collections, load, open_generation, save
from cbir.index.names import MARKER, alias_of, check_collection
from cbir.progress import Advance
from cbir.settings import Settings
from cbir.stores.base import Contents
from cbir.stores.checks import open_name
from cbir.stores.embedded.reader import EmbeddedStore
from cbir.stores.embedded.writer import LocalWriter
from cbir.stores.listing import CollectionInfo, Run
from cbir.stores.url import Location, StoreURL, locate

log = logging.getLogger(__name__)


def connect(urls: Sequence[StoreURL], settings: Settings) -> "list[EmbeddedCatalog]":
    """Return a catalog for each index folder that the URLs lead to.

    Raises:
        UsageError: Two of them are the same index, or a path cannot be one.
    """
    by_root: dict[Path, list[Location]] = {}
    for location in locate(urls):
        by_root.setdefault(location.root, []).append(location)
    return [EmbeddedCatalog(root, locations) for root, locations in by_root.items()]


class EmbeddedCatalog:
    """The collections of one index folder; see `cbir.stores.base.Catalog`."""

    keeps_model = True
    shared = False

    def __init__(self, root: Path, locations: Sequence[Location]):
        self.files: Path | None = root
        self.root = root
        self.locations = tuple(locations)
        self.address = str(root)
        self.urls = tuple(location.url.text for location in locations)

    def names(self) -> list[str]:
        """See `Catalog.names`."""
        return collections(self.root)

    def listing(self) -> Iterator[CollectionInfo]:
        """See `Catalog.listing`. A file that is missing or has another size is noticed; `verify` finds the rest."""
        aliased = set[str]()
        published = self.names()
        unfinished = sorted(
            path.parent.name for path in self.root.glob(f"*/{layout.BUILDING}") if path.parent.name not in published
        )
        for name in published:
            found = _published(self.root, name, aliased)
            aliased.add(found.alias)
            yield found
        for name in unfinished:
            yield _unpublished(self.root, name)

    def resolve(self, name: str) -> str:
        """See `Catalog.resolve`."""
        names = self.names()
        if name in names:
            return name
        for collection in names:
            with suppress(DamageError):
                plan = self.plan(collection)
                if plan and plan.alias == name:
                    return collection
        return name

    def plan(self, name: str) -> Plan | None:
        """See `Catalog.plan`."""
        if not (self.root / name / layout.POINTER).is_file():
            return None
        return open_generation(self.root, name).plan

    def open(self, name: str | None = None) -> EmbeddedStore:
        """See `Catalog.open`."""
        return EmbeddedStore(self.locations[0], open_name(self, name))

    def version(self, name: str) -> Hashable:
        """See `Catalog.version`."""
        try:
            status = (self.root / name / layout.POINTER).stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns

    def contents(self, name: str) -> Contents:
        """See `Catalog.contents`. Its log is read, whatever indexes it has."""
        generation = open_generation(self.root, name)
        model, count = generation.folder / layout.MODEL, generation.manifest.count
        return Contents(generation.plan, model, count, lambda: generation.log().points())

    def writer(self, plan: Plan, model_file: Path, same_source: bool = False, rebuild: bool = False) -> LocalWriter:
        """See `Catalog.writer`."""
        return LocalWriter(self.locations, plan, model_file, same_source, rebuild)

    def journal(self, name: str | None) -> Path:
        """See `Catalog.journal`. A collection that was never published has one, too."""
        if name is not None and (self.root / name / layout.JOURNAL).is_file():
            return self.root / name / layout.JOURNAL
        return self.root / open_name(self, name) / layout.JOURNAL

    def drop(self, name: str) -> None:
        """See `Catalog.drop`."""
        check_collection(name)
        folder = self.root / name
        if not (folder / layout.LOCK).is_file():
            raise UsageError(f"{self.root} has no collection {name!r}; it has: {', '.join(self.names()) or 'none'}")
        with (folder / layout.LOCK).open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise CbirError(f"an ingest is filling {folder}; stop it first") from None
            (folder / layout.POINTER).unlink(missing_ok=True)  # first: from here on nobody opens it
            shutil.rmtree(folder)

    def use(self, name: str) -> None:
        """See `Catalog.use`."""
        open_generation(self.root, name).require_intact(layout.LOG)
        save(
            self.root / name / layout.POINTER, load(self.root / name / layout.POINTER, Pointer)
        )  # the newest pointer counts

    def verify(self, name: str | None = None, on_bytes: Advance | None = None) -> list[Damage]:
        """See `Catalog.verify`."""
        published = set(self.names())
        names = sorted({path.parent.parent.name for path in self.root.glob(f"*/*/{layout.MANIFEST}")} | published)
        if not names or (name is not None and name not in names):
            raise UsageError(f"{self.root} has no collection {name or 'yet'}; it has: {', '.join(names) or 'none'}")
        found = [] if (self.root / MARKER).is_file() else [Damage(self.root / MARKER, "missing")]
        for collection in [name] if name else names:
            damage = _damage(self.root, collection, on_bytes)
            found += damage
            log.info("%s: %s", self.root / collection, f"{len(damage)} damaged" if damage else "whole")
        return found


def _damage(root: Path, name: str, on_bytes: Advance | None) -> list[Damage]:
    """Return what is damaged of a published collection."""
    if not (root / name / layout.POINTER).is_file():
        return [Damage(root / name / layout.POINTER, "missing")]
    try:
        generation = open_generation(root, name)
        damage = generation.damage(advance=on_bytes)
        if not damage:
            generation.log()
    except DamageError as error:
        return [Damage(root / name, str(error))]
    return damage


def _published(root: Path, name: str, aliased: set[str]) -> CollectionInfo:
    folder, size, run = root / name, _megabytes(root / name), _run(root / name)
    try:
        generation = open_generation(root, name)
    except CbirError as error:  # a pointer that is gone since it was listed, too
        return CollectionInfo(name, str(root), megabytes=size, state=f"damaged: {error}", condition="damaged", run=run)
    manifest, plan = generation.manifest, _plan(folder) if run else None
    damage = generation.damage(hashed=False)
    waits = {
        "": "",
        "running": ", and an ingest is filling it",
        "interrupted": ", and an unfinished run that its ingest goes on with",
    }
    alias = alias_of(manifest.dataset, name)
    return CollectionInfo(
        collection=name,
        store=str(root),
        alias=alias if alias not in aliased else "",
        model=manifest.model.name,
        points=manifest.count,
        indexes=tuple(manifest.engines),
        megabytes=size,
        state=f"damaged: {damage[0]}" if damage else f"ready{waits[run]}",
        condition="damaged" if damage else "ready",
        run=run,
        made_by=manifest.model,
        dataset=manifest.dataset,
        source=plan.source if plan else manifest.source,
        generation=generation.folder.name,
        created=manifest.created,
        kinds=tuple(engine.kind for engine in manifest.engines.values()),
    )


def _unpublished(root: Path, name: str) -> CollectionInfo:
    plan, run = _plan(root / name), _run(root / name)
    state = "unfinished: its ingest is running" if run == "running" else "unfinished: run its ingest again"
    return CollectionInfo(
        collection=name,
        store=str(root),
        megabytes=_megabytes(root / name),
        state=state,
        condition="unfinished",
        run=run,
        made_by=plan.model if plan else None,
        model=plan.model.name if plan else "",
        dataset=plan.dataset if plan else "",
        source=plan.source if plan else "",
    )


def _megabytes(folder: Path) -> int:
    # Generations share files, which count once.
    return sum(blocks for _, blocks in {(one.st_ino, one.st_blocks) for one in _stats(folder)}) * 512 // 10**6


def _stats(folder: Path) -> Iterator[os.stat_result]:
    for path in files_below(folder):
        try:
            yield path.stat()
        except FileNotFoundError:  # an ingest is at work
            continue


def _plan(folder: Path) -> Plan | None:
    try:
        return load(folder / layout.PLAN, Plan)
    except DamageError:
        return None


def _run(folder: Path) -> Run:
    if not (folder / layout.BUILDING).is_dir():
        return ""
    try:
        with (folder / layout.LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return "running"
    except OSError:
        pass
    return "interrupted"

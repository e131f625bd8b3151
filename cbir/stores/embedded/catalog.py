"""The collections of an index folder: listed, opened, filled, chosen, dropped and verified."""

import logging
import shutil
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

from cbir.errors import CbirError, DamageError, UsageError
from cbir.index import layout
from cbir.index.disk import report_full_disk
from cbir.index.files import files_below, is_locked
from cbir.index.generation import (
    NUMBER,
    Damage,
    Generation,
    Marker,
    Plan,
    collections,
    manifest_in,
    numbered,
    open_generation,
    with_published,
)
from cbir.index.journal_file import damage_of
from cbir.index.json_file import load
from cbir.index.names import MARKER, check_collection
from cbir.index.open_logs import OpenLogs
from cbir.index.publishing import choose, locked
from cbir.index.repair import Repair, repair_files
from cbir.progress import Advance, Progress, silent
from cbir.settings import Settings
from cbir.stores.base import Contents, ReadBack, Store
from cbir.stores.checks import open_name
from cbir.stores.embedded.making import is_due, merge
from cbir.stores.embedded.reader import EmbeddedStore
from cbir.stores.embedded.records import EmbeddedRecords
from cbir.stores.embedded.writer import LocalWriter
from cbir.stores.engines import ENGINES
from cbir.stores.listing import CollectionInfo, Run
from cbir.stores.url import Location, StoreURL, locate

log = logging.getLogger(__name__)
_PARTS = {layout.POINTER, layout.BUILDING}
_WAITING = {
    "": "",
    "running": ", and an ingest is filling it",
    "interrupted": ", and an unfinished run, which the next ingest continues",
}


def connect(urls: Sequence[StoreURL], settings: Settings) -> "list[EmbeddedCatalog]":
    """Return a catalog for each index folder of the URLs."""
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
        self._logs = OpenLogs(root)

    def names(self) -> list[str]:
        return collections(self.root)

    def listing(self) -> Iterator[CollectionInfo]:
        """Missing files and files of another size count as damage. Only `verify` reads every byte."""
        aliases = set[str]()
        published = self.names()
        for name in published:
            info = _published(self.root, name)
            yield replace(info, alias="") if info.alias in aliases else info
            aliases.add(info.alias)
        unfinished = {path.parent.name for path in self.root.glob(f"*/{layout.BUILDING}")}
        for name in sorted(unfinished.difference(published)):
            yield _unpublished(self.root, name)

    def resolve(self, name: str) -> str:
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
        published = (self.root / name / layout.POINTER).is_file()
        return open_generation(self.root, name).plan if published else None

    def open(self, name: str | None = None, before: Store | None = None) -> EmbeddedStore:
        name = open_name(self, name)
        followed = before.followed(self.root) if isinstance(before, EmbeddedStore) else None
        if followed:
            return followed
        location, logs = self.locations[0], self._logs
        return with_published(self.root, name, lambda published: EmbeddedStore(location, name, logs, published))

    def records(self, name: str) -> EmbeddedRecords:
        return with_published(self.root, name, lambda _: EmbeddedRecords(self.locations[0], name, self._logs))

    def version(self, name: str) -> Hashable:
        try:
            status = _pointer(self.root, name).stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns

    def contents(self, name: str) -> Contents:
        generation = open_generation(self.root, name)
        model = generation.folder / layout.MODEL
        return Contents(
            generation.plan,
            model,
            generation.count,
            lambda: with_published(self.root, name, Generation.log).points(),
        )

    def read_back(self, name: str) -> ReadBack:
        log = self._logs.get(name, current=True).log
        return ReadBack(log.described(), log.find)

    def writer(self, plan: Plan, model_file: Path, same_source: bool = False, rebuild: bool = False) -> LocalWriter:
        return LocalWriter(self.root, self.locations, plan, model_file, same_source, rebuild, self._logs)

    def journal(self, name: str | None) -> Path:
        """A collection that was never published has a journal, too."""
        if name is not None and (self.root / name / layout.JOURNAL).is_file():
            return self.root / name / layout.JOURNAL
        return self.root / open_name(self, name) / layout.JOURNAL

    def drop(self, name: str) -> None:
        check_collection(name)
        folder = self.root / name
        if not (folder / layout.LOCK).is_file() and not numbered(folder):
            raise UsageError(f"{self.root} has no collection {name!r}; it has: {', '.join(self.names()) or 'none'}")
        with locked(folder), locked(folder, layout.MERGE_LOCK):
            (folder / layout.POINTER).unlink(missing_ok=True)  # first, so that nobody opens it from now on
            for path in (*numbered(folder), folder):  # the lock last, by which readers know that it is dropped
                shutil.rmtree(path)
        self._logs.forget(name)

    def use(self, name: str) -> None:
        """The collection whose pointer was written last is the current one."""
        with_published(self.root, name, lambda generation: generation.require_intact(layout.LOG, layout.TAIL))
        choose(self.root / name)

    def is_due(self, name: str) -> bool:
        if self.version(name) is None:  # nothing was published
            return False
        return is_due(self._logs.get(name, current=True).log)

    def optimize(self, name: str, progress: Progress = silent) -> bool:
        open_generation(self.root, name)
        with report_full_disk():
            return merge(self.root / name, progress)

    def verify(self, name: str | None = None, on_bytes: Advance | None = None) -> list[Damage]:
        parts = (path for path in self.root.glob("*/*") if path.name in _PARTS or NUMBER.fullmatch(path.name))
        names = sorted({path.parent.name for path in parts})
        if not names or (name is not None and name not in names):
            raise UsageError(f"{self.root} has no collection {name or 'yet'}; it has: {', '.join(names) or 'none'}")
        damage = _unreadable(self.root / MARKER, Marker)
        for collection in [name] if name else names:
            damaged = _damage(self.root / collection, on_bytes)
            damage += damaged
            log.info("%s: %s", self.root / collection, f"{len(damaged)} damaged" if damaged else "no damage")
        return damage

    def repair(self, name: str, model: Path | None = None, progress: Progress = silent) -> Repair:
        if not self.verify(name):
            return Repair(["nothing is damaged"])
        report = repair_files(self.root / name, model, ENGINES)
        plan = open_generation(self.root, name).plan
        locations = () if plan.engines else self.locations
        with closing(LocalWriter(self.root, locations, plan, None, same_source=True)) as writer:
            if writer.needs_publishing:
                writer.publish(progress)
        return report


@cache  # a search asks for its state
def _pointer(root: Path, name: str) -> Path:
    return root / name / layout.POINTER


def _unreadable(path: Path, kind: type) -> list[Damage]:
    try:
        load(path, kind)
    except DamageError as error:
        return [Damage(path, str(error).removeprefix(f"{path}: "))]
    return []


def _other_points(generation: Generation) -> list[Damage]:
    try:
        generation.log()
    except (DamageError, OSError) as error:
        return [Damage(generation.folder / layout.LOG, str(error))]
    return []


def _damage(folder: Path, on_bytes: Advance | None) -> list[Damage]:
    """Return everything that is damaged of a collection, as far as it was published."""
    found = _unreadable(folder / layout.PLAN, Plan) if (folder / layout.PLAN).exists() else []
    generation, latest = None, next(iter(numbered(folder)), None)
    if latest is not None and (manifest := manifest_in(latest)):
        generation = Generation(latest, manifest)
    try:
        if latest is not None or (folder / layout.POINTER).is_file():
            generation = open_generation(folder.parent, folder.name)
    except DamageError as error:
        found.append(Damage(folder, str(error)))
    if generation is not None:
        found += _of_published(
            generation, lambda published: published.damage(advance=on_bytes) or _other_points(published)
        )
    if reason := damage_of(folder / layout.JOURNAL):
        found.append(Damage(folder / layout.JOURNAL, f"damaged ({reason})"))
    return found


def _of_published(generation: Generation, look: Callable[[Generation], list[Damage]]) -> list[Damage]:
    """Return the damage of a published generation, without the files that vanish since another one is published."""
    while damage := look(generation):
        try:
            now = open_generation(generation.folder.parent.parent, generation.folder.parent.name)
        except CbirError:
            return damage
        if now == generation:
            return damage
        generation = now
    return []


def _published(root: Path, name: str) -> CollectionInfo:
    info = CollectionInfo(name, str(root), megabytes=_megabytes(root / name), run=_run(root / name))
    try:
        generation = open_generation(root, name)
    except CbirError as error:  # damage, or a collection that was dropped since it was listed
        return replace(info, state=f"damaged: {error}", condition="damaged")
    manifest, unfinished = generation.manifest, _plan(root / name) if info.run else None
    damage = _of_published(generation, lambda published: published.damage(hashed=False))
    return replace(
        _planned(info, generation.plan),
        alias=generation.plan.alias,
        points=generation.count,
        indexes=tuple(manifest.engines),
        state=f"damaged: {damage[0]}" if damage else f"ready{_WAITING[info.run]}",
        condition="damaged" if damage else "ready",
        source=unfinished.source if unfinished else manifest.source,
        generation=generation.folder.name,
        created=manifest.created,
        kinds=tuple(engine.kind for engine in manifest.engines.values()),
        commit=generation.commit,
        segments=len(generation.tail),
    )


def _unpublished(root: Path, name: str) -> CollectionInfo:
    plan, run = _plan(root / name), _run(root / name)
    state = "unfinished: its ingest is running" if run == "running" else "unfinished: run its ingest again"
    megabytes = _megabytes(root / name)
    info = CollectionInfo(name, str(root), megabytes=megabytes, state=state, condition="unfinished", run=run)
    return _planned(info, plan) if plan else info


def _planned(info: CollectionInfo, plan: Plan) -> CollectionInfo:
    return replace(info, made_by=plan.model, model=plan.model.name, dataset=plan.dataset, source=plan.source)


def _megabytes(folder: Path) -> int:
    """Return the space on the disk. Generations share files, which count once."""
    blocks = dict[int, int]()
    for path in files_below(folder):
        with suppress(FileNotFoundError):  # an ingest is at work
            status = path.stat()
            blocks[status.st_ino] = status.st_blocks
    return sum(blocks.values()) * 512 // 10**6


def _plan(folder: Path) -> Plan | None:
    try:
        return load(folder / layout.PLAN, Plan)
    except DamageError:
        return None


def _run(folder: Path) -> Run:
    if not (folder / layout.BUILDING).is_dir():
        return ""
    return "running" if is_locked(folder / layout.LOCK) else "interrupted"

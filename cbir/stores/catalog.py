"""What collections the stores have, in which state each is, and whether its files are those that were published."""

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import methodcaller
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cbir.errors import CbirError, DamageError
from cbir.index.generation import (
    BUILDING,
    LOCK,
    PLAN,
    POINTER,
    Damage,
    Plan,
    alias_of,
    collections,
    files_below,
    load,
    open_generation,
)
from cbir.models.sealed import ModelRef
from cbir.settings import Settings
from cbir.stores.base import locate, parse, redacted

if TYPE_CHECKING:
    from qdrant_client import models

    from cbir.stores.qdrant.store import CollectionRecord

Condition = Literal["ready", "indexing", "unfinished", "damaged"]
Run = Literal["", "running", "interrupted"]


@dataclass(frozen=True)
class Listed:
    """One collection of a store.

    Attributes:
        collection: Its name.
        store: The index folder or server.
        alias: The name that means it, "" if another collection of its data set was completed later.
        model: Name of its model.
        points: How many, None if it cannot be read.
        indexes: Names of its indexes.
        megabytes: On this machine's disk, without what generations share; None for a server.
        state: "ready", "unfinished", or what is wrong, in words.
        condition: Whether it can be searched, in one word; "indexing": it can, and its index is still being made.
        run: Whether an ingest is filling it now, or was interrupted; "" for neither, and always for a server.
        indexed: Points that are in the index; None for an embedded index, which has to be opened to be asked.
        made_by: The model in full, None if it cannot be read.
        dataset: Name of its data set.
        source: Where its images come from; of the unfinished run, if there is one.
        generation: The one that is served, "" for a server.
        created: When that was made, ISO 8601 in UTC.
        kinds: The kind of each index by its name.
    """

    collection: str
    store: str
    alias: str = ""
    model: str = ""
    points: int | None = None
    indexes: tuple[str, ...] = ()
    megabytes: int | None = None
    state: str = "ready"
    condition: Condition = "ready"
    run: Run = ""
    indexed: int | None = None
    made_by: ModelRef | None = None
    dataset: str = ""
    source: str = ""
    generation: str = ""
    created: str = ""
    kinds: tuple[str, ...] = ()


def places(urls: Sequence[str]) -> dict[str, list[str]]:
    """Return the store URLs by what they are in: an index folder, whose indexes are listed together, or a server."""
    found: dict[str, list[str]] = {}
    for url in urls:
        parsed = parse(url)
        found.setdefault(str(locate([parsed])[0].root) if parsed.embedded else redacted(url), []).append(url)
    return found


def list_store(url: str, settings: Settings) -> Iterator[Listed]:
    """Yield the collections of a store, published or not, the last published first.

    Raises:
        CbirError: The store cannot be read.
    """
    parsed = parse(url)
    if parsed.embedded:
        yield from list_folder(locate([parsed])[0].root)
    else:
        yield from _list_server(url, settings)


def list_folder(root: Path) -> Iterator[Listed]:
    """Yield the collections of an index folder, published or not, the last published first.

    A file that is missing or has another size is noticed; other damage is `verify_collection`'s to find.
    """
    named = set[str]()
    published = collections(root)
    unfinished = sorted(path.parent.name for path in root.glob(f"*/{BUILDING}") if path.parent.name not in published)
    for name in published:
        found = _published(root, name, named)
        named.add(found.alias)
        yield found
    for name in unfinished:
        yield _unpublished(root, name)


def verify_collection(root: Path, name: str, advance: Callable[[int], None] | None = None) -> list[Damage]:
    """Return what is damaged of a published collection: every byte is read.

    Args:
        root: The index folder.
        name: Of the collection.
        advance: Told how many bytes of the manifest's have been read since it was last told.
    """
    if not (root / name / POINTER).is_file():
        return [Damage(root / name / POINTER, "missing")]
    try:
        generation = open_generation(root, name)
        damage = generation.damage(advance=advance)
        if not damage:
            generation.log()
    except DamageError as error:
        return [Damage(root / name, str(error))]
    return damage


def _published(root: Path, name: str, named: set[str]) -> Listed:
    folder, size, run = root / name, _megabytes(root / name), _run(root / name)
    try:
        generation = open_generation(root, name)
    except CbirError as error:  # a pointer that is gone since it was listed, too
        return Listed(name, str(root), megabytes=size, state=f"damaged: {error}", condition="damaged", run=run)
    manifest, plan = generation.manifest, _plan(folder) if run else None
    damage = generation.damage(hashed=False)
    waits = {
        "": "",
        "running": ", and an ingest is filling it",
        "interrupted": ", and an unfinished run that its ingest goes on with",
    }
    alias = alias_of(manifest.dataset, name)
    return Listed(
        collection=name,
        store=str(root),
        alias=alias if alias not in named else "",
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


def _unpublished(root: Path, name: str) -> Listed:
    plan, run = _plan(root / name), _run(root / name)
    state = "unfinished: its ingest is running" if run == "running" else "unfinished: run its ingest again"
    return Listed(
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
        return load(folder / PLAN, Plan)
    except DamageError:
        return None


def _run(folder: Path) -> Run:
    if not (folder / BUILDING).is_dir():
        return ""
    try:
        with (folder / LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return "running"
    except OSError:
        pass
    return "interrupted"


def _list_server(url: str, settings: Settings) -> Iterator[Listed]:
    from cbir.stores.qdrant.server import Server
    from cbir.stores.qdrant.store import aliases_of, server_records

    server = Server(url, settings)
    records = server_records(url, settings)
    aliases = {collection: alias for alias, collection in aliases_of(server).items()}
    for name in sorted(records, key=lambda name: (name in aliases, records[name].created), reverse=True):
        info = server.ask(methodcaller("get_collection", name))
        count = server.ask(methodcaller("count", name, exact=True)).count
        yield server_listed(name, redacted(url), records[name], info, count, aliases.get(name, ""))


def server_listed(
    name: str, store: str, record: "CollectionRecord", info: "models.CollectionInfo", count: int, alias: str
) -> Listed:
    """Return a server's collection as its record, what the server says of it, and its alias tell it."""
    from qdrant_client import models

    from cbir.stores.qdrant.connection import one_line

    run: Run = "interrupted" if record.building else ""
    condition: Condition = "ready"
    state = "ready" if alias else "ready, but not in use: no alias means it"
    trouble = info.optimizer_status
    if isinstance(trouble, models.OptimizersStatusOneOf1) or info.status is models.CollectionStatus.RED:
        said = f": {one_line(trouble.error)}" if isinstance(trouble, models.OptimizersStatusOneOf1) else ""
        condition, state = "damaged", f"damaged: the server says that an operation failed{said}"
    elif run and not alias:
        condition, state = "unfinished", "unfinished: run its ingest again"
    elif run:
        state = "ready, and an unfinished run that its ingest goes on with"
    elif info.status is models.CollectionStatus.YELLOW:
        condition, state = "indexing", "ready, and the server is indexing it"
    elif info.status is models.CollectionStatus.GREY:
        condition, state = "indexing", "ready, and the server goes on indexing it at the next ingest"
    return Listed(
        collection=name,
        store=store,
        alias=alias,
        model=record.model.name,
        points=count,
        indexes=("server",),
        state=state,
        condition=condition,
        run=run,
        indexed=info.indexed_vectors_count or 0,
        made_by=record.model,
        dataset=record.dataset,
        source=record.source,
        created=record.created,
        kinds=("server",),
    )

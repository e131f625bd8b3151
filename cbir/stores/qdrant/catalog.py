"""The collections of a Qdrant server or cluster: listed, opened, filled, chosen and dropped."""

from collections.abc import Hashable, Iterator, Sequence
from functools import cached_property, partial
from operator import methodcaller
from pathlib import Path

from qdrant_client import models

from cbir.errors import UsageError
from cbir.index.generation import Damage, Plan
from cbir.index.journal_file import remove_journal
from cbir.index.names import alias_of
from cbir.index.repair import Repair
from cbir.progress import Advance, Progress, silent
from cbir.settings import Settings
from cbir.stores.base import Contents, ReadBack, Store
from cbir.stores.checks import open_name, server_journal
from cbir.stores.listing import CollectionInfo, Condition, Run
from cbir.stores.qdrant.kinds import check
from cbir.stores.qdrant.records import (
    CollectionRecord,
    aliases_of,
    collection_names,
    described,
    move_alias,
    read_record,
    require_options,
    retrieve,
)
from cbir.stores.qdrant.server import READ_RETRY_SECONDS, Server
from cbir.stores.qdrant.store import QdrantStore
from cbir.stores.qdrant.writer import QdrantWriter
from cbir.stores.url import StoreURL
from cbir.text import one_line, redacted


def connect(urls: Sequence[StoreURL], settings: Settings) -> "list[QdrantCatalog]":
    """Return a catalog for each URL. Nothing is sent yet."""
    return [QdrantCatalog(url, settings) for url in urls]


class QdrantCatalog:
    """The collections of one server; see `cbir.stores.base.Catalog`."""

    files: Path | None = None
    keeps_model = False
    shared = True

    def __init__(self, url: StoreURL, settings: Settings):
        self._url = url
        self._settings = settings
        self.urls: tuple[str, ...] = (url.text,)
        self.address = redacted(url.path).rstrip("/")

    @cached_property
    def _server(self) -> Server:
        return Server(self._url, self._settings)

    def names(self) -> list[str]:
        """Collections with an alias come first, and among these the newest."""
        aliased = set(aliases_of(self._server).values())
        records = self._collections()
        names = [name for name, record in records.items() if not record.building or name in aliased]
        return sorted(names, key=lambda name: (name in aliased, records[name].created), reverse=True)

    def listing(self) -> Iterator[CollectionInfo]:
        server, records = self._server, self._collections()
        aliases = {collection: alias for alias, collection in aliases_of(server).items()}
        for name in sorted(records, key=lambda name: (name in aliases, records[name].created), reverse=True):
            info = server.ask(methodcaller("get_collection", name))
            exact = server.allows_exact(name)
            count = server.ask(methodcaller("count", name, exact=exact)).count
            yield server_listed(name, redacted(self._url.text), records[name], info, count, aliases.get(name, ""))

    def resolve(self, name: str) -> str:
        return aliases_of(self._server).get(name, name)

    def plan(self, name: str) -> Plan | None:
        record = read_record(self._server, name)
        return Plan(name, record.dataset, record.source, record.model, None) if record else None

    def open(self, name: str | None = None, before: Store | None = None) -> QdrantStore:
        """Temporary failures are retried for two seconds only, since a user is waiting."""
        return self._opened(name, READ_RETRY_SECONDS)

    def records(self, name: str) -> QdrantStore:
        return self.open(name)

    def version(self, name: str) -> Hashable:
        """A server always serves its newest points."""
        return ""

    def contents(self, name: str) -> Contents:
        store = self._opened(name, self._settings.server_retry_seconds)
        info = store.info
        plan = Plan(name, info.dataset, info.source, info.model, None)
        return Contents(plan, None, info.count, store.points)

    def read_back(self, name: str) -> ReadBack:
        return ReadBack(described(self._server, name), partial(retrieve, self._server, name))

    def writer(self, plan: Plan, model_file: Path, same_source: bool = False, rebuild: bool = False) -> QdrantWriter:
        if rebuild:
            raise UsageError(f"{self.address} builds its index itself; reindex is for embedded stores")
        return QdrantWriter(self._url, plan, self.journal(plan.collection), self._settings, same_source)

    def journal(self, name: str | None) -> Path:
        """The journal is on this machine, since a server takes no files."""
        return server_journal(self._settings.cache, self.address, name or open_name(self, None))

    def drop(self, name: str) -> None:
        server = self._server
        target = aliases_of(server).get(name)
        if target is not None:
            raise UsageError(f"{server.url}: {name} is an alias of {target}; to remove the collection, drop {target}")
        if read_record(server, name) is None:
            raise UsageError(f"{server.url} has no collection {name!r} that cbir made")
        server.ask(lambda client: client.delete_collection(name))
        remove_journal(self.journal(name))

    def use(self, name: str) -> None:
        server = self._server
        record = read_record(server, name)
        if record is None or record.building:
            raise UsageError(f"{server.url} has no complete collection {name!r} that cbir made")
        alias = alias_of(record.dataset, name)
        if alias == "" or alias in collection_names(server):
            raise UsageError(f"{server.url}: {alias or name} is a collection itself, so it cannot be an alias")
        move_alias(server, alias, name)

    def is_due(self, name: str) -> bool:
        return False

    def optimize(self, name: str, progress: Progress = silent) -> bool:
        return False

    def verify(self, name: str | None = None, on_bytes: Advance | None = None) -> list[Damage]:
        raise self._no_files("verify")

    def repair(self, name: str, model: Path | None = None, progress: Progress = silent) -> Repair:
        raise self._no_files("repair")

    def _no_files(self, command: str) -> UsageError:
        return UsageError(
            f"`{command}` works on embedded indexes only. {self.address} is a Qdrant server, which verifies its own"
            " storage."
        )

    def _collections(self) -> dict[str, CollectionRecord]:
        """Return the record of each collection that cbir made, unfinished ones too."""
        records = {name: read_record(self._server, name) for name in collection_names(self._server)}
        return {name: record for name, record in records.items() if record is not None}

    def _opened(self, name: str | None, retry_seconds: float) -> QdrantStore:
        chosen = open_name(self, name)
        server = Server(self._url, self._settings, retry_seconds)
        record = read_record(server, chosen)
        if record is None:
            names = ", ".join(self.names()) or "none"
            raise UsageError(f"{server.url} has no collection {name!r} that cbir made; it has: {names}")
        require_options(server, chosen, record)
        return QdrantStore(redacted(self._url.text), server, chosen, record, check(server, chosen))


def server_listed(
    name: str, store: str, record: CollectionRecord, info: models.CollectionInfo, count: int, alias: str
) -> CollectionInfo:
    """Return the listing of a server's collection, from its record, the server's own report, and its alias."""
    run: Run = "interrupted" if record.building else ""
    condition: Condition = "ready"
    state = "ready" if alias else "ready, but not in use: no alias points to it"
    trouble = info.optimizer_status
    if isinstance(trouble, models.OptimizersStatusOneOf1) or info.status is models.CollectionStatus.RED:
        reason = f": {one_line(trouble.error)}" if isinstance(trouble, models.OptimizersStatusOneOf1) else ""
        condition, state = "damaged", f"damaged: the server says that an operation failed{reason}"
    elif run and not alias:
        condition, state = "unfinished", "unfinished: run its ingest again"
    elif run:
        state = "ready, and an unfinished run, which the next ingest continues"
    elif info.status is models.CollectionStatus.YELLOW:
        condition, state = "indexing", "ready, and the server is indexing it"
    elif info.status is models.CollectionStatus.GREY:
        condition, state = "indexing", "ready, and the server goes on indexing at the next ingest"
    return CollectionInfo(
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

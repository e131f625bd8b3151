"""The collections of a `cbir-serve`: listed, opened, filled, chosen and dropped."""

from collections.abc import Hashable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from cbir.errors import UsageError
from cbir.index.generation import Damage, Plan
from cbir.index.journal_file import remove_journal
from cbir.index.repair import Repair
from cbir.models.card import ModelRef
from cbir.models.received import ReceivedModels
from cbir.progress import Advance, Progress, silent
from cbir.settings import Settings
from cbir.stores.api.connection import ApiConnection, ApiUsageError
from cbir.stores.api.store import ApiStore, info_of
from cbir.stores.api.writer import ApiWriter
from cbir.stores.base import Contents, ReadBack, Store
from cbir.stores.checks import open_name, server_journal
from cbir.stores.listing import CollectionInfo
from cbir.stores.url import StoreURL


def connect(urls: Sequence[StoreURL], settings: Settings) -> "list[ApiCatalog]":
    """Return a catalog for each URL. Nothing is sent yet."""
    return [ApiCatalog(url, settings) for url in urls]


class ApiCatalog:
    """The collections of one server, or the one that the URL names; see `cbir.stores.base.Catalog`."""

    files: Path | None = None
    keeps_model = True
    shared = False

    def __init__(self, url: StoreURL, settings: Settings):
        self._url, self._settings = url, settings
        self.urls: tuple[str, ...] = (url.text,)
        self.address = url.path.rstrip("/")
        self._models = ReceivedModels(settings.cache)

    @cached_property
    def _connection(self) -> ApiConnection:
        return ApiConnection(self._url.path, self._settings)

    def names(self) -> list[str]:
        return [info.collection for info in self.listing() if info.condition in ("ready", "indexing")]

    def listing(self) -> Iterator[CollectionInfo]:
        only = self._connection.collection
        for found in self._connection.get("/v1/collections")["collections"]:
            if only in ("", found["collection"], found["alias"]):
                made_by = ModelRef(**found.pop("made_by")) if found["made_by"] else None
                yield CollectionInfo(store=self._url.text, indexes=("api",), kinds=("api",), made_by=made_by, **found)

    def resolve(self, name: str) -> str:
        aliases = {info.alias: info.collection for info in self.listing() if info.alias}
        return aliases.get(name, name)

    def plan(self, name: str) -> Plan | None:
        try:
            info = info_of(self._connection.get(f"/v1/collections/{name}"), self._url.text)
        except ApiUsageError as error:
            if error.status == 404:
                return None
            raise
        return Plan(info.collection, info.dataset, info.source, info.model, None)

    def open(self, name: str | None = None, before: Store | None = None) -> ApiStore:
        return ApiStore(self._url.text, self._connection, open_name(self, name), self._models)

    def records(self, name: str) -> ApiStore:
        return self.open(name)

    def version(self, name: str) -> Hashable:
        """A server always serves its newest points."""
        return ""

    def contents(self, name: str) -> Contents:
        store, plan = self.open(name), self.plan(name)
        if plan is None:
            raise UsageError(f"{self.address} has no collection {name!r}")
        return Contents(plan, store.model(), store.count(), store.points)

    def read_back(self, name: str) -> ReadBack:
        store = self.open(name)
        return ReadBack(
            ((point.id, point.payload) for point in store.points()),
            lambda ids: {point.id: point for point in store.read(ids)},
        )

    def writer(self, plan: Plan, model_file: Path, same_source: bool = False, rebuild: bool = False) -> ApiWriter:
        if rebuild:
            raise self._on_the_server("reindex")
        return ApiWriter(self._connection, plan, model_file, self.journal(plan.collection), self._settings, same_source)

    def journal(self, name: str | None) -> Path:
        """The journal is on this machine, where the images are."""
        return server_journal(self._settings.cache, self.address, name or open_name(self, None))

    def drop(self, name: str) -> None:
        self._connection.ask("DELETE", f"/v1/collections/{name}")
        remove_journal(self.journal(name))

    def use(self, name: str) -> None:
        self._connection.post(f"/v1/collections/{name}/use", {})

    def is_due(self, name: str) -> bool:
        return False

    def optimize(self, name: str, progress: Progress = silent) -> bool:
        return False

    def verify(self, name: str | None = None, on_bytes: Advance | None = None) -> list[Damage]:
        raise self._on_the_server("verify")

    def repair(self, name: str, model: Path | None = None, progress: Progress = silent) -> Repair:
        raise self._on_the_server("repair")

    def _on_the_server(self, command: str) -> UsageError:
        return UsageError(f"`{command}` works on the files of an index; run it on the machine of {self.address}")

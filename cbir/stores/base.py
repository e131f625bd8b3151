"""The contract of every store: `Store` reads a collection, `CollectionWriter` fills one, `Catalog` manages them all."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cbir.filters.conditions import FieldKind, Filter, Value
from cbir.index.generation import Damage, Plan
from cbir.index.repair import Repair
from cbir.index.stored_ids import PointIds
from cbir.models.card import ModelRef
from cbir.progress import Advance, Progress, silent
from cbir.records import Entry, Failure, Hit, Payload, Point, Vector
from cbir.stores.listing import CollectionInfo


@dataclass(frozen=True, slots=True)
class SearchParams:
    """How widely to search. None stands for the value in the store's URL.

    Attributes:
        ef: The number of candidates that a graph search keeps.
        nprobe: The number of inverted lists to search. Without it, `ef` is used.
        exact: Compare with every vector instead of using the graph or the inverted lists.
        oversampling: In a quantized index, the number of candidates per hit that are compared by their full vectors.
    """

    ef: int | None = None
    nprobe: int | None = None
    exact: bool = False
    oversampling: float | None = None


DEFAULT_PARAMS = SearchParams()


@dataclass(frozen=True)
class StoreInfo:
    """Facts about an open collection. `options` are the build and search options in force.

    Attributes:
        generation: The published generation, "" for a server.
        indexed: The number of points in the graph or index. The others are scanned.
        access: How an ordinary search finds hits: "graph", "scan" or "ivf".
        filtering: What applies a filter: the "engine" itself, or the "payload table" of the vector log.
        commit: The number of the last change of an embedded collection.
        tail: The number of points that were added or replaced since the index was built. They are scanned.
        dead: The number of points in the index that were deleted or replaced since.
        segments: The number of files that hold these changes.
        bytes: The size of all files of an embedded collection, with all of its indexes.
    """

    url: str
    collection: str
    generation: str
    model: ModelRef
    count: int
    indexed: int
    access: str
    options: Mapping[str, str] = field(default_factory=dict)
    dataset: str = ""
    source: str = ""
    filtering: str = "engine"
    commit: int = 0
    tail: int = 0
    dead: int = 0
    segments: int = 0
    bytes: int = 0

    @property
    def version(self) -> str:
        """A text that differs for each published state of the collection, "" for a server."""
        return f"{self.generation}.{self.commit}" if self.generation else ""


class Records(Protocol):
    """What a collection stores, open for reading without search. Safe to share between threads."""

    def payloads(self, point_ids: Sequence[str]) -> list[Payload | None]:
        """Return the stored payload of each point, None for an id that is not stored."""

    def count(self, filter: Filter = ()) -> int:
        """Return the number of points whose payload matches the filter."""

    def fields(self) -> dict[str, FieldKind]:
        """Return the payload fields that can be used in filters and facets, with their kinds: `label` first.

        The others are sorted by name, without those that only identify an image. A field with values of several kinds
        is "text"; a server reports the kind that it has an index for.
        """

    def scroll(self, filter: Filter = (), after: str | None = None, limit: int = 1000) -> list[Entry]:
        """Return the next points after the id `after`, at most `limit`, in the order of ids."""

    def model(self) -> Path | None:
        """Return the collection's model file, or raise `DamageError`. A server keeps none."""


class Store(Records, Protocol):
    """One collection, open for search. Safe to share between threads."""

    @property
    def info(self) -> StoreInfo:
        """Facts about the collection."""

    @property
    def is_behind(self) -> bool:
        """True if opening the collection again would give a faster index; the points are the same."""

    @property
    def most_hits(self) -> int | None:
        """The largest k of a search, None for any."""

    def search(
        self,
        vectors: Vector,
        k: int,
        *,
        params: SearchParams = DEFAULT_PARAMS,
        filter: Filter = (),
        min_score: float | None = None,
    ) -> list[list[Hit]]:
        """Return the `k` best hits of each (Q, D) unit vector: by falling score, then by id.

        Raises:
            UsageError: The vectors have another dimension or are not finite, or k is below 1.
            CbirError: The store cannot be reached.
        """

    def vectors(self, point_ids: Sequence[str]) -> list[Vector | None]:
        """Return the stored (D,) vector of each point, None for an id that is not stored."""

    def thumbnails(self, point_ids: Sequence[str]) -> list[bytes | None]:
        """Return the stored thumbnail (a small JPEG) of each point, None for an id that is not stored."""

    def facet(self, field: str, filter: Filter = (), limit: int = 100) -> list[tuple[Value, int]]:
        """Return the values of a field with their numbers of points: by falling number, then by value as text."""

    def sample(self, count: int, seed: int) -> list[str]:
        """Return `count` random ids, or all if there are fewer; the same for the same points and seed."""

    def matrix(self) -> tuple[list[str], Vector]:
        """Return all ids and their (n, D) vectors, for computing ground truth without an index."""

    def points(self) -> Iterator[Point]:
        """Yield every point with vector, payload and thumbnail."""

    def close(self) -> None:
        """Release what the store holds. A second call does nothing."""


@dataclass(frozen=True)
class ReadBack:
    """What a collection holds: the id and payload of every point, and a way to fetch some of them.

    On a server, the payloads have only the key and the SHA-256. Any thread may call `get`.
    """

    described: Iterator[tuple[str, Payload]]
    get: Callable[[Sequence[str]], dict[str, Point]]


class CollectionWriter(Protocol):
    """A collection that is being filled.

    Attributes:
        name: Where the collection is and what it is called, for messages.
        resumed: How many of its points an unfinished run stored, when the writer was opened.
        shared: True if other processes may fill the collection at the same time.
    """

    name: str
    resumed: int
    journal_path: Path
    shared: bool

    @property
    def stored_ids(self) -> PointIds:
        """The points that the collection had when the writer was opened."""

    @property
    def state(self) -> str | None:
        """A text that is another one for other published points; None if others are written, or nobody can tell."""

    @property
    def needs_publishing(self) -> bool:
        """True if `publish` would change what readers see."""

    def refresh(self) -> None:
        """Let `stored_ids` have what was written since the writer was opened; nothing is marked any more."""

    def require_free_space(self, fresh: int) -> None:
        """Raise `DiskFullError` if this many new points would not fit on the disk. A server reports no limit."""

    def write(self, points: Sequence[Point]) -> list[Failure]:
        """Store points so that they survive the end of this process; return those that were refused."""

    def delete(self, ids: Sequence[str]) -> None:
        """Remove points."""

    def update(self, ids: Sequence[str], changes: Payload) -> None:
        """Set payload fields of points. None removes a field."""

    def points(self, ids: Sequence[str]) -> dict[str, Point]:
        """Return those of the points that were stored when the writer was opened, by id. Any thread may call this."""

    def described(self) -> Iterator[tuple[str, Payload]]:
        """Yield (id, payload) of every point that was stored when the writer was opened."""

    def thumbnails(self) -> Iterator[tuple[str, bytes]]:
        """Yield (key, thumbnail) of every point that was stored when the writer was opened."""

    def read_back(self) -> ReadBack:
        """Return what is stored now, published or not, for comparison with what was written."""

    def flush(self) -> None:
        """Return when all points would survive a power cut."""

    def publish(self, progress: Progress, more: bool = False) -> None:
        """Show readers what was written. With `more`, this run goes on writing."""

    def close(self) -> None:
        """Release what the writer holds. Nothing that was written is lost."""


@dataclass(frozen=True)
class Contents:
    """A whole collection to copy: its plan, its model file (None if the store keeps none), its number of points."""

    plan: Plan
    model: Path | None
    count: int
    points: Callable[[], Iterator[Point]]


class Catalog(Protocol):
    """The collections of one index folder or one server.

    Attributes:
        address: The folder, or the server's URL without options: the same for every URL that leads here.
        urls: The URLs that led here. `open` searches with the first.
        files: The index folder, None for a server.
        keeps_model: True if a collection includes its model file.
        shared: True if several processes may fill a collection at the same time.
    """

    address: str
    urls: tuple[str, ...]
    files: Path | None
    keeps_model: bool
    shared: bool

    def names(self) -> list[str]:
        """Return the names of the complete collections, the one published last first."""

    def listing(self) -> Iterator[CollectionInfo]:
        """Yield every collection, unfinished ones too, the one published last first."""

    def resolve(self, name: str) -> str:
        """Return the collection that a name or an alias stands for, or the name itself if there is none."""

    def plan(self, name: str) -> Plan | None:
        """Return what a collection holds, None if there is no such collection; `DamageError` if it cannot be read."""

    def open(self, name: str | None = None, before: Store | None = None) -> Store:
        """Open a collection for reading, by its name or its data set's; by default the one published last.

        What has not changed of the collection since it was opened `before` is shared with it.

        Raises `UsageError` if there is no such collection or index, and `DamageError` if a file of the index is
        damaged.
        """

    def records(self, name: str) -> Records:
        """Open what a collection stores, without an index, in order to change it; errors as for `open`."""

    def version(self, name: str) -> Hashable:
        """Return a value that changes when a collection is published again; cheap enough for every search."""

    def contents(self, name: str) -> Contents:
        """Return a complete collection, whatever indexes it has."""

    def read_back(self, name: str) -> ReadBack:
        """Return what a complete collection holds, whatever indexes it has; raise `DamageError` if it is damaged."""

    def writer(
        self, plan: Plan, model_file: Path, same_source: bool = False, rebuild: bool = False
    ) -> CollectionWriter:
        """Open a collection for writing; it is created if it does not exist.

        `same_source` says that a source of another name is known to hold the same data set. With `rebuild`, the indexes
        that the URLs name are built again, whether or not anything changed.

        Raises:
            UsageError: The collection was made with another model or from another source, or an index cannot be built
                with these options. Nothing was changed.
            CbirError: Another run is filling the collection, or the store cannot be reached.
        """

    def journal(self, name: str | None) -> Path:
        """Return the path of a collection's journal."""

    def drop(self, name: str) -> None:
        """Remove a collection with its indexes, aliases and journal; `CbirError` if an ingest is filling it."""

    def use(self, name: str) -> None:
        """Let the data set's name stand for this complete collection, and open it by default."""

    def is_due(self, name: str) -> bool:
        """Return True if so many points have changed that the indexes should be built again; a server never asks."""

    def optimize(self, name: str, progress: Progress = silent) -> bool:
        """Build the indexes of a collection again with all of its changes, aside; return whether they were published.

        Others can search and change the collection meanwhile, and killing this process does no harm. A server optimizes
        itself, and returns False.

        Raises:
            CbirError: Another process does the same, or an index cannot be built.
        """

    def verify(self, name: str | None = None, on_bytes: Advance | None = None) -> list[Damage]:
        """Read every byte of one collection, or of all (None), and return what is damaged.

        `on_bytes` is called with the number of bytes that were read since the last call. A server raises `UsageError`.
        """

    def repair(self, name: str, model: Path | None = None, progress: Progress = silent) -> Repair:
        """Rebuild and publish what can be rebuilt of a damaged collection; see `cbir.index.repair`.

        `model` is a file of the model that made the vectors, if the collection's own is damaged and it is not packaged.
        A server raises `UsageError`.
        """

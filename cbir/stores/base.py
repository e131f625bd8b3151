"""The contract of every store: `Store` reads a collection, `CollectionWriter` fills one, `Catalog` manages them all."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cbir.filters.conditions import FieldKind, Filter, Value
from cbir.index.generation import Damage, Plan
from cbir.index.stored_ids import StoredIds
from cbir.models.card import ModelRef
from cbir.progress import Advance, Progress
from cbir.records import Entry, Failure, Hit, Payload, Point, Vector
from cbir.stores.listing import CollectionInfo


@dataclass(frozen=True, slots=True)
class SearchParams:
    """How widely to search; None means what the store's URL says.

    Attributes:
        ef: How many candidates a graph search keeps.
        nprobe: How many inverted lists are searched; the value of `ef` if only that is given.
        exact: Compare with every vector instead of using the graph or index.
        oversampling: How many times as many candidates are compared by their whole vectors, in a quantized index.
    """

    ef: int | None = None
    nprobe: int | None = None
    exact: bool = False
    oversampling: float | None = None


DEFAULT_PARAMS = SearchParams()


@dataclass(frozen=True)
class StoreInfo:
    """What a store says of one opened collection.

    Attributes:
        url: The store's URL as given, without a password.
        collection: The collection's name.
        generation: The published generation, "" for a server.
        model: What made the vectors.
        count: Points.
        indexed: Points in the graph or index; the others are scanned.
        access: How an ordinary search finds its hits: "graph", "scan" or "ivf".
        options: Build and search options in force.
        dataset: Name of the data set.
        source: Where its images came from.
        filtering: What filters a search: the "engine", or a "payload table" that says what an index may return.
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


class Store(Protocol):
    """One collection in one store, open for reading. Safe to share between threads."""

    @property
    def info(self) -> StoreInfo:
        """What is open here."""

    def search(
        self,
        vectors: Vector,
        k: int,
        *,
        params: SearchParams = DEFAULT_PARAMS,
        filter: Filter = (),
        min_score: float | None = None,
        offset: int = 0,
    ) -> list[list[Hit]]:
        """Return for each of the (Q, D) unit vectors its at most k best hits, by score downwards, then by id.

        Args:
            vectors: What to look for; never changed.
            k: How many hits.
            params: How widely to search.
            filter: Only among the points whose payload holds to this.
            min_score: Only hits with at least this score.
            offset: Leave out so many of the best: page n has the offset n * k.

        Raises:
            UsageError: The vectors have another dimension or are not finite, or k or the offset is out of range.
            CbirError: The store cannot be reached.
        """

    def vectors(self, point_ids: Sequence[str]) -> list[Vector | None]:
        """Return the stored (D,) vector of each point, None for one that is not there."""

    def count(self, filter: Filter = ()) -> int:
        """Return how many points there are whose payload holds to the filter."""

    def facet(self, field: str, filter: Filter = (), limit: int = 100) -> list[tuple[Value, int]]:
        """Return the values of a field with their numbers of points, by number downwards, then by value as text."""

    def fields(self) -> dict[str, FieldKind]:
        """Return the payload fields that can be filtered by and faceted, with what they hold: `label` first.

        The others come by name. None that say which image it is (`cbir.records.IDENTITY`), none without a plain
        value. A field whose values are of several kinds is "text"; a server goes by what it has an index for.
        """

    def scroll(self, filter: Filter = (), after: str | None = None, limit: int = 1000) -> list[Entry]:
        """Return the at most `limit` next points behind the id `after`, in the order of ids."""

    def payloads(self, point_ids: Sequence[str]) -> list[Payload | None]:
        """Return the stored payload of each point, None for one that is not there."""

    def thumbnails(self, point_ids: Sequence[str]) -> list[bytes | None]:
        """Return the stored thumbnail (a small JPEG) of each point, None for one that is not there."""

    def sample(self, count: int, seed: int) -> list[str]:
        """Return `count` random ids (all, if there are fewer); the same for the same points and seed."""

    def matrix(self) -> tuple[list[str], Vector]:
        """Return all ids and their (n, D) vectors, for a ground truth that asks no index."""

    def points(self) -> Iterator[Point]:
        """Yield every point whole, for copying, keeping and comparing collections."""

    def model(self) -> Path | None:
        """Return the model file that the collection carries, or None."""

    def close(self) -> None:
        """Release what the store holds; a second call does nothing."""


@dataclass(frozen=True)
class ReadBack:
    """What a writer's collection holds now: id and payload of every point, and what returns some of them whole."""

    described: Iterator[tuple[str, Payload]]
    get: Callable[[Sequence[str]], dict[str, Point]]


class CollectionWriter(Protocol):
    """A collection being filled.

    Attributes:
        name: The place and the collection, for messages.
        stored_ids: What the collection had when the writer was opened.
        resumed: How many of these an unfinished run has left.
        journal_path: Where the journal of the collection lies.
        shared: True if other processes may fill the collection at the same time.
    """

    name: str
    stored_ids: StoredIds
    resumed: int
    journal_path: Path
    shared: bool

    @property
    def needs_publishing(self) -> bool:
        """True if readers would see something new after `publish`."""

    def require_free_space(self, fresh: int) -> None:
        """Raise `DiskFullError` if so many more points cannot be stored."""

    def write(self, points: Sequence[Point]) -> list[Failure]:
        """Take points, which then outlive this process; return those that were refused."""

    def delete(self, ids: Sequence[str]) -> None:
        """Remove points."""

    def update(self, ids: Sequence[str], changes: Payload) -> None:
        """Set payload fields of points; None removes one."""

    def described(self) -> Iterator[tuple[str, Payload]]:
        """Yield (id, payload) of every point that was there when the writer was opened."""

    def thumbnails(self) -> Iterator[tuple[str, bytes]]:
        """Yield (key, thumbnail) of every point that was there when the writer was opened."""

    def read_back(self) -> ReadBack:
        """Return what is stored by now, published or not, for comparison with what was written."""

    def flush(self) -> None:
        """Return when all points outlive the machine."""

    def publish(self, progress: Progress) -> None:
        """Make what was written the collection that readers see."""

    def close(self) -> None:
        """Release what is held; nothing written is lost."""


@dataclass(frozen=True)
class Contents:
    """A whole collection to copy, whatever indexes it has.

    Attributes:
        plan: What the collection is.
        model: Its model file, None if the store keeps none.
        count: How many points it has.
        points: Returns every point, whole.
    """

    plan: Plan
    model: Path | None
    count: int
    points: Callable[[], Iterator[Point]]


class Catalog(Protocol):
    """The collections of one index folder or one server.

    Attributes:
        address: The folder, or the server's address without options: the same for every URL that leads here.
        urls: The URLs that led here; `open` searches with the first.
        files: The index folder, None for a server, which keeps its files itself.
        keeps_model: True if a collection carries the file of its model.
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
        """Yield every collection, unfinished ones too, the one published last first.

        Raises:
            CbirError: The store cannot be read.
        """

    def resolve(self, name: str) -> str:
        """Return the collection that a name or an alias means; the name itself if there is none."""

    def plan(self, name: str) -> Plan | None:
        """Return what a collection of this name is, None if there is none.

        Raises:
            DamageError: It cannot be read.
        """

    def open(self, name: str | None = None) -> Store:
        """Open a collection for reading, by its name or its data set's; by default the one published last.

        Raises:
            UsageError: There is no such collection or index.
            DamageError: A file of the index is damaged; nothing of it is served.
        """

    def version(self, name: str) -> Hashable:
        """Return what changes when a collection is published anew; cheap enough to ask before every search."""

    def contents(self, name: str) -> Contents:
        """Return a complete collection, to be copied."""

    def writer(
        self, plan: Plan, model_file: Path, same_source: bool = False, rebuild: bool = False
    ) -> "CollectionWriter":
        """Open a collection to be filled, which is made if there is none.

        Args:
            plan: What the collection is to hold.
            model_file: The model that makes the vectors.
            same_source: True if another origin than before is known to hold the same data set.
            rebuild: Build the indexes that the URLs name again, whether or not anything changed.

        Raises:
            UsageError: The collection was made with another model or from another source, or an index cannot be
                built as asked. Nothing was changed.
            CbirError: Another run is filling the collection, or the store cannot be reached.
        """

    def journal(self, name: str | None) -> Path:
        """Return the path of a collection's journal."""

    def drop(self, name: str) -> None:
        """Remove a collection and all that belongs to it.

        Raises:
            UsageError: There is none of that name.
            CbirError: An ingest is filling it, or the server refuses.
        """

    def use(self, name: str) -> None:
        """Make a complete collection the one that its data set's name means, and that is opened by default.

        Raises:
            UsageError: There is none of that name, or it is not complete.
        """

    def verify(self, name: str | None = None, on_bytes: Advance | None = None) -> list[Damage]:
        """Return what is damaged of one collection, or of all: every byte of their files is read.

        Args:
            name: Of the collection; None for all.
            on_bytes: Called with the number of bytes that were read since the last call.

        Raises:
            UsageError: There is no such collection, or the store is a server, which verifies its own storage.
        """

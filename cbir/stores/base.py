"""Stores by URL: one protocol, and the table of the kinds that stand behind it.

    edge:PATH?m=16&ef_construct=100&ef=128       the Qdrant engine in this process
         quantization=scalar|product|binary|turbo, oversampling=2, rescore=1, on_disk=0
    faiss:PATH?index=HNSW16&ef=128&nprobe=16     a FAISS index (any factory string); oversampling=4 with RFlat
    http://HOST:6333?grpc=6334, https://HOST:6333    a Qdrant server or cluster

A PATH is an index folder. A path right inside an index folder names one index of it, so `edge:./index` and
`faiss:./index/faiss` live in one folder, are built from one vector log and are published together.
"""

import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl

import numpy as np

from cbir.errors import CbirError, UsageError
from cbir.filters.conditions import FieldKind, Filter, Value, offered
from cbir.index.generation import (
    MARKER,
    MODEL,
    RESERVED,
    Generation,
    check_collection,
    collections,
    current,
    open_generation,
    resolve,
)
from cbir.index.vector_log import VectorLog
from cbir.models.sealed import ModelRef
from cbir.records import Entry, Hit, Payload, Point, Vector
from cbir.settings import Settings


@dataclass(frozen=True)
class StoreURL:
    """A parsed store URL. `options` holds what was given behind the question mark."""

    text: str
    kind: str
    path: str
    options: dict[str, str]

    @property
    def embedded(self) -> bool:
        """True for a store in a folder of this machine."""
        return self.kind in ENGINE_KINDS


def redacted(text: str) -> str:
    """Return the text with user names and passwords taken out of its URLs."""
    return re.sub(r"(?<=://)\S*@", "", text)


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
        access: How an ordinary search finds its hits: "graph", "scan" or "lists".
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
    """One collection in one store, open for searching. Safe to share between threads."""

    @property
    def info(self) -> StoreInfo:
        """What is open here."""

    def search(
        self,
        vectors: Vector,
        k: int,
        *,
        exact: bool = False,
        effort: int | None = None,
        where: Filter = (),
        min_score: float | None = None,
        offset: int = 0,
    ) -> list[list[Hit]]:
        """Return for each of the (Q, D) unit vectors its at most k best hits, by score downwards, then by id.

        Args:
            vectors: What to look for; never changed.
            k: How many hits.
            exact: Compare with every vector instead of using the graph or index.
            effort: How widely to search instead of what the URL says: the ef of a graph, the nprobe of lists.
            where: Only among the points whose payload holds to this.
            min_score: Only hits with at least this score.
            offset: Leave out so many of the best: page n has the offset n * k.

        Raises:
            CbirError: The vectors have another dimension or are not finite, or the store cannot be reached.
        """

    def vectors(self, point_ids: Sequence[str]) -> list[Vector | None]:
        """Return the stored (D,) vector of each point, None for one that is not there."""

    def count(self, where: Filter = ()) -> int:
        """Return how many points there are whose payload holds to `where`."""

    def facet(self, field: str, where: Filter = (), limit: int = 100) -> list[tuple[Value, int]]:
        """Return the values of a field with their numbers of points, by number downwards, then by value as text."""

    def fields(self) -> dict[str, FieldKind]:
        """Return the payload fields that can be filtered by and faceted, with what they hold: `label` first.

        The others come by name. None that say which picture it is (`cbir.records.IDENTITY`), none without a plain
        value. A field whose values are of several kinds is "text"; a server goes by what it has an index for.
        """

    def scroll(self, where: Filter = (), after: str | None = None, limit: int = 1000) -> list[Entry]:
        """Return the at most `limit` next points behind the id `after`, in the order of ids."""

    def payloads(self, point_ids: Sequence[str]) -> list[Payload | None]:
        """Return the stored payload of each point, None for one that is not there."""

    def thumbnails(self, point_ids: Sequence[str]) -> list[bytes | None]:
        """Return the stored thumbnail (a small JPEG) of each point, None for one that is not there."""

    def sample(self, count: int, seed: int) -> list[str]:
        """Return `count` random ids (all, if there are fewer); the same for the same points and seed."""

    def matrix(self) -> tuple[list[str], Vector]:
        """Return all ids and their (n, D) vectors, for an oracle that asks no index."""

    def points(self) -> Iterator[Point]:
        """Yield every point whole, for moving, keeping and comparing collections."""

    def model(self) -> Path | None:
        """Return the model file that the collection carries, or None."""

    def close(self) -> None:
        """Release what the store holds; a second call does nothing."""


class Index(Protocol):
    """What an embedded engine gives once opened: hits in any order, nothing checked."""

    indexed: int
    access: str
    filtering: str

    def search(
        self, vectors: Vector, k: int, exact: bool = False, effort: int | None = None, where: Filter = ()
    ) -> list[list[Hit]]:
        """Return the at most k best hits of each vector (see `Store.search`)."""

    def raw(self, vector: Vector, k: int, effort: int | None = None) -> Callable[[], object]:
        """Return the bare library call for one query, against which the protocol's overhead is measured."""

    def close(self) -> None:
        """Release what the index holds."""


@dataclass(frozen=True)
class EngineKind:
    """An embedded engine: the module with its `build` and `open_index`, and its options with their defaults."""

    module: str
    build_options: Mapping[str, str]
    search_options: Mapping[str, str]

    @property
    def options(self) -> dict[str, str]:
        """All options with their defaults."""
        return {**self.build_options, **self.search_options}

    def load(self) -> Any:
        """Import and return the module."""
        return import_module(self.module)


ENGINE_KINDS = {
    "edge": EngineKind(
        "cbir.stores.embedded.edge",
        {"m": "16", "ef_construct": "100", "quantization": "none", "on_disk": "0"},
        {"ef": "128", "rescore": "1", "oversampling": "2"},
    ),
    "faiss": EngineKind(
        "cbir.stores.embedded.faiss_index",
        {"index": "HNSW16", "ef_construct": "100"},
        {"ef": "128", "nprobe": "16", "oversampling": "4"},
    ),
}
_WORDS = {
    "quantization": ("none", "scalar", "product", "binary", "turbo"),
    "on_disk": ("0", "1"),
    "rescore": ("0", "1"),
}
_MOST = 1_000_000
SERVER_KINDS = ("http", "https")


@dataclass(frozen=True)
class Location:
    """Where an embedded store lives: its index folder and the name of its index there."""

    url: StoreURL
    root: Path
    name: str


def parse(text: str) -> StoreURL:
    """Parse a store URL.

    Raises:
        UsageError: Its kind or an option is unknown, or an option has a value that it cannot have.
    """
    kind, _, rest = text.partition(":")
    if kind in SERVER_KINDS:
        return StoreURL(text, kind, text, {})
    path, _, query = rest.partition("?")
    if kind not in ENGINE_KINDS or not path:
        raise UsageError(
            f"unknown store {redacted(text)!r}; a store is edge:PATH, faiss:PATH, http://HOST:PORT or https://HOST:PORT"
        )
    options = dict(parse_qsl(query, keep_blank_values=True))
    known = ENGINE_KINDS[kind].options
    for name, value in options.items():
        if name not in known:
            raise UsageError(f"store {text!r}: unknown option {name!r}; {kind} has {', '.join(known)}")
        if name in _WORDS:
            if value not in _WORDS[name]:
                raise UsageError(f"store {text!r}: {name} must be one of {', '.join(_WORDS[name])}, not {value!r}")
        elif name != "index" and not (value.isdecimal() and 0 < int(value) <= _MOST):
            raise UsageError(f"store {text!r}: {name} must be a whole number from 1 to {_MOST:,}, not {value!r}")
    return StoreURL(text, kind, path, options)


def locate(urls: Sequence[StoreURL]) -> list[Location]:
    """Return where each embedded store lives, given that they are used together.

    Raises:
        UsageError: Two of them are the same index, or a path cannot be one.
    """
    paths = [_resolved(url) for url in urls]
    places = []
    for url, path in zip(urls, paths, strict=True):
        inside = not (path / MARKER).is_file() and (path.parent in paths or (path.parent / MARKER).is_file())
        if inside and (path.name in RESERVED or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}", path.name)):
            raise UsageError(
                f"store {url.text!r}: {path.name!r} cannot be an index's name; letters, digits, - and _ can"
            )
        places.append(Location(url, path.parent, path.name) if inside else Location(url, path, url.kind))
    if len({(place.root, place.name) for place in places}) < len(places):
        raise UsageError(f"the same index twice: {', '.join(url.text for url in urls)}")
    return places


def _resolved(url: StoreURL) -> Path:
    path = Path(url.path).expanduser().resolve()
    if not str(path).isprintable():
        raise UsageError(f"store {url.text!r}: a path of an index must be printable text")
    return path


def open_store(url: str, collection: str | None, settings: Settings) -> Store:
    """Open a collection (by default the one published last) for searching, by its name or its data set's.

    Raises:
        UsageError: There is no such store, collection or index.
        DamageError: A file of the index is damaged; nothing of it is served.
    """
    parsed = parse(url)
    if collection is not None:
        check_collection(collection)
    if not parsed.embedded:
        from cbir.stores.qdrant.store import open_server_store

        return open_server_store(url, collection, settings)
    (place,) = locate([parsed])
    return EmbeddedStore(place, resolve(place.root, collection) if collection else newest_collection(url, settings))


def collection_names(url: str, settings: Settings) -> list[str]:
    """Return the names of a store's collections, the last published first."""
    parsed = parse(url)
    if parsed.embedded:
        return collections(locate([parsed])[0].root)
    from cbir.stores.qdrant.store import server_collections

    return server_collections(url, settings)


def newest_collection(url: str, settings: Settings) -> str:
    """Return the name of the collection published last.

    Raises:
        UsageError: The store has none.
    """
    names = collection_names(url, settings)
    if not names:
        raise UsageError(f"{url} has no collection yet; fill it with `cbir-ingest SOURCE --store {url}`")
    return names[0]


def served_generation(url: str, collection: str) -> str:
    """Return what changes when a collection is published anew ("" for a server, which switches by itself)."""
    parsed = parse(url)
    return current(locate([parsed])[0].root, collection) if parsed.embedded else ""


class EmbeddedStore:
    """A published generation's log and one of its indexes, behind the store protocol."""

    def __init__(self, place: Location, collection: str):
        generation = open_generation(place.root, collection)
        engine = generation.manifest.engines.get(place.name)
        if engine is None or engine.kind != place.url.kind:
            there = ", ".join(f"{name} ({one.kind})" for name, one in generation.manifest.engines.items())
            raise UsageError(
                f"collection {collection} in {place.root} has no {place.url.kind} index {place.name!r}, it has {there};"
                f" `cbir-ingest SOURCE --store {place.url.text}` adds it without embedding anything again"
            )
        kind = ENGINE_KINDS[engine.kind]
        built = {**kind.build_options, **engine.options}
        for name, value in place.url.options.items():
            if built.get(name, value) != value:
                raise UsageError(
                    f"{place.url.text}: this index was built with {name}={built[name]}; leave the option out, or"
                    f" build it anew with `cbir-ingest SOURCE --store '{place.url.text}'`"
                )
        options = {**kind.options, **built, **place.url.options}
        self._generation: Generation = generation
        self._log: VectorLog = generation.log()
        generation.require_whole(place.name)
        self._index: Index = kind.load().open_index(generation.folder / place.name, self._log, options)
        self._info = StoreInfo(
            url=place.url.text,
            collection=collection,
            generation=generation.folder.name,
            model=generation.manifest.model,
            count=len(self._log),
            indexed=self._index.indexed,
            access=self._index.access,
            options=options,
            dataset=generation.manifest.dataset,
            source=generation.manifest.source,
            filtering=self._index.filtering,
        )

    @property
    def info(self) -> StoreInfo:
        """What is open here."""
        return self._info

    @property
    def index(self) -> Index:
        """The engine's opened index."""
        return self._index

    @property
    def log(self) -> VectorLog:
        """The vectors and payloads that the index is of."""
        return self._log

    def search(
        self,
        vectors: Vector,
        k: int,
        *,
        exact: bool = False,
        effort: int | None = None,
        where: Filter = (),
        min_score: float | None = None,
        offset: int = 0,
    ) -> list[list[Hit]]:
        """See `Store.search`."""
        check_query(vectors, k, self._info.model.dimension, offset)
        wanted = min(k + offset, self._info.count)
        if wanted <= offset:
            return [[] for _ in vectors]
        found = self._index.search(vectors, wanted, exact, effort, where)
        return [page(hits, k, min_score, offset) for hits in found]

    def vectors(self, point_ids: Sequence[str]) -> list[Vector | None]:
        """See `Store.vectors`."""
        positions = map(self._log.position, point_ids)
        return [None if position is None else self._log.vector(position) for position in positions]

    def count(self, where: Filter = ()) -> int:
        """See `Store.count`."""
        return int(self._log.table.mask(where).sum()) if where else self._info.count

    def facet(self, field: str, where: Filter = (), limit: int = 100) -> list[tuple[Value, int]]:
        """See `Store.facet`."""
        return self._log.table.facet(field, where)[:limit]

    def fields(self) -> dict[str, FieldKind]:
        """See `Store.fields`."""
        return offered(self._log.table.kinds())

    def scroll(self, where: Filter = (), after: str | None = None, limit: int = 1000) -> list[Entry]:
        """See `Store.scroll`."""
        check_id(after)
        log = self._log
        start = 0 if after is None else log.place(after) + (log.position(after) is not None)
        positions = log.order[start:]
        if where:
            positions = positions[log.table.mask(where)[positions]]
        return [Entry(log.id(at), log.payload(at)) for at in positions[:limit].tolist()]

    def payloads(self, point_ids: Sequence[str]) -> list[Payload | None]:
        """See `Store.payloads`."""
        positions = map(self._log.position, point_ids)
        return [None if position is None else self._log.payload(position) for position in positions]

    def thumbnails(self, point_ids: Sequence[str]) -> list[bytes | None]:
        """See `Store.thumbnails`."""
        positions = map(self._log.position, point_ids)
        return [None if position is None else self._log.thumbnail(position) for position in positions]

    def sample(self, count: int, seed: int) -> list[str]:
        """See `Store.sample`."""
        chosen = np.random.default_rng(seed).permutation(len(self._log))[:count]
        return [self._log.id(int(position)) for position in chosen]

    def matrix(self) -> tuple[list[str], Vector]:
        """See `Store.matrix`."""
        return [self._log.id(at) for at in range(len(self._log))], self._log.vectors()

    def points(self) -> Iterator[Point]:
        """See `Store.points`."""
        return self._log.points()

    def model(self) -> Path | None:
        """See `Store.model`."""
        return self._generation.folder / MODEL

    def close(self) -> None:
        """See `Store.close`."""
        self._index.close()


def check_query(vectors: Vector, k: int, dimension: int, offset: int = 0) -> None:
    """Raise `CbirError` unless these are finite (Q, `dimension`) vectors, k at least 1 and the offset not negative."""
    if vectors.ndim != 2 or vectors.shape[1] != dimension:
        raise CbirError(f"the query has shape {vectors.shape}, the collection's vectors have {dimension} dimensions")
    if not np.isfinite(vectors).all():
        raise CbirError("the query vector is not finite")
    if k < 1:
        raise UsageError(f"k must be at least 1, not {k}")
    if offset < 0:
        raise UsageError(f"the offset must not be negative, as {offset} is")


def check_id(point_id: str | None) -> None:
    """Raise `UsageError` unless this is the id of a point, or None."""
    try:
        uuid.UUID(point_id or "0" * 32)
    except ValueError:
        raise UsageError(f"{point_id!r} is not the id of a point") from None


def page(hits: Sequence[Hit], k: int, min_score: float | None, offset: int) -> list[Hit]:
    """Return k hits from `offset` on of those with at least `min_score`, in order."""
    good = [hit for hit in hits if min_score is None or hit.score >= min_score]
    return sorted(good, key=rank)[offset : offset + k]


def rank(hit: Hit) -> tuple[float, str]:
    """Return the sort key of hits: by score downwards, then by id."""
    return (-hit.score, hit.id)

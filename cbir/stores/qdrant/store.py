"""Collections of a Qdrant server or cluster, behind the store protocol.

A collection of ours carries in its metadata, under `cbir`, what the manifest of an embedded index holds: data set,
source and model. Each point's payload has three fields more than the user's: its thumbnail (base64),
its version and a digest. A collection is built under its own name; when it is complete its data set's alias is moved
to it, so that nobody who looks for the data set meets a half-built one.
"""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError
from qdrant_client import QdrantClient, models

from cbir.errors import UsageError
from cbir.filters.conditions import Dialect, FieldKind, Filter, Value, field_path, filtered_ef, offered, qdrant_filter
from cbir.filters.evaluate import PayloadTable, in_order
from cbir.index.generation import alias_of
from cbir.models.sealed import ModelRef
from cbir.records import Entry, Hit, Payload, Point, Vector
from cbir.settings import Settings
from cbir.stores.base import StoreInfo, check_id, check_query, page, redacted
from cbir.stores.qdrant.server import READ_RETRY_SECONDS, Server, ServerError

METADATA = "cbir"
THUMBNAIL, VERSION, DIGEST = "cbir_thumbnail", "cbir_version", "cbir_digest"
_USER_PAYLOAD = models.PayloadSelectorExclude(exclude=[THUMBNAIL, VERSION, DIGEST])
_PAGE, _PAGE_WITH_VECTORS = 1000, 200
_ACORN = models.AcornSearchParams(enable=True, max_selectivity=1.0)
"""A filtered walk goes on through points that are left out, as in the embedded engine."""

_DIALECT = Dialect(models, models.Range, bool)
_COUNTED = frozenset(
    {models.PayloadSchemaType.KEYWORD, models.PayloadSchemaType.INTEGER, models.PayloadSchemaType.BOOL}
)
_FIELD_KINDS = {
    models.PayloadSchemaType.KEYWORD: FieldKind.TEXT,
    models.PayloadSchemaType.INTEGER: FieldKind.NUMBER,
    models.PayloadSchemaType.FLOAT: FieldKind.NUMBER,
    models.PayloadSchemaType.BOOL: FieldKind.TRUTH,
}
_QUANTIZATION: dict[str | None, models.QuantizationConfig | None] = {
    None: None,
    "scalar": models.ScalarQuantization(
        scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99, always_ram=True)
    ),
    "product": models.ProductQuantization(
        product=models.ProductQuantizationConfig(compression=models.CompressionRatio.X16, always_ram=True)
    ),
    "binary": models.BinaryQuantization(binary=models.BinaryQuantizationConfig(always_ram=True)),
    "turbo": models.TurboQuantization(turbo=models.TurboQuantQuantizationConfig(always_ram=True)),
}


@dataclass(frozen=True)
class CollectionRecord:
    """What a collection's metadata says of it.

    Attributes:
        dataset: The data set in it.
        source: Where that came from.
        model: What made the vectors.
        created: ISO 8601 in UTC.
        options: The options of the URL that it was made with, as given.
        building: True until a run has stored all of its source.
    """

    dataset: str
    source: str
    model: ModelRef
    created: str
    options: dict[str, str] = field(default_factory=dict)
    building: bool = False


RECORD = TypeAdapter(CollectionRecord)


def server_records(url: str, settings: Settings) -> dict[str, CollectionRecord]:
    """Return what each of the server's collections that cbir made says of itself, half-built ones too."""
    server = Server(url, settings)
    names = [one.name for one in server.ask(lambda client: client.get_collections()).collections]
    records = {name: read_record(server, name) for name in names}
    return {name: record for name, record in records.items() if record is not None}


def server_collections(url: str, settings: Settings, unfinished: bool = False) -> list[str]:
    """Return the names of the server's complete collections that cbir made, or of the half-built ones, too.

    Those that an alias points to come first; among these and among the others the newest comes first.
    """
    records = server_records(url, settings)
    aliased = set(server_aliases(url, settings).values())
    names = [name for name, record in records.items() if unfinished or not record.building or name in aliased]
    return sorted(names, key=lambda name: (name in aliased, records[name].created), reverse=True)


def server_aliases(url: str, settings: Settings) -> dict[str, str]:
    """Return the server's aliases, each with the name of the collection that it points to."""
    return aliases_of(Server(url, settings))


def aliases_of(server: Server) -> dict[str, str]:
    """Return the server's aliases, each with the name of the collection that it points to."""
    found = server.ask(lambda client: client.get_aliases()).aliases
    return {one.alias_name: one.collection_name for one in found}


def resolve(url: str, name: str, settings: Settings) -> str:
    """Return the collection that `name` means: what it points to if it is an alias, else itself."""
    return server_aliases(url, settings).get(name, name)


def drop_collection(url: str, name: str, settings: Settings) -> None:
    """Delete a collection that cbir made, and the aliases that point to it.

    Raises:
        UsageError: There is none of that name, it is an alias, or cbir did not make it.
        CbirError: The server cannot be reached, or refuses.
    """
    server = Server(url, settings)
    target = aliases_of(server).get(name)
    if target is not None:
        raise UsageError(f"{server.url}: {name} is an alias of {target}; drop that, if you mean it")
    if read_record(server, name) is None:
        raise UsageError(f"{server.url} has no collection {name} of cbir's")
    server.ask(lambda client: client.delete_collection(name))


def use_collection(url: str, name: str, settings: Settings) -> None:
    """Make a complete collection the one that its data set's alias points to.

    Raises:
        UsageError: There is none of that name that cbir made, it is half-built, or there can be no such alias.
        CbirError: The server cannot be reached, or refuses.
    """
    server = Server(url, settings)
    record = read_record(server, name)
    if record is None or record.building:
        raise UsageError(f"{server.url} has no complete collection {name} of cbir's")
    alias = alias_of(record.dataset, name)
    names = {one.name for one in server.ask(lambda client: client.get_collections()).collections}
    if alias == "" or alias in names:
        raise UsageError(f"{server.url}: {alias or name} is a collection itself, and means nothing else")
    move_alias(server, alias, name)


def move_alias(server: Server, alias: str, collection: str) -> None:
    """Let an alias point to a collection, in one step if it pointed to another."""
    made = models.CreateAlias(collection_name=collection, alias_name=alias)
    steps: list[models.AliasOperations] = [models.CreateAliasOperation(create_alias=made)]
    if alias in aliases_of(server):
        steps.insert(0, models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias)))
    server.ask(lambda client: client.update_collection_aliases(steps))


def read_record(server: Server, collection: str) -> CollectionRecord | None:
    """Return what a collection's metadata says, or None if there is no such collection, or cbir did not make it."""
    try:
        metadata = server.ask(lambda client: client.get_collection(collection)).config.metadata or {}
        return RECORD.validate_python(metadata[METADATA])
    except (KeyError, ValidationError):
        return None
    except ServerError as error:
        if error.status != 404:
            raise
        return None


def write_record(server: Server, collection: str, record: CollectionRecord) -> None:
    """Store what a collection's metadata says."""
    server.ask(lambda client: client.update_collection(collection, metadata={METADATA: asdict(record)}))


def create_collection(server: Server, collection: str, record: CollectionRecord) -> None:
    """Create an empty collection for a model's vectors, by default with a graph like the embedded engine's.

    Raises:
        ServerError: There is one of that name, or the server cannot be reached, or refuses.
    """
    options = server.options
    server.ask(
        lambda client: client.create_collection(
            collection,
            vectors_config=models.VectorParams(
                size=record.model.dimension, distance=models.Distance.COSINE, on_disk=options.on_disk
            ),
            hnsw_config=models.HnswConfigDiff(m=options.m, ef_construct=options.ef_construct, on_disk=options.on_disk),
            shard_number=options.shards,
            replication_factor=options.replicas,
            write_consistency_factor=options.write_consistency,
            quantization_config=_QUANTIZATION[options.quantization],
            on_disk_payload=True,  # thumbnails are most of it
            metadata={METADATA: asdict(record)},
        )
    )


def require_options(server: Server, collection: str, record: CollectionRecord) -> None:
    """Raise `UsageError` if the URL asks for options that the collection was not made with."""
    for name, value in server.given.items():
        if record.options.get(name) != value:
            made = f"with {name}={record.options[name]}" if name in record.options else f"without {name}"
            raise UsageError(
                f"{server.url}: {collection} was made {made}; leave the option out, or ingest into another --collection"
            )


def open_server_store(
    url: str, collection: str | None, settings: Settings, retry_seconds: float = READ_RETRY_SECONDS
) -> "QdrantStore":
    """Open a collection for searching, by its name or by an alias; by default the first of `server_collections`.

    What fails and may pass is tried again for `retry_seconds`.

    Raises:
        UsageError: There is none of that name that cbir made.
        CbirError: The server cannot be reached, or refuses.
    """
    server = Server(url, settings, retry_seconds)
    name = resolve(url, collection, settings) if collection else next(iter(server_collections(url, settings)), None)
    record = read_record(server, name) if name else None
    if name is None or record is None:
        names = ", ".join(server_collections(url, settings)) or "none"
        raise UsageError(f"{server.url} has no collection {collection or 'yet'} of cbir's; it has: {names}")
    require_options(server, name, record)
    return QdrantStore(url, server, name, record)


class QdrantStore:
    """One collection of a server, open for searching."""

    def __init__(self, url: str, server: Server, collection: str, record: CollectionRecord):
        self._url, self._server, self._collection, self._record = redacted(url), server, collection, record

    @property
    def info(self) -> StoreInfo:
        """What is open here, counted now."""
        count = self._server.ask(lambda client: client.count(self._collection, exact=True)).count
        indexed = self._server.ask(lambda client: client.get_collection(self._collection)).indexed_vectors_count or 0
        return StoreInfo(
            url=self._url,
            collection=self._collection,
            generation="",
            model=self._record.model,
            count=count,
            indexed=indexed,
            access="graph" if indexed else "scan",
            options={**self._record.options, "ef": str(self._server.options.ef)},
            dataset=self._record.dataset,
            source=self._record.source,
        )

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
        check_query(vectors, k, self._record.model.dimension, offset)
        options = self._server.options
        ef = effort or options.ef
        params = models.SearchParams(
            hnsw_ef=None if exact else filtered_ef(ef) if where else ef,
            exact=exact,
            quantization=models.QuantizationSearchParams(
                ignore=exact, rescore=options.rescore, oversampling=options.oversampling
            ),
            acorn=_ACORN if where and not exact else None,
        )
        chosen = qdrant_filter(where, _DIALECT)
        requests = [
            models.QueryRequest(
                query=vector,
                limit=k + offset,
                with_payload=_USER_PAYLOAD,
                params=params,
                filter=chosen,
                score_threshold=min_score,
            )
            for vector in vectors.tolist()
        ]
        answers = self._server.ask(lambda client: client.query_batch_points(self._collection, requests))
        found = [[Hit(str(one.id), one.score, one.payload or {}) for one in answer.points] for answer in answers]
        return [page(hits, k, min_score, offset) for hits in found]

    def vectors(self, point_ids: Sequence[str]) -> list[Vector | None]:
        """See `Store.vectors`."""
        found = {
            str(point.id): np.asarray(point.vector, np.float32) for point in self._retrieve(point_ids, vectors=True)
        }
        return [found.get(point_id) for point_id in point_ids]

    def count(self, where: Filter = ()) -> int:
        """See `Store.count`."""
        chosen = qdrant_filter(where, _DIALECT)
        return self._server.ask(lambda client: client.count(self._collection, chosen, exact=True)).count

    def facet(self, field: str, where: Filter = (), limit: int = 100) -> list[tuple[Value, int]]:
        """See `Store.facet`. The server counts a field that it has an index for; others are read whole."""
        chosen = qdrant_filter(where, _DIALECT)
        schema, path = self._schema(), field_path(field)
        if path in schema and schema[path].data_type in _COUNTED:
            counted = self._server.ask(
                lambda client: client.facet(self._collection, path, facet_filter=chosen, limit=limit, exact=True)
            )
            return in_order((one.value, one.count) for one in counted.hits)
        found = scroll(self._server, self._collection, payload=[path], where=chosen)
        return PayloadTable(one.payload or {} for one in found).facet(field, ())[:limit]

    def fields(self) -> dict[str, FieldKind]:
        """See `Store.fields`. A field is indexed, and so has the kind, of the first value that came."""
        kinds = {path.strip('"'): _FIELD_KINDS.get(index.data_type) for path, index in self._schema().items()}
        return offered({field: kind for field, kind in kinds.items() if kind is not None})

    def scroll(self, where: Filter = (), after: str | None = None, limit: int = 1000) -> list[Entry]:
        """See `Store.scroll`."""
        check_id(after)
        chosen = qdrant_filter(where, _DIALECT)
        wanted = limit if after is None else limit + 1  # an offset is the first point that is wanted
        points, _ = self._server.ask(
            lambda client: client.scroll(
                self._collection, chosen, limit=wanted, offset=after, with_payload=_USER_PAYLOAD
            )
        )
        return [Entry(str(one.id), one.payload or {}) for one in points if str(one.id) != after][:limit]

    def payloads(self, point_ids: Sequence[str]) -> list[Payload | None]:
        """See `Store.payloads`."""
        found = {str(point.id): point.payload or {} for point in self._retrieve(point_ids, payload=_USER_PAYLOAD)}
        return [found.get(point_id) for point_id in point_ids]

    def thumbnails(self, point_ids: Sequence[str]) -> list[bytes | None]:
        """See `Store.thumbnails`."""
        points = self._retrieve(point_ids, payload=[THUMBNAIL])
        found = {str(point.id): base64.b64decode((point.payload or {}).get(THUMBNAIL, "")) for point in points}
        return [found.get(point_id) for point_id in point_ids]

    def sample(self, count: int, seed: int) -> list[str]:
        """See `Store.sample`."""
        ids = sorted(str(point.id) for point in scroll(self._server, self._collection))
        return [ids[at] for at in np.random.default_rng(seed).permutation(len(ids))[:count]]

    def matrix(self) -> tuple[list[str], Vector]:
        """See `Store.matrix`."""
        points = list(scroll(self._server, self._collection, vectors=True))
        rows = np.array([point.vector for point in points], np.float32)
        return [str(point.id) for point in points], rows.reshape(len(points), self._record.model.dimension)

    def points(self) -> Iterator[Point]:
        """See `Store.points`."""
        return map(to_point, scroll(self._server, self._collection, payload=True, vectors=True))

    def model(self) -> Path | None:
        """A server keeps no model file; a packaged one must fit."""
        return None

    def close(self) -> None:
        """Nothing to release: all stores of a server share one client."""

    def _schema(self) -> dict[str, models.PayloadIndexInfo]:
        return self._server.ask(lambda client: client.get_collection(self._collection)).payload_schema

    def _retrieve(
        self,
        ids: Sequence[str],
        payload: list[str] | bool | models.PayloadSelectorExclude = False,
        vectors: bool = False,
    ) -> list[models.Record]:
        return self._server.ask(
            lambda client: client.retrieve(self._collection, list(ids), with_payload=payload, with_vectors=vectors)
        )


def to_point(record: models.Record) -> Point:
    """Return a whole point as cbir stored it, from a record with payload and vector."""
    payload = dict(record.payload or {})
    version, digest = str(payload.pop(VERSION, "")), str(payload.pop(DIGEST, ""))
    thumbnail = base64.b64decode(payload.pop(THUMBNAIL, ""))
    return Point(str(record.id), np.asarray(record.vector, np.float32), payload, version, thumbnail, digest)


def scroll(
    server: Server,
    collection: str,
    payload: list[str] | bool = False,
    vectors: bool = False,
    where: models.Filter | None = None,
) -> Iterator[models.Record]:
    """Yield every point of a collection, with the payload fields named, or all (True) or none of them."""
    limit = _PAGE_WITH_VECTORS if vectors else _PAGE
    offset: Any = None
    while True:

        def page(client: QdrantClient, start: Any = offset) -> tuple[list[models.Record], Any]:
            return client.scroll(
                collection, where, limit=limit, offset=start, with_payload=payload, with_vectors=vectors
            )

        points, offset = server.ask(page)
        yield from points
        if offset is None:
            return

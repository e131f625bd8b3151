"""Collections of cbir on a Qdrant server: their metadata, how they are created, their aliases, and reading all points.

The metadata has under `cbir` what the manifest of an embedded index has: data set, source and model. The payload of a
point has three additional fields: the thumbnail (base64), the version and a digest. The alias of a data set is moved to
a collection when it is complete, so that nobody who opens the data set gets an unfinished one.
"""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError
from qdrant_client import QdrantClient, models
from qdrant_client import grpc as proto
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc

from cbir.errors import UsageError
from cbir.models.card import ModelRef
from cbir.records import Payload, Point
from cbir.stores.qdrant.server import Server, ServerError

METADATA, KINDS = "cbir", "cbir_kinds"
THUMBNAIL, VERSION, DIGEST = "cbir_thumbnail", "cbir_version", "cbir_digest"
USER_PAYLOAD = models.PayloadSelectorExclude(exclude=[THUMBNAIL, VERSION, DIGEST])
_PAGE, _PAGE_WITH_VECTORS = 1000, 200
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
    """The metadata of a collection: `options` of the URL that it was created with, and `created` in ISO 8601 and UTC.

    `building` is True until a run has stored its whole source.
    """

    dataset: str
    source: str
    model: ModelRef
    created: str
    options: dict[str, str] = field(default_factory=dict)
    building: bool = False


RECORD = TypeAdapter(CollectionRecord)


def aliases_of(server: Server) -> dict[str, str]:
    """Return the collection of each of the server's aliases."""
    aliases = server.ask(lambda client: client.get_aliases()).aliases
    return {alias.alias_name: alias.collection_name for alias in aliases}


def collection_names(server: Server, retry_seconds: float | None = None) -> list[str]:
    """Return the names of all collections of the server, whoever made them."""
    found = server.ask(lambda client: client.get_collections(), retry_seconds)
    return [collection.name for collection in found.collections]


def move_alias(server: Server, alias: str, collection: str) -> None:
    """Let an alias point to a collection. If it pointed to another, both changes are one step."""
    made = models.CreateAlias(collection_name=collection, alias_name=alias)
    steps: list[models.AliasOperations] = [models.CreateAliasOperation(create_alias=made)]
    if alias in aliases_of(server):
        steps.insert(0, models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias)))
    server.ask(lambda client: client.update_collection_aliases(steps))


def read_record(server: Server, collection: str) -> CollectionRecord | None:
    """Return a collection's record, None if there is no such collection or cbir did not make it."""
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
    """Store a collection's record in its metadata."""
    write_metadata(server, collection, METADATA, asdict(record))


def write_metadata(server: Server, collection: str, name: str, content: dict[str, Any]) -> None:
    """Store one entry of a collection's metadata. The others stay."""
    server.ask(lambda client: client.update_collection(collection, metadata={name: content}))


def create_collection(server: Server, collection: str, record: CollectionRecord) -> None:
    """Create an empty collection for a model's vectors, by default with a graph like the embedded engine's."""
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
            on_disk_payload=True,  # most of it is thumbnails
            metadata={METADATA: asdict(record), KINDS: {}},
        )
    )


def require_options(server: Server, collection: str, record: CollectionRecord) -> None:
    """Raise `UsageError` if the URL has options that the collection was not created with."""
    for name, value in server.given.items():
        if record.options.get(name) != value:
            made = f"with {name}={record.options[name]}" if name in record.options else f"without {name}"
            raise UsageError(
                f"{server.url}: {collection} was made {made}; leave the option out, or ingest into another --collection"
            )


def to_point(record: models.Record) -> Point:
    """Return the point that was stored as a record with payload and vector."""
    payload = dict(record.payload or {})
    version, digest = str(payload.pop(VERSION, "")), str(payload.pop(DIGEST, ""))
    thumbnail = base64.b64decode(payload.pop(THUMBNAIL, ""))
    return Point(str(record.id), np.asarray(record.vector, np.float32), payload, version, thumbnail, digest)


def described(server: Server, collection: str) -> Iterator[tuple[str, Payload]]:
    """Yield (id, payload) of every point. The payload has only the key and the SHA-256."""
    for point in scroll(server, collection, payload=["key", "sha256"]):
        yield str(point.id), point.payload or {}


def retrieve(server: Server, collection: str, ids: Sequence[str]) -> dict[str, Point]:
    """Return those of the points that are stored, by id."""
    records = server.ask(lambda client: client.retrieve(collection, list(ids), with_payload=True, with_vectors=True))
    return {str(record.id): to_point(record) for record in records}


def scroll(
    server: Server,
    collection: str,
    payload: list[str] | bool | models.PayloadSelectorExclude = False,
    vectors: bool = False,
    filter: models.Filter | None = None,
    start: str | None = None,
    most: int | None = None,
) -> Iterator[models.Record]:
    """Yield the points of a collection from an id on, with these payload fields, with all (True) or with none.

    They are read in pages of at most `most`, and of what the collection allows.
    """
    wanted = most or (_PAGE_WITH_VECTORS if vectors else _PAGE)
    limit = min(wanted, server.strict_mode(collection).max_query_limit or wanted)
    offset: Any = start
    while True:

        def page(client: QdrantClient, first: Any = offset) -> tuple[list[models.Record], Any]:
            if vectors and client.init_options["prefer_grpc"]:
                return _page_of_vectors(client, collection, limit, first, payload, filter)
            return client.scroll(
                collection, filter, limit=limit, offset=first, with_payload=payload, with_vectors=vectors
            )

        points, offset = server.ask(page)
        yield from points
        if offset is None:
            return


def _page_of_vectors(
    client: QdrantClient,
    collection: str,
    limit: int,
    first: Any,
    payload: list[str] | bool | models.PayloadSelectorExclude,
    filter: models.Filter | None,
) -> tuple[list[models.Record], Any]:
    """Return a page with vectors as arrays: the client's own lists of numbers take most of the time of reading all."""
    request = proto.ScrollPoints(
        collection_name=collection,
        filter=None if filter is None else RestToGrpc.convert_filter(filter),
        limit=limit,
        offset=None if first is None else RestToGrpc.convert_extended_point_id(first),
        with_payload=RestToGrpc.convert_with_payload_interface(payload),
        with_vectors=RestToGrpc.convert_with_vectors(True),
    )
    answer = client.grpc_points.Scroll(request, timeout=client.init_options["timeout"])
    following = answer.next_page_offset if answer.HasField("next_page_offset") else None
    return [_record(point) for point in answer.result], following and GrpcToRest.convert_point_id(following)


def _record(point: Any) -> models.Record:
    vector = point.vectors.vector
    return models.Record.model_construct(
        id=GrpcToRest.convert_point_id(point.id),
        payload=GrpcToRest.convert_payload(point.payload),
        vector=np.array(vector.dense.data or vector.data, np.float32),  # older servers fill only the latter
    )

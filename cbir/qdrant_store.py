"""A Qdrant server or cluster behind the store protocol, through the official client.

A collection of ours carries in its metadata, under `cbir`, what the manifest of an embedded index holds: data set,
source and model. Each point's payload has three fields more than the user's: its thumbnail (base64),
its version and a digest.
"""

import base64
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError
from qdrant_client import QdrantClient, models

from cbir.errors import CbirError, UsageError
from cbir.model import ModelRef
from cbir.records import Hit, Vector
from cbir.settings import Settings
from cbir.stores import StoreInfo, check_query, rank, redacted

METADATA = "cbir"
THUMBNAIL, VERSION, DIGEST = "cbir_thumbnail", "cbir_version", "cbir_digest"
EF = 128
_USER_PAYLOAD = models.PayloadSelectorExclude(exclude=[THUMBNAIL, VERSION, DIGEST])
_PAGE = 1000
_TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class CollectionRecord:
    """What a collection's metadata says of it. `created` is ISO 8601 in UTC."""

    dataset: str
    source: str
    model: ModelRef
    created: str


RECORD = TypeAdapter(CollectionRecord)


# The client would say it with two lines of its own source.
warnings.filterwarnings("ignore", message="Api key is used with an insecure connection")


def connect(url: str, settings: Settings) -> QdrantClient:
    """Return this process's client for the server; nothing is sent yet.

    Raises:
        UsageError: The URL is not one of a server.
    """
    return _client(url, settings.qdrant_api_key.get_secret_value() if settings.qdrant_api_key else None)


@lru_cache(maxsize=16)
def _client(url: str, key: str | None) -> QdrantClient:
    try:
        return QdrantClient(url=url, api_key=key, timeout=_TIMEOUT_SECONDS, check_compatibility=False)
    except ValueError as error:
        raise UsageError(f"{redacted(url)} is not the address of a Qdrant server: {error}") from None


def server_collections(url: str, settings: Settings) -> list[str]:
    """Return the names of the server's collections that cbir made, the newest first."""
    client = connect(url, settings)
    with server_errors(url):
        names = [one.name for one in client.get_collections().collections]
        records = {name: read_record(client, name) for name in names}
    ours = {name: record.created for name, record in records.items() if record is not None}
    return sorted(ours, key=lambda name: ours[name], reverse=True)


def read_record(client: QdrantClient, collection: str) -> CollectionRecord | None:
    """Return what a collection's metadata says, or None if cbir did not make it."""
    metadata = client.get_collection(collection).config.metadata or {}
    try:
        return RECORD.validate_python(metadata[METADATA])
    except (KeyError, ValidationError):
        return None


def create_collection(client: QdrantClient, collection: str, record: CollectionRecord) -> None:
    """Create an empty collection for a model's vectors, its graph built as in the embedded engine."""
    client.create_collection(
        collection,
        vectors_config=models.VectorParams(size=record.model.dimension, distance=models.Distance.COSINE),
        hnsw_config=models.HnswConfigDiff(m=16, ef_construct=100),
        metadata={METADATA: asdict(record)},
    )


def open_server_store(url: str, collection: str | None, settings: Settings) -> "QdrantStore":
    """Open a collection (by default the newest) for searching.

    Raises:
        UsageError: There is none of that name that cbir made.
        CbirError: The server cannot be reached, or refuses.
    """
    names = server_collections(url, settings)
    if not names or (collection is not None and collection not in names):
        raise UsageError(
            f"{redacted(url)} has no collection {collection or 'yet'} of cbir's; it has: {', '.join(names) or 'none'}"
        )
    return QdrantStore(url, collection or names[0], settings)


class QdrantStore:
    """One collection of a server, open for searching."""

    def __init__(self, url: str, collection: str, settings: Settings):
        self._client = connect(url, settings)
        self._url, self._collection = url, collection
        with server_errors(url):
            record = read_record(self._client, collection)
        if record is None:
            raise UsageError(f"{redacted(url)}: {collection} was not made by cbir")
        self._record = record

    @property
    def info(self) -> StoreInfo:
        """What is open here, counted now."""
        with server_errors(self._url):
            count = self._client.count(self._collection, exact=True).count
            indexed = self._client.get_collection(self._collection).indexed_vectors_count or 0
        return StoreInfo(
            url=redacted(self._url),
            collection=self._collection,
            generation="",
            model=self._record.model,
            count=count,
            indexed=indexed,
            access="graph" if indexed else "scan",
            options={"ef": str(EF)},
        )

    def search(self, vectors: Vector, k: int, *, exact: bool = False) -> list[list[Hit]]:
        """See `cbir.stores.Store.search`."""
        check_query(vectors, k, self._record.model.dimension)
        params = models.SearchParams(exact=True) if exact else models.SearchParams(hnsw_ef=EF)
        requests = [
            models.QueryRequest(query=vector, limit=k, with_payload=_USER_PAYLOAD, params=params)
            for vector in vectors.tolist()
        ]
        with server_errors(self._url):
            answers = self._client.query_batch_points(self._collection, requests)
        found = [[Hit(str(one.id), one.score, one.payload or {}) for one in answer.points] for answer in answers]
        return [sorted(hits, key=rank) for hits in found]

    def vector(self, point_id: str) -> Vector | None:
        """See `cbir.stores.Store.vector`."""
        with server_errors(self._url):
            points = self._client.retrieve(self._collection, [point_id], with_vectors=True, with_payload=False)
        return np.asarray(points[0].vector, np.float32) if points else None

    def thumbnails(self, point_ids: Sequence[str]) -> list[bytes | None]:
        """See `cbir.stores.Store.thumbnails`."""
        with server_errors(self._url):
            points = self._client.retrieve(self._collection, list(point_ids), with_payload=[THUMBNAIL])
        found = {str(point.id): base64.b64decode((point.payload or {}).get(THUMBNAIL, "")) for point in points}
        return [found.get(point_id) for point_id in point_ids]

    def sample(self, count: int, seed: int) -> list[str]:
        """See `cbir.stores.Store.sample`."""
        ids = sorted(str(point.id) for point in scroll(self._client, self._url, self._collection))
        return [ids[at] for at in np.random.default_rng(seed).permutation(len(ids))[:count]]

    def matrix(self) -> tuple[list[str], Vector]:
        """See `cbir.stores.Store.matrix`."""
        points = list(scroll(self._client, self._url, self._collection, vectors=True))
        rows = np.array([point.vector for point in points], np.float32)
        return [str(point.id) for point in points], rows.reshape(len(points), self._record.model.dimension)

    def model(self) -> Path | None:
        """A server keeps no model file; a packaged one must fit."""
        return None

    def close(self) -> None:
        """Nothing to release: all stores of a server share one client."""


def scroll(
    client: QdrantClient, url: str, collection: str, payload: list[str] | None = None, vectors: bool = False
) -> Iterator[models.Record]:
    """Yield every point of a collection, with the payload fields named."""
    offset: Any = None
    while True:
        with server_errors(url):
            points, offset = client.scroll(
                collection, limit=_PAGE, offset=offset, with_payload=payload or False, with_vectors=vectors
            )
        yield from points
        if offset is None:
            return


@contextmanager
def server_errors(url: str) -> Iterator[None]:
    """Turn what the client raises into one line that says which server and what to look at."""
    url = redacted(url)
    from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

    try:
        yield
    except UnexpectedResponse as error:
        hint = "; check QDRANT_API_KEY" if error.status_code in (401, 403) else ""
        raise CbirError(f"the Qdrant server {url} answered {error.status_code} {error.reason_phrase}{hint}") from None
    except ValueError as error:  # pydantic's and json's among them
        raise CbirError(f"{url} does not answer as a Qdrant server does: {type(error).__name__}") from None
    except (ResponseHandlingException, ApiException, OSError) as error:
        raise CbirError(f"the Qdrant server {url} cannot be reached: {error}; is it running?") from None

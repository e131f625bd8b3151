"""Points into a collection of a Qdrant server."""

import base64
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from qdrant_client import models

from cbir.errors import UsageError
from cbir.generation import Plan
from cbir.qdrant_store import (
    DIGEST,
    THUMBNAIL,
    VERSION,
    CollectionRecord,
    connect,
    create_collection,
    read_record,
    scroll,
    server_errors,
)
from cbir.records import Point
from cbir.settings import Settings
from cbir.stores import redacted

from .builder import require_same


class ServerSink:
    """A collection being filled. A batch counts as stored when the server has acknowledged it (`wait=True`).

    Raises:
        UsageError: The collection is not one of cbir's, or was made with another model or from another source.
        CbirError: The server cannot be reached, or refuses.
    """

    needs_publishing = False
    resumed = 0

    def __init__(self, url: str, plan: Plan, settings: Settings, same_source: bool):
        self._url, self._collection = url, plan.collection
        self._client = connect(url, settings)
        with server_errors(url):
            exists = self._client.collection_exists(plan.collection)
            before = read_record(self._client, plan.collection) if exists else None
        if exists and before is None:
            raise UsageError(
                f"{redacted(url)} has a collection {plan.collection} that cbir did not make; name another --collection"
            )
        if before is not None:
            require_same(before, plan, f"{redacted(url)} {plan.collection}", same_source)
        else:
            created = datetime.now(UTC).isoformat(timespec="seconds")
            with server_errors(url):
                create_collection(
                    self._client, plan.collection, CollectionRecord(plan.dataset, plan.source, plan.model, created)
                )
        self.known: Mapping[str, tuple[str, str]] = {
            str(point.id): (str((point.payload or {}).get(VERSION, "")), str((point.payload or {}).get(DIGEST, "")))
            for point in scroll(self._client, url, plan.collection, payload=[VERSION, DIGEST])
        }

    def write(self, points: Sequence[Point]) -> None:
        """Upsert points and wait until the server has them."""
        if not points:
            return
        structs = [
            models.PointStruct(
                id=point.id,
                vector=point.vector.tolist(),
                payload={
                    **point.payload,
                    VERSION: point.version,
                    DIGEST: point.digest,
                    THUMBNAIL: base64.b64encode(point.thumbnail).decode(),
                },
            )
            for point in points
        ]
        with server_errors(self._url):
            self._client.upsert(self._collection, structs, wait=True)

    def flush(self) -> None:
        """Nothing waits here: every write was acknowledged."""

    def publish(self, progress: Callable[[str, int], Callable[[int], None]]) -> None:
        """Nothing to do: a server's collection is searched while it is filled."""

    def close(self) -> None:
        """Nothing to release: the process has one client for the server."""

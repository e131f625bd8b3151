"""Fills a collection of a Qdrant server."""

import base64
import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from operator import methodcaller
from pathlib import Path
from typing import Any, cast

import numpy as np
from pydantic_core import to_json
from qdrant_client import models

from cbir.errors import CbirError, UsageError
from cbir.filters.translate import field_path
from cbir.index.compatible import require_same
from cbir.index.generation import Plan
from cbir.index.stored_ids import PointIds, StoredIds
from cbir.progress import Progress
from cbir.records import Failure, Payload, Point, with_changes, without_fraction
from cbir.settings import Settings
from cbir.stores.base import ReadBack
from cbir.stores.qdrant.kinds import kinds_in, merged, settle
from cbir.stores.qdrant.records import (
    DIGEST,
    THUMBNAIL,
    VERSION,
    CollectionRecord,
    aliases_of,
    collection_names,
    create_collection,
    described,
    move_alias,
    read_record,
    require_options,
    retrieve,
    scroll,
    write_record,
)
from cbir.stores.qdrant.server import READ_RETRY_SECONDS, Server, ServerError
from cbir.stores.qdrant.store import QdrantStore
from cbir.stores.recall import SAMPLED, is_quantized, report_recall, sample_recall
from cbir.stores.url import StoreURL

BODY_BYTES = 4_900_000
"""The largest request in bytes. A larger point is sent alone."""

_IN_FLIGHT = 4
"""The number of concurrent requests: enough to keep the server busy, few enough to fit in memory."""

_TIMEOUT_SECONDS = 60
_SERVER_TAKES = 32 * 2**20
_BYTES_A_FLOAT = 25  # the longest double in JSON, with its comma
_BYTES_A_POINT = 100  # the id and the JSON around it
_ABOUT_THE_REQUEST = frozenset({400, 413, 422})
_MOST_REFUSED = 1000
_IDS_AT_ONCE = 10_000
_CHANGED_AT_ONCE = 500
_INDEXING_SECONDS, _INDEXING_PAUSE = 60.0, 0.5

log = logging.getLogger(__name__)


class QdrantWriter:
    """A collection of a server being filled; see `cbir.stores.base.CollectionWriter`.

    A point counts as stored when the server has applied it (`wait=True`).
    """

    shared = True
    state = None

    def __init__(self, url: StoreURL, plan: Plan, journal_path: Path, settings: Settings, same_source: bool):
        self._server = server = Server(url, settings, settings.server_retry_seconds, _TIMEOUT_SECONDS)
        self._collection = plan.collection
        self.name = f"{server.url} {plan.collection}"
        self.journal_path = journal_path
        names = collection_names(server, READ_RETRY_SECONDS)
        aliases = aliases_of(server)
        if plan.collection in aliases:
            raise UsageError(f"{self.name} is an alias of {aliases[plan.collection]}; name that one or another")
        self._alias = plan.alias
        if plan.alias in names:
            log.warning(
                "warning: %s has a collection named %s, so no alias can be made: search in %s by its own name",
                *(server.url, plan.alias, plan.collection),
            )
            self._alias = ""
        self._record = self._made_or_found(plan, plan.collection in names, same_source)
        self._kinds, self._unchecked = settle(server, plan.collection), False
        self.needs_publishing = self._record.building or bool(
            self._alias and aliases.get(self._alias) != plan.collection
        )
        self.stored_ids: PointIds = StoredIds.of(self._rows())
        self.resumed = len(self.stored_ids) if self._record.building else 0
        self._refused_in_a_row, self._counting = 0, threading.Lock()

    def require_free_space(self, fresh: int) -> None:
        """A server does not report its free space."""

    def write(self, points: Sequence[Point]) -> list[Failure]:
        self._index_fields([point.payload for point in points])
        refused: list[Failure] = []
        pending: deque[Future[list[Failure]]] = deque()
        pool = ThreadPoolExecutor(_IN_FLIGHT, thread_name_prefix="upsert")
        try:
            for batch, size in _batches(map(_struct, points)):
                if len(pending) == _IN_FLIGHT:
                    refused += pending.popleft().result()
                pending.append(pool.submit(self._send, batch, size))
            for future in pending:
                refused += future.result()
        except BaseException:  # also an interrupt, which must not wait for retries
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        pool.shutdown()
        return refused

    def _send(self, batch: list[models.PointStruct], size: int) -> list[Failure]:
        if size > _SERVER_TAKES:  # it would close the connection during the request
            return [_failure(batch[0], f"it takes {size:,} bytes, and a server accepts {_SERVER_TAKES:,}")]
        return self._upsert(batch)

    def delete(self, ids: Sequence[str]) -> None:
        for start in range(0, len(ids), _IDS_AT_ONCE):
            part = models.PointIdsList(points=list(ids[start : start + _IDS_AT_ONCE]))
            self._server.ask(methodcaller("delete", self._collection, part, wait=True))

    def update(self, ids: Sequence[str], changes: Payload) -> None:
        self._index_fields([changes])
        for start in range(0, len(ids), _CHANGED_AT_ONCE):
            self._update(list(ids[start : start + _CHANGED_AT_ONCE]), changes)

    def _update(self, ids: list[str], changes: Payload) -> None:
        without = models.PayloadSelectorExclude(exclude=[THUMBNAIL])
        records = self._server.ask(lambda client: client.retrieve(self._collection, ids, with_payload=without))
        operations = [operation for record in records for operation in _operations(record, changes)]
        if operations:
            self._server.ask(lambda client: client.batch_update_points(self._collection, operations, wait=True))

    def points(self, ids: Sequence[str]) -> dict[str, Point]:
        return retrieve(self._server, self._collection, ids)

    def described(self) -> Iterator[tuple[str, Payload]]:
        return described(self._server, self._collection)

    def thumbnails(self) -> Iterator[tuple[str, bytes]]:
        for point in scroll(self._server, self._collection, payload=["key", THUMBNAIL]):
            payload = point.payload or {}
            yield str(payload.get("key", "")), base64.b64decode(payload.get(THUMBNAIL, ""))

    def read_back(self) -> ReadBack:
        return ReadBack(self.described(), self.points)

    def flush(self) -> None:
        """The server has acknowledged every write. Only what other processes wrote of the kinds is checked."""
        if self._unchecked:
            self._unchecked = False
            self._kinds = settle(self._server, self._collection, self._kinds)

    def refresh(self) -> None:
        self.stored_ids = StoredIds.of(self._rows())

    def publish(self, progress: Progress, more: bool = False) -> None:
        """Mark the collection as complete, and move the data set's alias to it."""
        if self._record.building:
            self._record = replace(self._record, building=False)
            write_record(self._server, self._collection, self._record)
        if self._alias:
            move_alias(self._server, self._alias, self._collection)
        self.needs_publishing = False
        if is_quantized(self._record.options) and self._server.allows_exact(self._collection):
            try:
                self._measure_recall()
            except ServerError as error:  # the collection is complete without it
                log.warning("warning: the recall of %s could not be measured: %s", self.name, error)

    def _measure_recall(self) -> None:
        """Report the recall once the server has indexed the points, or after a minute what it is until then."""
        deadline = time.monotonic() + _INDEXING_SECONDS
        while self._is_indexing() and time.monotonic() < deadline:
            time.sleep(_INDEXING_PAUSE)
        store = QdrantStore(self._server.url, self._server, self._collection, self._record, {})
        sample = islice(scroll(self._server, self._collection, vectors=True, most=SAMPLED), SAMPLED)
        pairs = [(str(point.id), np.asarray(point.vector, np.float32)) for point in sample]
        recall = sample_recall(lambda vectors, k, params: store.search(vectors, k, params=params), pairs)
        report_recall(f"{self.name}{', which is still indexing,' if self._is_indexing() else ''}", recall)

    def _is_indexing(self) -> bool:
        info = self._server.ask(lambda client: client.get_collection(self._collection))
        return info.status is models.CollectionStatus.YELLOW

    def close(self) -> None:
        """There is nothing to release: the process has one client for the server."""

    def _made_or_found(self, plan: Plan, exists: bool, same_source: bool) -> CollectionRecord:
        """Return the record of the collection. Another ingest may create it at the same moment."""
        record = read_record(self._server, plan.collection)
        if record is None and exists:
            raise UsageError(
                f"{self._server.url} has a collection {plan.collection} that cbir did not make;"
                " name another --collection"
            )
        if record is None:
            created, options = datetime.now(UTC).isoformat(), dict(self._server.given)
            record = CollectionRecord(plan.dataset, plan.source, plan.model, created, options, building=True)
            try:
                create_collection(self._server, plan.collection, record)
            except ServerError as error:
                theirs = read_record(self._server, plan.collection) if error.status in (400, 409) else None
                if theirs is None:
                    raise
                record = theirs
        before = replace(plan, dataset=record.dataset, source=record.source, model=record.model)
        require_same(before, plan, self.name, same_source)
        require_options(self._server, plan.collection, record)
        return record

    def _index_fields(self, payloads: Sequence[Payload]) -> None:
        """Let the server index new fields for filters and facets, and those whose kind changes."""
        kinds = merged(self._kinds, kinds_in(payloads))
        if kinds != self._kinds:
            self._kinds = settle(self._server, self._collection, kinds)
            self._unchecked = True

    def _rows(self) -> Iterator[tuple[bytes, str, str]]:
        for point in scroll(self._server, self._collection, payload=[VERSION, DIGEST]):
            if isinstance(point.id, str):  # cbir's ids are UUIDs
                payload = point.payload or {}
                yield uuid.UUID(point.id).bytes, str(payload.get(VERSION, "")), str(payload.get(DIGEST, ""))

    def _upsert(self, points: list[models.PointStruct]) -> list[Failure]:
        """Store points. A refused request is halved until the refused points are known."""
        try:
            self._server.ask(lambda client: client.upsert(self._collection, points, wait=True))
        except ServerError as error:
            if error.status not in _ABOUT_THE_REQUEST:
                raise
            if len(points) > 1:
                middle = len(points) // 2
                return self._upsert(points[:middle]) + self._upsert(points[middle:])
            with self._counting:
                self._refused_in_a_row += 1
            if self._refused_in_a_row >= _MOST_REFUSED:
                raise CbirError(f"{error} (the same for {_MOST_REFUSED:,} images in a row)") from None
            return [_failure(points[0], f"the server refused it: {error.reason or error.status}")]
        self._refused_in_a_row = 0
        return []


def _struct(point: Point) -> models.PointStruct:
    own = {
        VERSION: point.version,
        DIGEST: point.digest,
        THUMBNAIL: base64.b64encode(point.thumbnail).decode(),
    }
    return models.PointStruct(
        id=point.id, vector=point.vector.tolist(), payload={**without_fraction(point.payload), **own}
    )


def _operations(record: models.Record, changes: Payload) -> list[models.UpdateOperation]:
    """Return the operations that set and remove payload fields of one point."""
    payload: dict[str, Any] = dict(record.payload or {})
    version, before = str(payload.pop(VERSION, "")), str(payload.pop(DIGEST, ""))
    point = with_changes(Point(str(record.id), np.empty(0, np.float32), payload, version, b"", before), changes)
    new = {name: value for name, value in without_fraction(changes).items() if value is not None}
    removed = [field_path(name) for name, value in changes.items() if value is None]
    own = {VERSION: point.version, DIGEST: point.digest}
    operations: list[models.UpdateOperation] = [
        models.SetPayloadOperation(set_payload=models.SetPayload(payload={**new, **own}, points=[record.id]))
    ]
    if removed:
        fields = models.DeletePayload(keys=removed, points=[record.id])
        operations.append(models.DeletePayloadOperation(delete_payload=fields))
    return operations


def _failure(point: models.PointStruct, reason: str) -> Failure:
    payload = point.payload or {}
    return Failure(str(point.id), str(payload["key"]), reason, str(payload[VERSION]), str(payload["sha256"]))


def _batches(points: Iterable[models.PointStruct]) -> Iterator[tuple[list[models.PointStruct], int]]:
    """Yield the points in batches of at most `BODY_BYTES` (or one point), each with its size in bytes at most."""
    batch: list[models.PointStruct] = []
    size = 0
    for point in points:
        length = _BYTES_A_POINT + _BYTES_A_FLOAT * len(cast(list[float], point.vector)) + len(to_json(point.payload))
        if batch and size + length > BODY_BYTES:
            yield batch, size
            batch, size = [], 0
        batch.append(point)
        size += length
    if batch:
        yield batch, size

"""One collection of a Qdrant server or cluster, open for reading."""

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from qdrant_client import models

from cbir.filters.conditions import FieldKind, Filter, Value, filterable_fields
from cbir.filters.evaluate import PayloadTable, sorted_counts
from cbir.filters.translate import Dialect, field_path, filtered_ef, qdrant_filter
from cbir.records import Entry, Hit, Payload, Point, Vector
from cbir.stores.base import DEFAULT_PARAMS, SearchParams, StoreInfo
from cbir.stores.checks import check_id, check_query, page
from cbir.stores.qdrant.records import DIGEST, THUMBNAIL, VERSION, CollectionRecord, scroll, to_point
from cbir.stores.qdrant.server import Server

_USER_PAYLOAD = models.PayloadSelectorExclude(exclude=[THUMBNAIL, VERSION, DIGEST])
_ACORN = models.AcornSearchParams(enable=True, max_selectivity=1.0)
"""A filtered search continues through points that do not match, as in the embedded engine."""

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


class QdrantStore:
    """One collection of a server; see `cbir.stores.base.Store`."""

    def __init__(self, url: str, server: Server, collection: str, record: CollectionRecord):
        self._url, self._server, self._collection, self._record = url, server, collection, record

    @property
    def info(self) -> StoreInfo:
        """Facts about the collection. The points are counted on every access."""
        count = self.count()
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
        params: SearchParams = DEFAULT_PARAMS,
        filter: Filter = (),
        min_score: float | None = None,
        offset: int = 0,
    ) -> list[list[Hit]]:
        check_query(vectors, k, self._record.model.dimension, offset)
        options = self._server.options
        ef, exact = params.ef or options.ef, params.exact
        walk = models.SearchParams(
            hnsw_ef=None if exact else filtered_ef(ef) if filter else ef,
            exact=exact,
            quantization=models.QuantizationSearchParams(
                ignore=exact, rescore=options.rescore, oversampling=params.oversampling or options.oversampling
            ),
            acorn=_ACORN if filter and not exact else None,
        )
        chosen = qdrant_filter(filter, _DIALECT)
        requests = [
            models.QueryRequest(
                query=vector,
                limit=k + offset,
                with_payload=_USER_PAYLOAD,
                params=walk,
                filter=chosen,
                score_threshold=min_score,
            )
            for vector in vectors.tolist()
        ]
        answers = self._server.ask(lambda client: client.query_batch_points(self._collection, requests))
        found = [
            [Hit(str(point.id), point.payload or {}, point.score) for point in answer.points] for answer in answers
        ]
        return [page(hits, k, min_score, offset) for hits in found]

    def vectors(self, point_ids: Sequence[str]) -> list[Vector | None]:
        found = {
            str(point.id): np.asarray(point.vector, np.float32) for point in self._retrieve(point_ids, vectors=True)
        }
        return [found.get(point_id) for point_id in point_ids]

    def count(self, filter: Filter = ()) -> int:
        chosen = qdrant_filter(filter, _DIALECT)
        return self._server.ask(lambda client: client.count(self._collection, chosen, exact=True)).count

    def facet(self, field: str, filter: Filter = (), limit: int = 100) -> list[tuple[Value, int]]:
        """The server counts a field that has an index; for other fields all values are read and counted here."""
        chosen = qdrant_filter(filter, _DIALECT)
        schema, path = self._schema(), field_path(field)
        if path in schema and schema[path].data_type in _COUNTED:
            counted = self._server.ask(
                lambda client: client.facet(self._collection, path, facet_filter=chosen, limit=limit, exact=True)
            )
            return sorted_counts((hit.value, hit.count) for hit in counted.hits)
        points = scroll(self._server, self._collection, payload=[path], filter=chosen)
        return PayloadTable(point.payload or {} for point in points).facet(field, ())[:limit]

    def fields(self) -> dict[str, FieldKind]:
        """The index of a field, and so its kind, comes from the first value that was stored."""
        kinds = {path.strip('"'): _FIELD_KINDS.get(index.data_type) for path, index in self._schema().items()}
        return filterable_fields({field: kind for field, kind in kinds.items() if kind is not None})

    def scroll(self, filter: Filter = (), after: str | None = None, limit: int = 1000) -> list[Entry]:
        check_id(after)
        chosen = qdrant_filter(filter, _DIALECT)
        wanted = limit if after is None else limit + 1  # the server's offset is the first point to return
        points, _ = self._server.ask(
            lambda client: client.scroll(
                self._collection, chosen, limit=wanted, offset=after, with_payload=_USER_PAYLOAD
            )
        )
        return [Entry(str(point.id), point.payload or {}) for point in points if str(point.id) != after][:limit]

    def payloads(self, point_ids: Sequence[str]) -> list[Payload | None]:
        found = {str(point.id): point.payload or {} for point in self._retrieve(point_ids, payload=_USER_PAYLOAD)}
        return [found.get(point_id) for point_id in point_ids]

    def thumbnails(self, point_ids: Sequence[str]) -> list[bytes | None]:
        points = self._retrieve(point_ids, payload=[THUMBNAIL])
        found = {str(point.id): base64.b64decode((point.payload or {}).get(THUMBNAIL, "")) for point in points}
        return [found.get(point_id) for point_id in point_ids]

    def sample(self, count: int, seed: int) -> list[str]:
        ids = sorted(str(point.id) for point in scroll(self._server, self._collection))
        return [ids[i] for i in np.random.default_rng(seed).permutation(len(ids))[:count]]

    def matrix(self) -> tuple[list[str], Vector]:
        points = list(scroll(self._server, self._collection, vectors=True))
        rows = np.array([point.vector for point in points], np.float32)
        return [str(point.id) for point in points], rows.reshape(len(points), self._record.model.dimension)

    def points(self) -> Iterator[Point]:
        return map(to_point, scroll(self._server, self._collection, payload=True, vectors=True))

    def model(self) -> Path | None:
        return None

    def close(self) -> None:
        """There is nothing to release: all stores of a server share one client."""

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

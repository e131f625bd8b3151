"""One collection of a Qdrant server or cluster, open for reading."""

import base64
import math
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from operator import methodcaller
from pathlib import Path
from typing import cast

import numpy as np
from qdrant_client import models

from cbir.errors import UsageError
from cbir.filters.conditions import FieldKind, Filter, Value, filterable_fields
from cbir.filters.evaluate import PayloadTable, sorted_counts
from cbir.filters.translate import Dialect, field_path, filtered_ef, qdrant_filter
from cbir.records import Entry, Hit, Payload, Point, Vector
from cbir.stores.base import DEFAULT_PARAMS, SearchParams, StoreInfo
from cbir.stores.checks import Chosen, Row, best_hits, check_id, check_query
from cbir.stores.qdrant.kinds import COUNTED, FIELD_KINDS, Kinds, fitting, stored_kinds
from cbir.stores.qdrant.records import THUMBNAIL, USER_PAYLOAD, CollectionRecord, scroll, to_point
from cbir.stores.qdrant.server import Server

_ACORN = models.AcornSearchParams(enable=True, max_selectivity=1.0)
"""A filtered search continues through points that do not match, as in the embedded engine."""

_DIALECT = Dialect(models, models.Range, bool)
_TIED = 16
"""Among at most this many times the requested facet values, those with equal counts are put in order."""


def _hits(scores: Sequence[float], points: Sequence[models.ScoredPoint]) -> list[Hit]:
    return [Hit(str(point.id), point.payload or {}, score) for score, point in zip(scores, points, strict=True)]


class _Numbers(list[float]):
    """A vector that the client does not copy number by number, which takes longer than the rest of a search here."""

    def __deepcopy__(self, memo: object) -> "_Numbers":
        return self


class QdrantStore:
    """One collection of a server; see `cbir.stores.base.Store`.

    `old` has the kinds of its fields if an older version made it, and the key allows no change of its indexes.
    """

    def __init__(self, url: str, server: Server, collection: str, record: CollectionRecord, old: Kinds):
        self._url, self._server, self._collection, self._record, self._old = url, server, collection, record, old

    @property
    def info(self) -> StoreInfo:
        """Facts about the collection. The points are counted on every access."""
        count = self.count()
        indexed = self._info().indexed_vectors_count or 0
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

    is_behind = False

    @property
    def most_hits(self) -> int | None:
        """The limit of strict mode."""
        return self._limits.max_query_limit

    def search(
        self,
        vectors: Vector,
        k: int,
        *,
        params: SearchParams = DEFAULT_PARAMS,
        filter: Filter = (),
        min_score: float | None = None,
    ) -> list[list[Hit]]:
        check_query(vectors, k, self._record.model.dimension)
        if not len(vectors):
            return []
        options = self._server.options
        exact, limits = params.exact, self._limits
        ef = min(params.ef or options.ef, limits.search_max_hnsw_ef or sys.maxsize)
        oversampling = min(params.oversampling or options.oversampling, limits.search_max_oversampling or math.inf)
        walk = models.SearchParams(
            hnsw_ef=None if exact else filtered_ef(ef) if filter else ef,
            exact=exact,
            quantization=models.QuantizationSearchParams(
                ignore=exact, rescore=options.rescore, oversampling=oversampling
            ),
            acorn=_ACORN if filter and not exact else None,
        )
        request = models.QueryRequest(
            with_payload=USER_PAYLOAD,
            params=walk,
            filter=self._filter(filter),
            score_threshold=min_score,
        )

        def fetch(chosen: Chosen, wanted: int) -> list[Row[models.ScoredPoint]]:
            limit = min(wanted, max(k, self.most_hits or wanted))
            queries = map(_Numbers, vectors[chosen].tolist())
            requests = [request.model_copy(update={"query": query, "limit": limit}) for query in queries]
            answers = self._server.ask(lambda client: client.query_batch_points(self._collection, requests))
            return [([point.score for point in answer.points], answer.points) for answer in answers]

        return best_hits(fetch, k, lambda point: str(point.id), _hits)

    def vectors(self, point_ids: Sequence[str]) -> list[Vector | None]:
        found = {
            str(point.id): np.asarray(point.vector, np.float32) for point in self._retrieve(point_ids, vectors=True)
        }
        return [found.get(point_id) for point_id in point_ids]

    def count(self, filter: Filter = ()) -> int:
        """Where exact counts are forbidden, the matching points are read, and all points are counted roughly."""
        chosen, exact = self._filter(filter), self._server.allows_exact(self._collection)
        if chosen is None or exact:
            return self._server.ask(lambda client: client.count(self._collection, chosen, exact=exact)).count
        return sum(1 for _ in scroll(self._server, self._collection, filter=chosen))

    def facet(self, field: str, filter: Filter = (), limit: int = 100) -> list[tuple[Value, int]]:
        """The server counts a field that has an index; for other fields all values are read and counted here."""
        chosen = self._filter(filter)
        info, path = self._info(), field_path(field)
        if (stored_kinds(info) or {}).get(field) in COUNTED and path in info.payload_schema:
            most = min(_TIED * limit, self.most_hits or sys.maxsize)
            wanted = min(limit + 1, most)
            while limit <= most:
                options = {"facet_filter": chosen, "limit": wanted, "exact": True}
                counted = self._server.ask(methodcaller("facet", self._collection, path, **options))
                found = sorted_counts((hit.value, hit.count) for hit in counted.hits)
                if len(found) < wanted or wanted == most or found[-1][1] < found[limit - 1][1]:
                    return found[:limit]
                # Of values with equal counts, the server chooses by another order.
                wanted = min(4 * wanted, most)
        points = scroll(self._server, self._collection, payload=[path], filter=chosen)
        return PayloadTable(point.payload or {} for point in points).facet(field, ())[:limit]

    def fields(self) -> dict[str, FieldKind]:
        kinds = stored_kinds(self._info()) or self._old
        return filterable_fields({field: FIELD_KINDS.get(kind, FieldKind.TEXT) for field, kind in kinds.items()})

    def scroll(self, filter: Filter = (), after: str | None = None, limit: int = 1000) -> list[Entry]:
        check_id(after)
        chosen = self._filter(filter)
        # one more, since the server's offset is the first point to return
        points = scroll(self._server, self._collection, USER_PAYLOAD, filter=chosen, start=after, most=limit + 1)
        entries = (Entry(str(point.id), point.payload or {}) for point in points if str(point.id) != after)
        return list(islice(entries, limit))

    def payloads(self, point_ids: Sequence[str]) -> list[Payload | None]:
        found = {str(point.id): point.payload or {} for point in self._retrieve(point_ids, payload=USER_PAYLOAD)}
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

    @property
    def _limits(self) -> models.StrictModeConfigOutput:
        return self._server.strict_mode(self._collection)

    def _info(self) -> models.CollectionInfo:
        return self._server.ask(lambda client: client.get_collection(self._collection))

    def _filter(self, filter: Filter) -> models.Filter | None:
        for field in {condition.field for condition in filter if self._old.get(condition.field) in ("float", "mixed")}:
            index = self._info().payload_schema.get(field_path(field))
            if index is not None and index.data_type is models.PayloadSchemaType.INTEGER:
                raise UsageError(
                    f"{self._server.url}: the index of {field} in {self._collection} leaves out numbers with a"
                    " fraction. Open the collection once with an API key that may write, which repairs the index."
                )
        if filter and self._limits.unindexed_filtering_retrieve is False:
            filter = fitting(filter, stored_kinds(self._info()) or {})
        return cast(models.Filter | None, qdrant_filter(filter, _DIALECT))

    def _retrieve(
        self,
        ids: Sequence[str],
        payload: list[str] | bool | models.PayloadSelectorExclude = False,
        vectors: bool = False,
    ) -> list[models.Record]:
        return self._server.ask(
            lambda client: client.retrieve(self._collection, list(ids), with_payload=payload, with_vectors=vectors)
        )

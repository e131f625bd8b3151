"""One collection of a `cbir-serve`, open for reading."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import orjson

from cbir.errors import UsageError
from cbir.filters.conditions import FieldKind, Filter, Value
from cbir.filters.plain import plain_filter
from cbir.models.card import ModelRef
from cbir.models.received import Part, ReceivedModels
from cbir.models.sealed import find_unchanged
from cbir.records import RESERVED, Entry, Hit, Payload, Point, Vector, digest, vector_of, vector_text
from cbir.stores.api.connection import ApiConnection, ApiUsageError, in_parts
from cbir.stores.base import DEFAULT_PARAMS, SearchParams, StoreInfo
from cbir.stores.checks import check_id, check_query

MOST_HITS = 1000
"""The largest limit of a search, and the largest page of points."""
_BATCH = 100
"""How many queries or ids are sent in one request."""


class ApiStore:
    """One collection of a server; see `cbir.stores.base.Store`."""

    is_behind = False
    most_hits: int | None = MOST_HITS

    def __init__(self, url: str, connection: ApiConnection, collection: str, models: ReceivedModels):
        self._url, self._connection, self._models = url, connection, models
        self._path = f"/v1/collections/{collection}"
        self._dimension = self.info.model.dimension

    @property
    def info(self) -> StoreInfo:
        """Facts about the collection, read from the server at each access."""
        return info_of(self._connection.get(self._path), self._url)

    def search(
        self,
        vectors: Vector,
        k: int,
        *,
        params: SearchParams = DEFAULT_PARAMS,
        filter: Filter = (),
        min_score: float | None = None,
    ) -> list[list[Hit]]:
        check_query(vectors, k, self._dimension)
        if params.oversampling is not None:
            raise UsageError("oversampling is an option of the server's own store URL")
        options: dict[str, Any] = {"limit": k, "filter": plain_filter(filter), "min_score": min_score}
        options |= {"ef": params.ef, "nprobe": params.nprobe, "exact": params.exact}
        queries = [{"vector": vector_text(vector), **options} for vector in vectors]
        return in_parts(queries, _BATCH, self._searched)

    def _searched(self, queries: Sequence[Mapping[str, Any]]) -> list[list[Hit]]:
        answer = self._connection.post(f"{self._path}/search/batch", {"queries": queries})
        return [
            [Hit(hit["id"], hit["payload"], hit["score"]) for hit in result["hits"]] for result in answer["results"]
        ]

    def count(self, filter: Filter = ()) -> int:
        return int(self._connection.get(f"{self._path}/count", filter=_parameter(filter))["count"])

    def facet(self, field: str, filter: Filter = (), limit: int = 100) -> list[tuple[Value, int]]:
        if field not in RESERVED and field not in self.fields():
            return []
        parameters = {"filter": _parameter(filter), "limit": limit}
        values = self._connection.get(f"{self._path}/facets/{quote(field, safe='')}", **parameters)["values"]
        return [(value["value"], value["count"]) for value in values]

    def fields(self) -> dict[str, FieldKind]:
        fields = self._connection.get(f"{self._path}/fields")["fields"]
        return {name: FieldKind(kind) for name, kind in fields.items()}

    def scroll(self, filter: Filter = (), after: str | None = None, limit: int = 1000) -> list[Entry]:
        check_id(after)
        parameters = {"filter": _parameter(filter), "after": after, "limit": min(limit, MOST_HITS)}
        page = self._connection.get(f"{self._path}/points", **parameters)["points"]
        return [Entry(point["id"], point["payload"]) for point in page]

    def vectors(self, point_ids: Sequence[str]) -> list[Vector | None]:
        found = self._read(point_ids, with_vector=True)
        return [vector_of(point["vector"]) if point else None for point in found]

    def payloads(self, point_ids: Sequence[str]) -> list[Payload | None]:
        return [point["payload"] if point else None for point in self._read(point_ids, with_payload=True)]

    def thumbnails(self, point_ids: Sequence[str]) -> list[bytes | None]:
        found = self._read(point_ids, with_thumbnail=True)
        return [base64.b64decode(point["thumbnail"]) if point else None for point in found]

    def sample(self, count: int, seed: int) -> list[str]:
        return list(self._connection.get(f"{self._path}/sample", count=count, seed=seed)["ids"])

    def matrix(self) -> tuple[list[str], Vector]:
        points = list(self.points())
        rows = np.array([point.vector for point in points], np.float32).reshape(len(points), self._dimension)
        return [point.id for point in points], rows

    def points(self) -> Iterator[Point]:
        after: str | None = None
        while entries := self.scroll(after=after, limit=_BATCH):
            after = entries[-1].id
            found = self._read(
                [entry.id for entry in entries], with_vector=True, with_thumbnail=True, with_version=True
            )
            yield from (_point(point, entry.payload) for point, entry in zip(found, entries, strict=True) if point)

    def read(self, point_ids: Sequence[str]) -> list[Point]:
        """Return those of the points that are stored."""
        found = self._read(point_ids, with_payload=True, with_vector=True, with_thumbnail=True, with_version=True)
        return [_point(point, point["payload"]) for point in found if point]

    def model(self) -> Path | None:
        """A model that is not on this machine is fetched from the server, and kept."""
        model = self.info.model
        found = find_unchanged(model, self._models.path(model.sha256, "model"))
        if found is None and self._fetched(model.sha256, "model"):
            self._fetched(model.sha256, "text")
            found = self._models.path(model.sha256, "model")
        return found

    def _fetched(self, sha256: str, part: Part) -> bool:
        """Fetch a file of a model, and return False if the server has none."""
        try:
            data = self._connection.ask("GET", f"/v1/models/{sha256}/{part}")
        except ApiUsageError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            return False
        self._models.append(sha256, part, 0, data)
        self._models.finish(sha256, part)
        return True

    def close(self) -> None:
        """There is nothing to release: all stores of a server share its connections."""

    def _read(self, ids: Sequence[str], **parts: bool) -> list[dict[str, Any] | None]:
        """Return the requested parts of each point, None for an id that is not stored."""

        def ask(some: Sequence[str]) -> list[dict[str, Any] | None]:
            body = {"with_payload": False, **parts, "ids": list(some)}
            return list(self._connection.post(f"{self._path}/points/read", body)["points"])

        return in_parts(ids, _BATCH, ask)


def info_of(answer: Mapping[str, Any], url: str) -> StoreInfo:
    """Return the facts in a server's answer."""
    facts = {name: value for name, value in answer.items() if name != "model"}
    return StoreInfo(url=url, model=ModelRef(**answer["model"]), **facts)


def _point(answer: Mapping[str, Any], payload: Payload) -> Point:
    thumbnail = base64.b64decode(answer["thumbnail"])
    return Point(answer["id"], vector_of(answer["vector"]), payload, answer["version"], thumbnail, digest(payload))


def _parameter(filter: Filter) -> str | None:
    return orjson.dumps(plain_filter(filter)).decode() if filter else None

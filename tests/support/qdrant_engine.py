"""What a Qdrant server answers: the client's local mode, with the indexes, limits and refusals that it lacks."""

import re
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from qdrant_client import QdrantClient
from qdrant_client.http import models
from qdrant_client.local import payload_filters
from qdrant_client.local.json_path_parser import parse_json_path
from qdrant_client.local.payload_value_extractor import value_by_key

from tests.support.faults import Fault

BODY_LIMIT = 32 * 2**20
STRICT = {
    "enabled": True,
    "max_query_limit": 100,
    "unindexed_filtering_retrieve": False,
    "unindexed_filtering_update": False,
    "search_allow_exact": False,
}
_FACETED = {"keyword", "integer", "bool", "uuid"}
_ORDERED = {"integer", "float", "datetime", "uuid"}
_ALL = 10**6
_PATHS = {"key", "field_name", "group_by", "order_by"}
_PATH_LISTS = {"with_payload", "include", "exclude", "keys"}
_CONTENT = {"payload", "metadata", "vector", "query", "vectors"}
_HNSW = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000, "max_indexing_threads": 0, "on_disk": False}
_OPTIMIZER = {
    "deleted_threshold": 0.2,
    "vacuum_min_vector_number": 1000,
    "default_segment_number": 0,
    "max_segment_size": None,
    "memmap_threshold": None,
    "indexing_threshold": 10000,
    "flush_interval_sec": 5,
    "max_optimization_threads": None,
    "prevent_unoptimized": None,
}
_WAL = {"wal_capacity_mb": 32, "wal_segments_ahead": 0, "wal_retain_closed": 1}


class RefusedError(Exception):
    """A request that the server refuses."""

    def __init__(self, status: int, reason: str):
        super().__init__(reason)
        self.status = status


def status_of(error: Exception) -> int:
    """Return the status with which the server answers an error of the local mode."""
    text = str(error)
    missing = isinstance(error, KeyError) or "not found" in text or "does not exist" in text
    return 404 if missing else 409 if "already exists" in text else 400


@dataclass(frozen=True)
class Behaviour:
    """How the server behaves.

    Attributes:
        faults: Faults, in the order in which they are tried.
        poisoned: Ids of points that it refuses.
        body_limit: Its limit for a request's body, in bytes.
        refusing: It stops listening until it gets the signal SIGUSR1.
        strict: Settings of strict mode, such as `STRICT`.
        read_only: A key that may only read, besides the API key.
    """

    faults: Sequence[Fault] = ()
    poisoned: Sequence[str] = ()
    body_limit: int = BODY_LIMIT
    refusing: bool = False
    strict: dict[str, Any] = field(default_factory=dict)
    read_only: str = ""


@dataclass
class Stats:
    """Requests since the server started, by "METHOD path"; points written and deleted; bytes of the largest body."""

    requests: dict[str, int] = field(default_factory=dict)
    written: int = 0
    deleted: int = 0
    largest_body: int = 0


@dataclass
class _Collection:
    """What the local mode does not keep: how it was created, its indexes, and the operations of its points."""

    created: models.CreateCollection
    indexes: dict[str, str] = field(default_factory=dict)
    operations: int = 0
    versions: dict[str, int] = field(default_factory=dict)


_active = threading.local()
_check_condition = payload_filters.check_condition


def _check_with_index(condition: Any, payload: dict[str, Any], point_id: Any, has_vector: dict[str, bool]) -> bool:
    """An index of whole numbers has 2.0 as 2, and no fractions. A range compares floats."""
    if not isinstance(condition, models.FieldCondition):
        return _check_condition(condition, payload, point_id, has_vector)
    values = value_by_key(payload, condition.key) or []
    if getattr(_active, "indexes", {}).get(condition.key) == "integer":
        whole = [value for value in map(_whole, values) if value is not None]
        if isinstance(condition.match, models.MatchValue) and type(condition.match.value) is int:
            return condition.match.value in whole
        values = whole if isinstance(condition.range, models.Range) else values
    if isinstance(condition.range, models.Range):
        numbers = [float(value) for value in values if type(value) in (int, float)]
        return any(payload_filters.check_range(condition.range, number) for number in numbers)
    return _check_condition(condition, payload, point_id, has_vector)


payload_filters.check_condition = _check_with_index


def _whole(value: Any) -> int | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if number and value == int(value) else None


def _indexed(kind: str, value: Any) -> Any:
    """Return a value as an index of this kind has it, None if it leaves the value out."""
    if kind == "integer":
        return _whole(value)
    kinds = {"keyword": str, "bool": bool, "float": (int, float)}
    return value if isinstance(value, kinds.get(kind, object)) else None  # type: ignore[arg-type]


class Engine:
    """Collections in memory, under a lock."""

    def __init__(self) -> None:
        self.client = QdrantClient(":memory:", force_disable_check_same_thread=True)
        self.stats = Stats()
        self.behaviour = Behaviour()
        self.lock = threading.RLock()
        self._collections: dict[str, _Collection] = {}

    def enter(self, name: str) -> None:
        """Let filters use the indexes of a collection."""
        real = self.resolve(name)
        _active.indexes = self._collections[real].indexes if real in self._collections else {}

    def resolve(self, name: str) -> str:
        return {alias.alias_name: alias.collection_name for alias in self.client.get_aliases().aliases}.get(name, name)

    def create(self, name: str, body: models.CreateCollection) -> object:
        if "/" in name or not 0 < len(name) <= 255:
            raise RefusedError(422, "Validation error in path parameters: collection_name")
        if body.vectors is not None and getattr(body.vectors, "size", 1) < 1:
            raise RefusedError(400, "Format error in JSON body: data did not match any variant of VectorsConfig")
        if self.resolve(name) != name:
            raise RefusedError(400, f"Wrong input: Can't create collection with name {name}. Alias already exists")
        done = self.client.create_collection(name, vectors_config=body.vectors, metadata=body.metadata)
        self._collections[name] = _Collection(body)
        return done

    def drop(self, name: str) -> object:
        self._collections.pop(name, None)
        return (
            self.client.collection_exists(name) and name == self.resolve(name) and self.client.delete_collection(name)
        )

    def info(self, name: str) -> dict[str, Any]:
        metadata = self.client.get_collection(name).config.metadata
        known = self._known(name)
        created = known.created
        points = self._payloads(name)
        params = {
            "vectors": created.vectors.model_dump(exclude_none=True, mode="json"),  # type: ignore[union-attr]
            "shard_number": created.shard_number or 1,
            "replication_factor": created.replication_factor or 1,
            "write_consistency_factor": created.write_consistency_factor or 1,
            "on_disk_payload": created.on_disk_payload if created.on_disk_payload is not None else True,
        }
        hnsw = created.hnsw_config.model_dump(exclude_none=True) if created.hnsw_config else {}
        quantization = created.quantization_config and created.quantization_config.model_dump(
            exclude_none=True, mode="json"
        )
        config = {
            "params": params,
            "hnsw_config": {**_HNSW, **hnsw},
            "optimizer_config": _OPTIMIZER,
            "wal_config": _WAL,
            "quantization_config": quantization,
            **({"strict_mode_config": self.behaviour.strict} if self.behaviour.strict else {}),
            **({"metadata": metadata} if metadata else {}),
        }
        return {
            "status": "green",
            "optimizer_status": "ok",
            "indexed_vectors_count": 0,
            "points_count": len(points),
            "segments_count": 2,
            "config": config,
            "payload_schema": {
                path: {"data_type": kind, "points": sum(_has(payload, path, kind) for payload in points)}
                for path, kind in known.indexes.items()
            },
            "update_queue": {"length": 0},
        }

    def index(self, name: str, body: models.CreateFieldIndex) -> object:
        schema: Any = body.field_schema
        kind = str(getattr(schema, "type", schema).value)
        field = body.field_name.strip('"')  # quotation marks only where the name needs them
        plain = re.fullmatch(r"[A-Za-z0-9_-]+", field)
        self._known(name).indexes[field if plain else body.field_name] = kind
        return self._done(name, 2)

    def upsert(self, name: str, body: models.PointsList, wait: bool = True) -> object:
        if not body.points:
            raise RefusedError(400, "Bad request: Empty update request")
        for point in body.points:
            if str(point.id) in self.behaviour.poisoned:
                raise RefusedError(400, f"Wrong input: the point {point.id} is poisoned")
        self.client.upsert(name, body.points)
        self.stats.written += len(body.points)
        done = self._done(name, wait=wait)
        known = self._known(name)
        known.versions.update((str(point.id).lower(), known.operations) for point in body.points)
        return done

    def delete(self, name: str, body: models.PointsSelector) -> object:
        if isinstance(body, models.PointIdsList):
            self.stats.deleted += len(body.points)
        else:
            self._require_indexes(name, body.filter, "unindexed_filtering_update")  # type: ignore[union-attr]
        self.client.delete(name, body)
        return self._done(name)

    def change(self, name: str, operation: str, body: Any) -> object:
        """Set, overwrite or delete payload fields."""
        self._known(name).operations += 1
        selector = body.points if body.points is not None else body.filter
        change = getattr(self.client, operation)
        change(name, body.keys if operation == "delete_payload" else body.payload, points=selector)
        return {"operation_id": self._known(name).operations, "status": "completed"}

    def batch(self, name: str, body: models.UpdateOperations) -> object:
        self.client.batch_update_points(name, body.operations)
        return [self._done(name) for _ in body.operations]

    def scroll(self, name: str, body: models.ScrollRequest) -> object:
        self._require_limit(body.limit, "scroll_request.limit")
        self._require_indexes(name, body.filter)
        order = body.order_by
        key = order if isinstance(order, str) else order.key if order else None
        if key is not None and self._known(name).indexes.get(key) not in _ORDERED:
            raise RefusedError(400, f"Wrong input: No range index for `order_by` key: `{key}`")
        points, following = self.client.scroll(
            name,
            scroll_filter=body.filter,
            limit=body.limit or 10,
            order_by=order,
            offset=body.offset,
            with_payload=True if body.with_payload is None else body.with_payload,
            with_vectors=body.with_vector or False,
        )
        return {"points": points, "next_page_offset": following}

    def retrieve(self, name: str, body: models.PointRequest) -> object:
        payload = True if body.with_payload is None else body.with_payload
        return self.client.retrieve(name, body.ids, with_payload=payload, with_vectors=body.with_vector or False)

    def point(self, name: str, point_id: str) -> object:
        found = self.client.retrieve(name, [point_id], with_payload=True, with_vectors=True)
        if not found:
            raise RefusedError(404, f"Not found: Point with id {point_id} does not exists!")
        return found[0]

    def count(self, name: str, body: models.CountRequest) -> object:
        self._require_inexact(body.exact is not False)
        self._require_indexes(name, body.filter)
        return self.client.count(name, count_filter=body.filter)

    def query(self, name: str, body: models.QueryRequestBatch) -> object:
        versions = self._known(name).versions
        for search in body.searches:
            self._check_query(name, search)
        searches = [
            search.model_copy(update={"params": None, "filter": self._candidates(name, search)})
            for search in body.searches  # the local mode compares all anyway
        ]
        answers = self.client.query_batch_points(name, searches)
        return [_versioned(answer, versions) for answer in answers]

    def _candidates(self, name: str, search: models.QueryRequest) -> models.Filter | None:
        """Return the filter with the best by binary vectors, which are then compared by whole ones."""
        params, binary = search.params or models.SearchParams(), self._known(name).created.quantization_config
        vector = search.query.nearest if isinstance(search.query, models.NearestQuery) else search.query
        if params.exact or not isinstance(binary, models.BinaryQuantization) or not isinstance(vector, list):
            return search.filter
        points, _ = self.client.scroll(name, scroll_filter=search.filter, limit=_ALL, with_vectors=True)
        wanted = int((search.limit or 10) * ((params.quantization and params.quantization.oversampling) or 1))
        signs = np.sign(np.array([point.vector for point in points])) @ np.sign(np.array(vector))
        best = [points[i].id for i in np.argsort(-signs, kind="stable")[:wanted]]
        return models.Filter(must=[models.HasIdCondition(has_id=best)])

    def groups(self, name: str, body: models.QueryGroupsRequest) -> object:
        self._check_query(name, body)
        found = self.client.query_points_groups(
            name, body.group_by, body.query, query_filter=body.filter, limit=body.limit or 3,
            group_size=body.group_size or 3, with_payload=body.with_payload or False,
        )  # fmt: skip
        return {"groups": [{"hits": _versions(group.hits, self._known(name).versions), "id": group.id}
                           for group in found.groups]}  # fmt: skip

    def facet(self, name: str, body: models.FacetRequest) -> object:
        self._require_limit(body.limit, "limit")
        kind = self._known(name).indexes.get(body.key, "")
        if kind not in _FACETED:
            raise RefusedError(400, f"Wrong input: No appropriate index for faceting: `{body.key}`.")
        self._require_indexes(name, body.filter)
        counts: Counter[tuple[type, Any]] = Counter()
        for payload in self._payloads(name, body.filter):
            values = [_indexed(kind, value) for value in value_by_key(payload, body.key) or []]
            counts.update({(type(value), value) for value in values if value is not None})
        best = sorted(counts.items(), key=lambda item: (-item[1], item[0][1]))[: body.limit or 10]
        return {"hits": [{"value": value, "count": count} for (_, value), count in best]}

    def _known(self, name: str) -> _Collection:
        self.client.get_collection(name)  # raises if there is none
        return self._collections[self.resolve(name)]

    def _done(self, name: str, operations: int = 1, wait: bool = True) -> dict[str, Any]:
        known = self._known(name)
        known.operations += operations
        return {"operation_id": known.operations, "status": "completed" if wait else "acknowledged"}

    def _payloads(self, name: str, filter: models.Filter | None = None) -> list[dict[str, Any]]:
        points, _ = self.client.scroll(name, scroll_filter=filter, limit=_ALL, with_payload=True)
        return [point.payload or {} for point in points]

    def _check_query(self, name: str, search: Any) -> None:
        self._require_limit(search.limit, "internal.limit")
        params = search.params or models.SearchParams()
        self._require_inexact(bool(params.exact))
        quantization = params.quantization or models.QuantizationSearchParams()
        self._require_most("hnsw_ef", params.hnsw_ef, "search_max_hnsw_ef")
        self._require_most("oversampling", quantization.oversampling, "search_max_oversampling")
        self._require_indexes(name, search.filter)

    def _require_limit(self, limit: int | None, place: str) -> None:
        if limit == 0:
            raise RefusedError(422, f"Validation error in JSON body: [{place}: value 0 invalid, must be 1 or larger]")
        self._require_most("limit", limit, "max_query_limit")

    def _require_most(self, name: str, value: float | None, setting: str) -> None:
        most = self.behaviour.strict.get(setting)
        if most is not None and value is not None and value > most:
            raise RefusedError(
                400,
                f'Bad request: Limit exceeded {value} > {most} for "{name}". Help: Reduce the "{name}" parameter to or'
                f" below {most}.",
            )

    def _require_inexact(self, exact: bool) -> None:
        if exact and self.behaviour.strict.get("search_allow_exact") is False:
            raise RefusedError(400, "Bad request: Exact search disabled!. Help: Set exact=false.")

    def _require_indexes(self, name: str, filter: Any, setting: str = "unindexed_filtering_retrieve") -> None:
        if self.behaviour.strict.get(setting) is False:
            for condition in _conditions(filter):
                kinds = _usable(condition)
                if self._known(name).indexes.get(condition.key) not in kinds:
                    raise RefusedError(
                        400,
                        f'Bad request: Index required but not found for "{condition.key}" of one of the following'
                        f" types: [{', '.join(kinds)}]. Help: Create an index for this key or use a different filter.",
                    )


def _has(payload: dict[str, Any], path: str, kind: str) -> bool:
    return any(_indexed(kind, value) is not None for value in value_by_key(payload, path) or [])


def _versioned(answer: models.QueryResponse, versions: dict[str, int]) -> models.QueryResponse:
    return models.QueryResponse(points=_versions(answer.points, versions))


def _versions(hits: Sequence[models.ScoredPoint], versions: dict[str, int]) -> list[models.ScoredPoint]:
    return [hit.model_copy(update={"version": versions.get(str(hit.id), 0)}) for hit in hits]


def _conditions(part: Any) -> Iterator[models.FieldCondition]:
    """Yield the conditions of a filter."""
    if isinstance(part, models.FieldCondition):
        yield part
    elif isinstance(part, list):
        for inner in part:
            yield from _conditions(inner)
    elif isinstance(part, models.Filter):
        for name in ("must", "should", "must_not"):
            yield from _conditions(getattr(part, name))


def _usable(condition: models.FieldCondition) -> Sequence[str]:
    """Return the kinds of index that answer a condition."""
    if isinstance(condition.match, models.MatchValue):
        kinds = {bool: ("bool",), int: ("integer",), str: ("keyword", "uuid")}
        return kinds[type(condition.match.value)]
    if condition.match is not None:
        return ("keyword", "uuid")
    return ("integer", "float") if condition.range is not None else ("keyword", "integer", "float", "bool")


def require_paths(body: Any) -> None:
    """Raise `RefusedError` if the body of a REST request has a field's name that the server cannot parse."""
    if isinstance(body, list):
        for inner in body:
            require_paths(inner)
    for name, inner in body.items() if isinstance(body, dict) else ():
        paths = [inner] if name in _PATHS else inner if name in _PATH_LISTS and isinstance(inner, list) else []
        for path in paths:
            if isinstance(path, str):
                try:
                    parse_json_path(path)
                except ValueError:
                    raise RefusedError(400, f"Format error in JSON body: Invalid json path: '{path}'") from None
        if name == "match" and isinstance(inner, dict):
            value = inner.get("value", "")
            if isinstance(value, float) or (isinstance(value, int) and not -(2**63) <= value < 2**63):
                raise RefusedError(400, "Format error in JSON body: data did not match any variant of MatchInterface")
        if name not in _CONTENT:
            require_paths(inner)

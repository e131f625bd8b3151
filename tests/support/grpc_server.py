"""The gRPC port of a Qdrant server, in the process of a test: the calls that cbir makes, done by the local mode."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from grpc import StatusCode
from qdrant_client import grpc as proto
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc
from qdrant_client.http import models

from tests.support.qdrant_server import Engine, RefusedError

_STATUS = {400: StatusCode.INVALID_ARGUMENT, 404: StatusCode.NOT_FOUND, 409: StatusCode.ALREADY_EXISTS}


@dataclass
class Fault:
    """What the next `times` calls of a method are answered with; nothing is done."""

    method: str
    code: StatusCode
    details: str = "as ordered"
    times: int = 1
    retry_after: str = ""


@dataclass
class Port(grpc.ServerInterceptor):
    """A port that listens: what it was asked, and what it is told to answer."""

    engine: Engine
    key: str | None = None
    number: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)

    def intercept_service(self, continuation: Callable[..., Any], details: grpc.HandlerCallDetails) -> Any:
        method = details.method.rpartition("/")[2]
        self.calls[method] += 1
        if self.key is not None and dict(details.invocation_metadata).get("api-key") != self.key:
            return _refusing(StatusCode.UNAUTHENTICATED, "Must provide an API key")
        for fault in self.faults:
            if fault.method == method and fault.times:
                fault.times -= 1
                return _refusing(fault.code, fault.details, fault.retry_after)
        return continuation(details)


def _refusing(code: StatusCode, details: str, retry_after: str = "") -> grpc.RpcMethodHandler:
    def refuse(request: bytes, context: grpc.ServicerContext) -> None:
        if retry_after:
            context.set_trailing_metadata((("retry-after", retry_after),))
        context.abort(code, details)

    return grpc.unary_unary_rpc_method_handler(refuse)


class Service:
    """The methods, found by name as gRPC does; what the local mode refuses has the code that Qdrant gives it."""

    def __init__(self, engine: Engine, methods: dict[str, Callable[[Engine, Any], Any]]):
        for name, method in methods.items():
            setattr(self, name, self._guarded(engine, method))

    def __getattr__(self, name: str) -> Callable[[Any, grpc.ServicerContext], None]:
        return lambda request, context: context.abort(StatusCode.UNIMPLEMENTED, f"{name} is nothing that it knows")

    @staticmethod
    def _guarded(engine: Engine, method: Callable[[Engine, Any], Any]) -> Callable[[Any, grpc.ServicerContext], Any]:
        def called(request: Any, context: grpc.ServicerContext) -> Any:
            try:
                with engine.lock:
                    return method(engine, request)
            except RefusedError as error:
                context.abort(_STATUS[error.status], str(error))
            except ValueError as error:
                text = str(error)
                status = 404 if "not found" in text else 409 if "already exists" in text else 400
                context.abort(_STATUS[status], f"Wrong input: {text}")

        return called


def _set(message: Any, name: str, convert: Callable[[Any], Any]) -> Any:
    return convert(getattr(message, name)) if message.HasField(name) else None


def _sent(record: Any) -> Any:
    """The server's payload is never absent, but empty."""
    return RestToGrpc.convert_retrieved_point(record.model_copy(update={"payload": record.payload or {}}))


def _done(result: object) -> Any:
    return proto.PointsOperationResponse(result=RestToGrpc.convert_update_result(result))


def _create(engine: Engine, asked: Any) -> Any:
    body = models.CreateCollection(
        vectors=GrpcToRest.convert_vectors_config(asked.vectors_config),
        hnsw_config=_set(asked, "hnsw_config", GrpcToRest.convert_hnsw_config_diff),
        quantization_config=_set(asked, "quantization_config", GrpcToRest.convert_quantization_config),
        shard_number=_set(asked, "shard_number", int),
        replication_factor=_set(asked, "replication_factor", int),
        write_consistency_factor=_set(asked, "write_consistency_factor", int),
        on_disk_payload=_set(asked, "on_disk_payload", bool),
        metadata=GrpcToRest.convert_payload(asked.metadata),
    )
    engine.create(asked.collection_name, body)
    return proto.CollectionOperationResponse(result=True)


def _update(engine: Engine, asked: Any) -> Any:
    metadata = GrpcToRest.convert_payload(asked.metadata)
    done = engine.client.update_collection(asked.collection_name, metadata=metadata)
    return proto.CollectionOperationResponse(result=done)


def _aliases(engine: Engine, asked: Any) -> Any:
    steps = [GrpcToRest.convert_alias_operations(one) for one in asked.actions]
    return proto.CollectionOperationResponse(result=engine.client.update_collection_aliases(steps))


def _list_aliases(engine: Engine, asked: Any) -> Any:
    found = engine.client.get_aliases().aliases
    return proto.ListAliasesResponse(aliases=[RestToGrpc.convert_alias_description(one) for one in found])


def _list(engine: Engine, asked: Any) -> Any:
    found = engine.client.get_collections().collections
    return proto.ListCollectionsResponse(collections=[RestToGrpc.convert_collection_description(one) for one in found])


def _upsert(engine: Engine, asked: Any) -> Any:
    points = [GrpcToRest.convert_point_struct(one) for one in asked.points]
    return _done(engine.upsert(asked.collection_name, models.PointsList(points=points)))


def _delete(engine: Engine, asked: Any) -> Any:
    return _done(engine.delete(asked.collection_name, GrpcToRest.convert_points_selector(asked.points)))


def _index(engine: Engine, asked: Any) -> Any:
    schema = GrpcToRest.convert_payload_schema_type(proto.PayloadSchemaType.Keyword)
    body = models.CreateFieldIndex(field_name=asked.field_name, field_schema=schema)
    return _done(engine.index(asked.collection_name, body))


def _scroll(engine: Engine, asked: Any) -> Any:
    points, following = engine.client.scroll(
        asked.collection_name,
        scroll_filter=_set(asked, "filter", GrpcToRest.convert_filter),
        limit=_set(asked, "limit", int) or 10,
        offset=_set(asked, "offset", GrpcToRest.convert_point_id),
        with_payload=GrpcToRest.convert_with_payload_selector(asked.with_payload),
        with_vectors=GrpcToRest.convert_with_vectors_selector(asked.with_vectors),
    )
    offset = None if following is None else RestToGrpc.convert_extended_point_id(following)
    return proto.ScrollResponse(result=[_sent(one) for one in points], next_page_offset=offset)


def _get(engine: Engine, asked: Any) -> Any:
    found = engine.client.retrieve(
        asked.collection_name,
        [GrpcToRest.convert_point_id(one) for one in asked.ids],
        with_payload=GrpcToRest.convert_with_payload_selector(asked.with_payload),
        with_vectors=GrpcToRest.convert_with_vectors_selector(asked.with_vectors),
    )
    return proto.GetResponse(result=[_sent(one) for one in found])


def _count(engine: Engine, asked: Any) -> Any:
    found = engine.client.count(asked.collection_name, _set(asked, "filter", GrpcToRest.convert_filter))
    return proto.CountResponse(result=RestToGrpc.convert_count_result(found))


def _query(engine: Engine, asked: Any) -> Any:
    requests = [GrpcToRest.convert_query_points(one) for one in asked.query_points]
    answers = engine.client.query_batch_points(asked.collection_name, requests)
    results = [[RestToGrpc.convert_scored_point(hit) for hit in one.points] for one in answers]
    return proto.QueryBatchResponse(result=[proto.BatchResult(result=hits) for hits in results])


_QDRANT = {"HealthCheck": lambda engine, asked: proto.HealthCheckReply(title="qdrant - for tests", version="1.19.0")}
_COLLECTIONS = {
    "List": _list,
    "Get": lambda engine, asked: proto.GetCollectionInfoResponse(
        result=RestToGrpc.convert_collection_info(engine.info(asked.collection_name))
    ),
    "Create": _create,
    "Update": _update,
    "Delete": lambda engine, asked: proto.CollectionOperationResponse(
        result=engine.client.delete_collection(asked.collection_name)
    ),
    "UpdateAliases": _aliases,
    "ListAliases": _list_aliases,
}
_POINTS = {
    "Upsert": _upsert,
    "Delete": _delete,
    "CreateFieldIndex": _index,
    "Scroll": _scroll,
    "Get": _get,
    "Count": _count,
    "QueryBatch": _query,
}


@contextmanager
def grpc_port(
    key: str | None = None, credentials: grpc.ServerCredentials | None = None, receives: int = -1
) -> Iterator[Port]:
    """Serve on a free port of this machine; `receives` is the largest message that it takes, -1 for any."""
    engine = Engine(None)
    port = Port(engine, key)
    options = [("grpc.max_receive_message_length", receives), ("grpc.so_reuseport", 0)]
    with ThreadPoolExecutor(4) as pool:
        server = grpc.server(pool, interceptors=(port,), options=options)
        proto.qdrant_pb2_grpc.add_QdrantServicer_to_server(Service(engine, _QDRANT), server)
        proto.collections_service_pb2_grpc.add_CollectionsServicer_to_server(Service(engine, _COLLECTIONS), server)
        proto.points_service_pb2_grpc.add_PointsServicer_to_server(Service(engine, _POINTS), server)
        place = "127.0.0.1:0"
        port.number = server.add_secure_port(place, credentials) if credentials else server.add_insecure_port(place)
        server.start()
        try:
            yield port
        finally:
            server.stop(None).wait()
            engine.client.close()

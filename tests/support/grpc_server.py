"""The gRPC port of a Qdrant server in the test's process: the calls that cbir makes, answered by the local mode."""

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

from tests.support.faults import Fault, take_fault
from tests.support.qdrant_engine import Engine, RefusedError, status_of

_STATUS = {400: StatusCode.INVALID_ARGUMENT, 404: StatusCode.NOT_FOUND, 409: StatusCode.ALREADY_EXISTS}


@dataclass
class Port(grpc.ServerInterceptor):
    """A listening port: the calls it received, and the faults to inject."""

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
        fault, self.faults = take_fault(self.faults, method)
        if fault.status:
            return _refusing(StatusCode[str(fault.status)], fault.details, fault.retry_after)
        return continuation(details)


def _refusing(code: StatusCode, details: str, retry_after: str = "") -> grpc.RpcMethodHandler:
    def refuse(request: bytes, context: grpc.ServicerContext) -> None:
        if retry_after:
            context.set_trailing_metadata((("retry-after", retry_after),))
        context.abort(code, details)

    return grpc.unary_unary_rpc_method_handler(refuse)


class Service:
    """The methods by name, as gRPC looks them up. An error of the local mode gets the status code that Qdrant uses."""

    def __init__(self, engine: Engine, methods: dict[str, Callable[[Engine, Any], Any]]):
        for name, method in methods.items():
            setattr(self, name, self._guarded(engine, method))

    def __getattr__(self, name: str) -> Callable[[Any, grpc.ServicerContext], None]:
        return lambda request, context: context.abort(StatusCode.UNIMPLEMENTED, f"{name}: unknown method")

    @staticmethod
    def _guarded(engine: Engine, method: Callable[[Engine, Any], Any]) -> Callable[[Any, grpc.ServicerContext], Any]:
        def called(request: Any, context: grpc.ServicerContext) -> Any:
            try:
                with engine.lock:
                    engine.enter(getattr(request, "collection_name", ""))
                    return method(engine, request)
            except RefusedError as error:
                context.abort(_STATUS[error.status], str(error))
            except (ValueError, KeyError) as error:
                context.abort(_STATUS[status_of(error)], f"Wrong input: {error}")

        return called


def _set(message: Any, name: str, convert: Callable[[Any], Any]) -> Any:
    return convert(getattr(message, name)) if message.HasField(name) else None


def _sent(record: Any) -> Any:
    """Return the record as the server sends it: its payload is never missing, and its fields are in no order."""
    payload = dict(sorted((record.payload or {}).items(), key=lambda item: hash(item[0])))
    return RestToGrpc.convert_retrieved_point(record.model_copy(update={"payload": payload}))


def _done(result: Any) -> Any:
    return proto.PointsOperationResponse(result=RestToGrpc.convert_update_result(models.UpdateResult(**result)))


def _create(engine: Engine, request: Any) -> Any:
    body = models.CreateCollection(
        vectors=GrpcToRest.convert_vectors_config(request.vectors_config),
        hnsw_config=_set(request, "hnsw_config", GrpcToRest.convert_hnsw_config_diff),
        quantization_config=_set(request, "quantization_config", GrpcToRest.convert_quantization_config),
        shard_number=_set(request, "shard_number", int),
        replication_factor=_set(request, "replication_factor", int),
        write_consistency_factor=_set(request, "write_consistency_factor", int),
        on_disk_payload=_set(request, "on_disk_payload", bool),
        metadata=GrpcToRest.convert_payload(request.metadata),
    )
    engine.create(request.collection_name, body)
    return proto.CollectionOperationResponse(result=True)


def _update(engine: Engine, request: Any) -> Any:
    metadata = GrpcToRest.convert_payload(request.metadata)
    done = engine.client.update_collection(request.collection_name, metadata=metadata)
    return proto.CollectionOperationResponse(result=done)


def _aliases(engine: Engine, request: Any) -> Any:
    steps = [GrpcToRest.convert_alias_operations(action) for action in request.actions]
    return proto.CollectionOperationResponse(result=engine.client.update_collection_aliases(steps))


def _list_aliases(engine: Engine, request: Any) -> Any:
    found = engine.client.get_aliases().aliases
    return proto.ListAliasesResponse(aliases=[RestToGrpc.convert_alias_description(alias) for alias in found])


def _list(engine: Engine, request: Any) -> Any:
    found = engine.client.get_collections().collections
    return proto.ListCollectionsResponse(
        collections=[RestToGrpc.convert_collection_description(name) for name in found]
    )


def _upsert(engine: Engine, request: Any) -> Any:
    points = [GrpcToRest.convert_point_struct(point) for point in request.points]
    return _done(engine.upsert(request.collection_name, models.PointsList(points=points)))


def _delete(engine: Engine, request: Any) -> Any:
    return _done(engine.delete(request.collection_name, GrpcToRest.convert_points_selector(request.points)))


def _index(engine: Engine, request: Any) -> Any:
    kinds = {value: name.lower() for name, value in proto.FieldType.items()}
    schema = models.PayloadSchemaType(kinds[request.field_type].removeprefix("fieldtype"))
    body = models.CreateFieldIndex(field_name=request.field_name, field_schema=schema)
    return _done(engine.index(request.collection_name, body))


def _scroll(engine: Engine, request: Any) -> Any:
    body = models.ScrollRequest(
        filter=_set(request, "filter", GrpcToRest.convert_filter),
        limit=_set(request, "limit", int),
        offset=_set(request, "offset", GrpcToRest.convert_point_id),
        with_payload=GrpcToRest.convert_with_payload_selector(request.with_payload),
        with_vector=GrpcToRest.convert_with_vectors_selector(request.with_vectors),
    )
    found: Any = engine.scroll(request.collection_name, body)
    following = found["next_page_offset"]
    offset = None if following is None else RestToGrpc.convert_extended_point_id(following)
    return proto.ScrollResponse(result=[_sent(point) for point in found["points"]], next_page_offset=offset)


def _get(engine: Engine, request: Any) -> Any:
    body = models.PointRequest(
        ids=[GrpcToRest.convert_point_id(point_id) for point_id in request.ids],
        with_payload=GrpcToRest.convert_with_payload_selector(request.with_payload),
        with_vector=GrpcToRest.convert_with_vectors_selector(request.with_vectors),
    )
    found: Any = engine.retrieve(request.collection_name, body)
    return proto.GetResponse(result=[_sent(point) for point in found])


def _count(engine: Engine, request: Any) -> Any:
    body = models.CountRequest(filter=_set(request, "filter", GrpcToRest.convert_filter), exact=request.exact)
    found: Any = engine.count(request.collection_name, body)
    return proto.CountResponse(result=RestToGrpc.convert_count_result(found))


def _facet(engine: Engine, request: Any) -> Any:
    body = models.FacetRequest(
        key=request.key, limit=request.limit, filter=_set(request, "filter", GrpcToRest.convert_filter)
    )
    found: Any = engine.facet(request.collection_name, body)
    hits = [models.FacetValueHit(**hit) for hit in found["hits"]]
    return proto.FacetResponse(hits=[RestToGrpc.convert_facet_value_hit(hit) for hit in hits])


def _query(engine: Engine, request: Any) -> Any:
    searches = [_request_of(query) for query in request.query_points]
    answers: Any = engine.query(request.collection_name, models.QueryRequestBatch(searches=searches))
    results = [[RestToGrpc.convert_scored_point(hit) for hit in answer.points] for answer in answers]
    return proto.QueryBatchResponse(result=[proto.BatchResult(result=hits) for hits in results])


def _request_of(query: Any) -> models.QueryRequest:
    found = GrpcToRest.convert_query_points(query)
    return found if found.limit is not None else found.model_copy(update={"limit": 10})


def _batch(engine: Engine, request: Any) -> Any:
    operations = [GrpcToRest.convert_points_update_operation(operation) for operation in request.operations]
    done: Any = engine.batch(request.collection_name, models.UpdateOperations(operations=operations))
    return proto.UpdateBatchResponse(
        result=[RestToGrpc.convert_update_result(models.UpdateResult(**one)) for one in done]
    )


_QDRANT = {"HealthCheck": lambda engine, request: proto.HealthCheckReply(title="qdrant - for tests", version="1.19.0")}
_COLLECTIONS = {
    "List": _list,
    "Get": lambda engine, request: proto.GetCollectionInfoResponse(
        result=RestToGrpc.convert_collection_info(models.CollectionInfo(**engine.info(request.collection_name)))
    ),
    "Create": _create,
    "Update": _update,
    "Delete": lambda engine, request: proto.CollectionOperationResponse(
        result=bool(engine.drop(request.collection_name))
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
    "Facet": _facet,
    "UpdateBatch": _batch,
    "QueryBatch": _query,
}


@contextmanager
def grpc_port(
    key: str | None = None, credentials: grpc.ServerCredentials | None = None, receives: int = -1
) -> Iterator[Port]:
    """Serve on a free port; `receives` is the size of the largest message that it accepts, -1 for any."""
    engine = Engine()
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

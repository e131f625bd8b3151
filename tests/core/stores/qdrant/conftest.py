"""A Qdrant server over REST and one over gRPC, and writers to them."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

import cbir.stores.qdrant.server
from cbir.index.generation import Plan
from cbir.settings import Settings
from cbir.stores.qdrant.writer import QdrantWriter
from tests.support.building import plan_for, qdrant_writer
from tests.support.grpc_server import Port, grpc_port
from tests.support.qdrant_points import NOWHERE, VECTORS, Clock, OpenWriter, writer_at
from tests.support.qdrant_server import Running, qdrant_server


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of requests that are tried again."""
    clock = Clock()
    monkeypatch.setattr(cbir.stores.qdrant.server, "time", clock)
    return clock


@pytest.fixture(scope="session")
def running() -> Iterator[Running]:
    with qdrant_server() as server:
        yield server


@pytest.fixture
def server(running: Running) -> Iterator[Running]:
    yield running
    running.configure()


@pytest.fixture
def plan(request: pytest.FixtureRequest) -> Plan:
    """A collection and a data set of this test's own."""
    name = f"t{abs(hash(request.node.name))}"
    return replace(plan_for(VECTORS, f"{name}-model"), dataset=name)


@pytest.fixture
def open_writer(server: Running, plan: Plan) -> OpenWriter:
    def opened(budget: float = 20.0, query: str = "", **changes: object) -> QdrantWriter:
        options = Settings(server_retry_seconds=budget)
        return qdrant_writer(f"{server.url}{query}", replace(plan, **changes), options)  # type: ignore[arg-type]

    return opened


@pytest.fixture
def port() -> Iterator[Port]:
    with grpc_port() as server:
        yield server


@pytest.fixture
def writer(port: Port) -> QdrantWriter:
    return writer_at(f"{NOWHERE}?grpc={port.number}")

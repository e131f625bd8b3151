"""Forty points, and what a Qdrant server has of them."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from cbir.index.generation import Plan
from cbir.progress import silent
from cbir.records import Point
from cbir.settings import Settings
from cbir.stores.qdrant.server import Server
from cbir.stores.qdrant.writer import QdrantWriter
from cbir.stores.registry import connect, open_store
from cbir.stores.url import parse
from tests.support.building import plan_for, points_of, qdrant_writer, unit_vectors
from tests.support.qdrant_server import Running

COUNT = 40
VECTORS = unit_vectors(COUNT)
POINTS = points_of(VECTORS)
PLAN = plan_for(VECTORS, "set-model")
UPSERT = "PUT .*/points$"
KEY = "the-right-key"
NOWHERE = "http://127.0.0.1:1"
"""Where no REST answers."""

OpenWriter = Callable[..., QdrantWriter]


class Clock:
    """A clock on which a pause takes no time, and the pauses."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return sum(self.pauses)

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)


def publish(writer: QdrantWriter) -> None:
    writer.publish(silent)


def names(server: Running) -> list[str]:
    return connect(server.url, Settings()).names()


def aliases(server: Running) -> dict[str, str]:
    client = server.client()
    found = {alias.alias_name: alias.collection_name for alias in client.get_aliases().aliases}
    client.close()
    return found


def held(server: Running, plan: Plan) -> dict[str, Point]:
    return {point.id: point for point in open_store(server.url, plan.collection, Settings()).points()}


def same(found: dict[str, Point], expected: list[Point]) -> bool:
    return len(found) == len(expected) and all(
        replace(found[one.id], vector=one.vector) == one and np.allclose(found[one.id].vector, one.vector, atol=1e-6)
        for one in expected
    )


def writer_at(url: str, **settings: object) -> QdrantWriter:
    return qdrant_writer(url, PLAN, Settings(**{"server_retry_seconds": 20.0, **settings}))  # type: ignore[arg-type]


def collections(url: str, retry_seconds: float = 0.0, **settings: object) -> list[str]:
    server = Server(parse(url), Settings(**settings), retry_seconds)  # type: ignore[arg-type]
    return [one.name for one in server.ask(lambda client: client.get_collections()).collections]

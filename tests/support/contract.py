"""One collection with payloads of every kind, for the tests that hold any store to what a plain scan answers."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings

from cbir.filters.conditions import Filter, matches
from cbir.index.generation import Plan
from cbir.index.log_format import segment_path
from cbir.index.log_writer import LogWriter
from cbir.progress import silent
from cbir.records import Point, Vector, digest
from cbir.settings import Settings
from cbir.stores.base import SearchParams, Store
from cbir.stores.registry import connect, open_store
from tests.support.building import MODEL_FILE, builder_for, plan_for, points_of, unit_vectors
from tests.support.grpc_server import grpc_port
from tests.support.http_api import serving
from tests.support.qdrant_points import NOWHERE
from tests.support.qdrant_server import qdrant_server

COUNT = 400
VECTORS = unit_vectors(COUNT)
VECTORS[397] = VECTORS[398] = VECTORS[399]
"""The last three are exact copies: equal scores must come by id."""
NOBODY = "00000000-0000-0000-0000-000000000000"
INDEXES = {
    "edge": "edge:{root}",
    "edge-scalar": "edge:{root}/scalar?quantization=scalar&oversampling=10&on_disk=1",
    "faiss": "faiss:{root}/faiss",
    "faiss-ivf": "faiss:{root}/lists?index=IVF8,Flat&nprobe=8",
    "faiss-refined": "faiss:{root}/refined?index=OPQ4,IVF4,PQ4x4,RFlat&nprobe=4&oversampling=100",
}
"""With such oversampling all of them find the best hits; `test_reader` has some that do not rescore."""
REAL, API_KEY = os.environ.get("QDRANT_URL", "").partition("?")[0], os.environ.get("QDRANT_API_KEY")
"""A real server is tested too, over REST and over gRPC, wherever one answers."""
SERVERS = ("server", "grpc", "api", *(("real-rest", "real-grpc") if REAL else ()))
WRITE_KEY = "a key for the tests of a server"
SETTINGS = Settings(QDRANT_API_KEY=API_KEY, api_key=WRITE_KEY)
KINDS = (*INDEXES, *SERVERS)
EXACT = SearchParams(exact=True)
WIDE = SearchParams(ef=COUNT)
fast = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def made_points() -> list[Point]:
    """Return points with a payload of every kind."""
    chance = np.random.default_rng(3)
    points = []
    for number, point in enumerate(points_of(VECTORS)):
        payload: dict[str, Any] = {
            **point.payload,
            "label": ("Shoes", "Bags", "Watches", None)[min(3, int(chance.exponential(1)))],
            "year": 2010 + number % 5 if number % 7 else None,
            "price": float(number % 11) if number % 2 else round(chance.uniform(0, 10), 2),
            "tags": [("red", "blue", "long, wide", "red")[i] for i in chance.integers(0, 4, number % 4)],
            "new": bool(number % 3),
            "mixed": (1, 1.0, "1", True, None, [], ["1", 1], {"a": 1})[number % 8],
            "two words": f"a {number % 3}",
        }
        points.append(replace(point, payload=payload, digest=digest(payload)))
    return points


POINTS = made_points()
BY_ID = {point.id: point for point in POINTS}


@dataclass(frozen=True)
class ServerPlace:
    """A server's URL, and the plan of the collection on it."""

    url: str
    plan: Plan

    def fill(self) -> None:
        """Store the points, and publish the collection."""
        writer = connect(self.url, SETTINGS).writer(self.plan, MODEL_FILE)
        assert writer.write(POINTS) == []
        writer.publish(silent)
        writer.close()

    def open(self) -> Store:
        """Open the collection."""
        return open_store(self.url, self.plan.collection, SETTINGS)


@contextmanager
def servers() -> Iterator[dict[str, ServerPlace]]:
    """Yield a place on a server of each kind. On a real one, it has a name that nobody else has, and is removed."""
    plan, own = plan_for(VECTORS), f"cbir-test-{uuid.uuid4().hex}"
    with (
        qdrant_server() as server,
        grpc_port() as port,
        TemporaryDirectory() as folder,
        serving(f"edge:{folder}", write_keys=(WRITE_KEY,), cache=f"{folder}/cache") as address,
    ):
        urls = {"server": server.url, "grpc": f"{NOWHERE}?grpc={port.number}", "api": f"cbir+{address}"}
        places = {kind: ServerPlace(url, plan) for kind, url in urls.items()}
        for kind, url in {"real-rest": f"{REAL}?grpc=0", "real-grpc": REAL}.items() if REAL else ():
            places[kind] = ServerPlace(url, replace(plan, collection=f"{own}-{kind}", dataset=f"{own}-{kind}-set"))
        try:
            yield places
        finally:
            for place in [places[kind] for kind in SERVERS if kind.startswith("real")]:
                catalog = connect(place.url, SETTINGS)
                if catalog.plan(place.plan.collection):
                    catalog.drop(place.plan.collection)


def fill_folder(urls: list[str]) -> None:
    """Store the points in the embedded stores of these URLs."""
    builder = builder_for(urls, VECTORS)
    builder.write(POINTS)
    builder.publish(silent)
    builder.close()


def scan(query: Vector, filter: Filter) -> list[tuple[float, str]]:
    """Return (-score, id) of all points that hold to a filter, in order."""
    return sorted((-float(query @ point.vector), point.id) for point in POINTS if matches(point.payload, filter))


def written_log(folder: Path) -> Path:
    """Return the folder of a vector log with the points."""
    writer = LogWriter(segment_path(folder / "log", 1), VECTORS.shape[1])
    writer.append(POINTS)
    writer.close()
    return folder / "log"

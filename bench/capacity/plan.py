"""What a number of images needs: formulas over what was measured on this machine.

Those for a Qdrant server are of its guide, read in 2026 (https://qdrant.tech/documentation/capacity-planning).
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from cbir.errors import UsageError
from cbir.tables import Column

from .probe import ImageCosts, IndexCosts

USUAL_IMAGES = ("1M", "100M", "1B")
HEADROOM = 1.2  # a fifth more RAM for page cache and optimizer, a fifth more disk for log and snapshots
NODE_SHARE = 0.8  # of a server's RAM that a plan may use
NODE_POINTS = 10**8  # vectors that a server typically holds at most
SHARDS = 12  # a common choice, because it divides evenly by 1, 2, 3, 4, 6 and 12 servers
ONE_SHARD_POINTS = 10**7  # one shard is enough (Qdrant's author, https://github.com/qdrant/qdrant/issues/3636)
CLUSTER_NODES = 3  # with fewer, a cluster with replicas stops when one server is down
ID_BYTES = 52  # of a point in the ID tracker, always in RAM
GRAPH_BYTES = 16 * 2 * 4 * 1.2  # of a point: 2m links of 4 bytes (m = 16), plus a fifth for the upper layers
PAYLOAD_FACTOR = 1.5
SERVER_PAYLOAD_BYTES = 160  # a version and a SHA-256, which cbir stores on servers with the user's payload
LOG_BYTES = 100  # of a point in the vector log: id, key, version and checksums
LOG_RAM_BYTES = 32  # of a point in an open vector log: its id, row and rank
FLOAT32, INT8 = "float32 in RAM", "int8 in RAM, float32 on disk"
LAYOUTS: dict[str, dict[str, str]] = {FLOAT32: {}, INT8: {"on_disk": "1", "quantization": "scalar"}}
"""How a server may hold a collection, with the options of its URL."""
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9}
_CORES = 64
_GB = 1e9


@dataclass(frozen=True)
class Options:
    """What the user decides; `replicas` None depends on the number of images, `node_gb` is the RAM of a server."""

    dimension: int
    replicas: int | None
    node_gb: float


@dataclass(frozen=True)
class IndexPlan:
    """An embedded index of one engine: its vector log, its files, the RAM of searches, and the time to make it."""

    name: str
    log_gb: Annotated[float, Column("log", "GB", ".3g")]
    disk_gb: Annotated[float, Column("index", "GB", ".3g")]
    ram_gb: Annotated[float, Column("RAM", "GB", ".3g")]
    embedding_hours: Annotated[float, Column("embedding", "core-h", ".3g")]
    building_hours: Annotated[float, Column("building", "core-h", ".3g")]
    hours: Annotated[float, Column(f"on {_CORES} cores", "h", ".3g")]


@dataclass(frozen=True)
class ServerPlan:
    """A collection on a Qdrant cluster of `nodes` servers in one layout, all replicas together; `url` is its store."""

    layout: str
    ram_gb: Annotated[float, Column("RAM", "GB", ".3g")]
    disk_gb: Annotated[float, Column("disk", "GB", ".3g")]
    nodes: Annotated[int, Column("servers", format=",d")]
    replicas: Annotated[int, Column("replicas", format="d")]
    shards: int
    url: str


@dataclass(frozen=True)
class Plan:
    """What a number of images needs, as an embedded index of each engine and on servers in each layout."""

    images: int
    indexes: list[IndexPlan]
    servers: list[ServerPlan]

    @property
    def recommended(self) -> ServerPlan:
        """The layout for servers: float32, unless int8 needs fewer of them."""
        return min(self.servers, key=lambda server: server.nodes)


def parse_count(text: str) -> int:
    """Return the number that a text like 250000, 100M or 1.5B means."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMB]?)", text.replace(",", "").replace("_", "").upper())
    count = int(float(found[1]) * _UNITS[found[2]]) if found else 0
    if count < 1:
        raise UsageError(f"Invalid number of images: {text!r}. Use a number such as 250000, 500K, 100M or 1B.")
    return count


def make_plan(images: int, options: Options, costs: ImageCosts, indexes: Sequence[IndexCosts]) -> Plan:
    """Return what so many images need."""
    return Plan(
        images,
        [plan_index(images, options, costs, index) for index in indexes],
        [plan_servers(images, options, costs, layout) for layout in LAYOUTS],
    )


def plan_index(images: int, options: Options, costs: ImageCosts, index: IndexCosts) -> IndexPlan:
    """Return what an embedded index of so many images needs.

    Files grow in proportion to the points. A graph takes n log n, because each insertion is a search (Malkov and
    Yashunin 2016, section 4.2); an index without a graph takes n.
    """
    factor = images / index.points
    depth = math.log(images) / math.log(index.points) if index.access == "graph" else 1.0
    embedding = images * costs.core_seconds / 3600
    building = index.core_seconds * factor * depth / 3600
    log_bytes = 4 * options.dimension + costs.thumbnail_bytes + costs.payload_bytes + LOG_BYTES
    disk = index.disk_bytes * factor / _GB
    ram = disk + images * LOG_RAM_BYTES / _GB
    hours = (embedding + building) / _CORES
    return IndexPlan(index.name, images * log_bytes / _GB, disk, ram, embedding, building, hours)


def plan_servers(images: int, options: Options, costs: ImageCosts, layout: str) -> ServerPlan:
    """Return what so many images need on servers in one layout."""
    replicas = options.replicas or (1 if images <= ONE_SHARD_POINTS else 2)
    points = images * replicas
    ram = points * ram_bytes(layout, options) / _GB
    nodes = max(
        math.ceil(ram / (NODE_SHARE * options.node_gb)),
        math.ceil(points / NODE_POINTS),
        CLUSTER_NODES if replicas > 1 else 1,
        replicas,
    )
    shards = shard_count(images, nodes)
    counts = {name: str(count) for name, count in (("shards", shards), ("replicas", replicas)) if count > 1}
    query = "&".join(f"{name}={value}" for name, value in (counts | LAYOUTS[layout]).items())
    url = f"http://HOST:6333{'?' if query else ''}{query}"
    return ServerPlan(layout, ram, points * disk_bytes(layout, options, costs) / _GB, nodes, replicas, shards, url)


def ram_bytes(layout: str, options: Options) -> float:
    """Return the RAM of a point on a server: the vector or its quantized copy, the graph and the ID."""
    return ((1 if layout == INT8 else 4) * options.dimension + GRAPH_BYTES + ID_BYTES) * HEADROOM


def disk_bytes(layout: str, options: Options, costs: ImageCosts) -> float:
    """Return the disk of a point on a server: everything, also what is in RAM; thumbnails are payload in base64."""
    vector = (5 if layout == INT8 else 4) * options.dimension
    payload = costs.payload_bytes + SERVER_PAYLOAD_BYTES + 4 / 3 * costs.thumbnail_bytes
    return (vector + GRAPH_BYTES + ID_BYTES + PAYLOAD_FACTOR * payload) * HEADROOM


def shard_count(images: int, nodes: int) -> int:
    """Return how many shards, and at most servers: one if it holds all easily, `SHARDS`, or two a server."""
    if nodes == 1 and images <= ONE_SHARD_POINTS:
        return 1
    return SHARDS if SHARDS % nodes == 0 and 2 * nodes <= SHARDS else 2 * nodes

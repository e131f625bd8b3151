"""What a number of images needs: formulas over what was measured on this machine.

The formulas and numbers for a Qdrant server are those of Qdrant's guide, read in 2026
(https://qdrant.tech/documentation/capacity-planning): each structure by itself, times the replicas, plus a fifth.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cbir.errors import UsageError

from .probe import ImageCosts, IndexCosts

USUAL_IMAGES = (10**6, 10**8, 10**9)
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


@dataclass(frozen=True)
class Options:
    """What the user decides; `replicas` None depends on the number of images, `node_bytes` is the RAM of a server."""

    dimension: int
    replicas: int | None
    node_bytes: float


@dataclass(frozen=True)
class IndexSize:
    """An embedded index of one engine; `ram_bytes` is what searches need, `core_hours` what building takes."""

    name: str
    disk_bytes: float
    ram_bytes: float
    core_hours: float


@dataclass(frozen=True)
class ServerSize:
    """A collection on a Qdrant cluster of so many servers in one layout, all replicas together."""

    layout: str
    ram_bytes: float
    disk_bytes: float
    nodes: int


@dataclass(frozen=True)
class Plan:
    """What a number of images needs: the float32 vectors, the log of an embedded index, and each index and server.

    `recommended` is one of `servers`, and `url` is the store with its layout.
    """

    images: int
    vector_bytes: float
    log_bytes: float
    embedding_core_hours: float
    indexes: list[IndexSize]
    servers: list[ServerSize]
    recommended: ServerSize
    replicas: int
    shards: int
    url: str


def parse_count(text: str) -> int:
    """Return the number that a text like 250000, 100M or 1.5B means."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMB]?)", text.replace(",", "").replace("_", "").upper())
    count = int(float(found[1]) * _UNITS[found[2]]) if found else 0
    if count < 1:
        raise UsageError(f"Invalid number of images: {text!r}. Use a number such as 250000, 500K, 100M or 1B.")
    return count


def make_plan(images: int, options: Options, costs: ImageCosts, indexes: Sequence[IndexCosts]) -> Plan:
    """Return what so many images need.

    float32 is recommended if it needs no more servers than the number of points and replicas, otherwise int8.
    """
    replicas = options.replicas or (1 if images <= ONE_SHARD_POINTS else 2)
    points = images * replicas
    fewest = max(math.ceil(points / NODE_POINTS), CLUSTER_NODES if replicas > 1 else 1, replicas)
    servers = []
    for layout in LAYOUTS:
        ram, disk = points * ram_bytes(layout, options), points * disk_bytes(layout, options, costs)
        nodes = max(fewest, math.ceil(ram / (NODE_SHARE * options.node_bytes)))
        servers.append(ServerSize(layout, ram, disk, nodes))
    recommended = servers[0] if servers[0].nodes == fewest else servers[1]
    shards = shard_count(images, recommended.nodes)
    counts = {name: str(count) for name, count in (("shards", shards), ("replicas", replicas)) if count > 1}
    query = "&".join(f"{name}={value}" for name, value in (counts | LAYOUTS[recommended.layout]).items())
    return Plan(
        images=images,
        vector_bytes=images * 4.0 * options.dimension,
        log_bytes=images * (4 * options.dimension + costs.thumbnail_bytes + costs.payload_bytes + LOG_BYTES),
        embedding_core_hours=images * costs.core_seconds / 3600,
        indexes=[index_size(index, images) for index in indexes],
        servers=servers,
        recommended=recommended,
        replicas=replicas,
        shards=shards,
        url=f"http://HOST:6333{'?' if query else ''}{query}",
    )


def index_size(costs: IndexCosts, images: int) -> IndexSize:
    """Return the size of an index of so many images.

    Files grow in proportion to the points. A graph takes n log n, because each insertion is a search (Malkov and
    Yashunin 2016, section 4.2); an index without a graph takes n.
    """
    factor = images / costs.points
    depth = math.log(images) / math.log(costs.points) if costs.access == "graph" else 1.0
    disk = costs.disk_bytes * factor
    return IndexSize(costs.name, disk, disk + LOG_RAM_BYTES * images, costs.core_seconds * factor * depth / 3600)


def ram_bytes(layout: str, options: Options) -> float:
    """Return the RAM of a point on a server: the vector or its quantized copy, the graph and the ID."""
    return ((1 if layout == INT8 else 4) * options.dimension + GRAPH_BYTES + ID_BYTES) * HEADROOM


def disk_bytes(layout: str, options: Options, costs: ImageCosts) -> float:
    """Return the disk of a point on a server: everything, also what is in RAM; thumbnails are payload in base64."""
    vector = (5 if layout == INT8 else 4) * options.dimension
    payload = costs.payload_bytes + SERVER_PAYLOAD_BYTES + 4 / 3 * costs.thumbnail_bytes
    return (vector + GRAPH_BYTES + ID_BYTES + PAYLOAD_FACTOR * payload) * HEADROOM


def shard_count(images: int, nodes: int) -> int:
    """Return how many shards a collection should have, which is also the number of servers that it can grow to.

    One if a single server holds it easily, otherwise `SHARDS`, or two a server where that does not divide evenly.
    """
    if nodes == 1 and images <= ONE_SHARD_POINTS:
        return 1
    return SHARDS if SHARDS % nodes == 0 and 2 * nodes <= SHARDS else 2 * nodes

"""Sizes and costs of a number of images, worked out from what was measured here.

Formulas and numbers for a Qdrant server are those of Qdrant's guide, read in 2026
(https://qdrant.tech/documentation/capacity-planning): each structure by itself, times the replicas, and a fifth more.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cbir.errors import UsageError
from cbir.models.card import ModelCard

from .pictures import Pictures
from .predict import Probe, predict
from .probe import Costs

USUAL_IMAGES = (10**6, 10**8, 10**9)
CORES = (16, 64)  # for which a time is told, besides those of this machine

HEADROOM = 1.2  # a fifth more RAM for page cache and optimizer, a fifth more disk for log and snapshots
NODE_SHARE = 0.8  # of a node's RAM, so much may be planned with
NODE_POINTS = 10**8  # a node typically tops out around so many vectors
SHARDS = 12  # a common choice, since it divides evenly by 1, 2, 3, 4, 6 and 12 nodes
ONE_SHARD_POINTS = 10**7  # one shard is enough (Qdrant's author, https://github.com/qdrant/qdrant/issues/3636)
LEAST_NODES = 3  # with fewer, a cluster with replicas stands still when one is down
ID_BYTES = 52  # of a point in the ID tracker, always in RAM
GRAPH_BYTES = 16 * 2 * 4 * 1.2  # of a point: 2m links of 4 bytes (m = 16), and a fifth for the upper layers
PAYLOAD_EXTRA = 1.5
_OWN_PAYLOAD_BYTES = 160  # what cbir stores beside the user's payload: a version and a SHA-256, with their names
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9}


@dataclass(frozen=True)
class Layout:
    """How a server may hold a collection.

    Attributes:
        options: What it takes behind the question mark of the server's URL.
        ram_dimension_bytes: Of one dimension of a vector in RAM: 4 for float32, 1 for int8, 0 if it is on disk.
        quantized_dimension_bytes: Of one dimension of the quantized copy, which the disk holds too.
        graph_in_ram: True if the graph is counted as RAM. Qdrant maps it; it searches slowly where that is not cached.
    """

    name: str
    options: dict[str, str]
    ram_dimension_bytes: float
    quantized_dimension_bytes: float
    graph_in_ram: bool


LAYOUTS = (
    Layout("full precision in RAM", {}, 4, 0, True),
    Layout("int8 in RAM, originals on disk", {"on_disk": "1", "quantization": "scalar"}, 1, 1, True),
    Layout("everything on disk", {"on_disk": "1"}, 0, 0, False),
)


@dataclass(frozen=True)
class Server:
    """What a collection takes on a Qdrant cluster of so many nodes in one layout, all replicas together."""

    layout: str
    ram_bytes: float
    disk_bytes: float
    nodes: int


@dataclass(frozen=True)
class Sizing:
    """What a number of images takes.

    Attributes:
        rule_of_thumb_bytes: RAM by Qdrant's rule, vectors x dimension x 4 bytes x 1.5.
        log_bytes: The vector log of an embedded index, with thumbnails and payload.
        hours: By number of cores, for embedding and one graph (the first engine's); work that spreads evenly.
        servers: One for each of `LAYOUTS`.
    """

    images: int
    vector_bytes: float
    rule_of_thumb_bytes: float
    log_bytes: float
    thumbnail_bytes: float
    embedding_core_hours: float
    hours: Mapping[int, float]
    engines: Mapping[str, Costs]
    servers: Sequence[Server]
    replicas: int
    shards: int
    recommended: Server
    url: str


@dataclass(frozen=True)
class Asked:
    """What the user decides (`replicas` None leaves it to the size, `node_bytes` is the RAM of a server), and cores."""

    dimension: int
    replicas: int | None
    node_bytes: float
    cores: int


def parse_count(text: str) -> int:
    """Return the number that a text like 250000, 100M or 1.5B means."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMB]?)", text.replace(",", "").replace("_", "").upper())
    count = int(float(found[1]) * _UNITS[found[2]]) if found else 0
    if count < 1:
        raise UsageError(f"{text!r} is no number of images; 250000, 500K, 100M and 1B are")
    return count


def ram_bytes(layout: Layout, asked: Asked, pictures: Pictures) -> float:
    """Return the RAM of a point: vector or its quantized copy, graph, ID, and the index of labels.

    Of the label's index Qdrant's guide says twice the size of what is indexed.
    """
    graph = GRAPH_BYTES if layout.graph_in_ram else 0.0
    return (layout.ram_dimension_bytes * asked.dimension + graph + ID_BYTES + 2 * pictures.label_bytes) * HEADROOM


def disk_bytes(layout: Layout, asked: Asked, pictures: Pictures) -> float:
    """Return the disk of a point: everything, whatever is in RAM as well (Qdrant's guide).

    Payload counts one and a half times; thumbnails are part of it, as base64.
    """
    vector = (4 + layout.quantized_dimension_bytes) * asked.dimension
    payload = pictures.payload_bytes + _OWN_PAYLOAD_BYTES + 4 / 3 * pictures.thumbnail_bytes
    rest = GRAPH_BYTES + ID_BYTES + 2 * pictures.label_bytes
    return (vector + rest + PAYLOAD_EXTRA * payload) * HEADROOM


def size(images: int, asked: Asked, pictures: Pictures, probe: Probe) -> Sizing:
    """Return what so many images take.

    The layout recommended is full precision if it takes no more servers than the number of points and replicas do
    anyhow, and else int8 in RAM.
    """
    engines = {engine.name: predict(engine, images) for engine in probe.engines}
    embedding = images * pictures.core_seconds / 3600
    building = next(iter(engines.values())).core_seconds / 3600
    replicas = asked.replicas or (1 if images <= ONE_SHARD_POINTS else 2)
    base = images * replicas
    least = max(math.ceil(base / NODE_POINTS), LEAST_NODES if replicas > 1 else 1, replicas)
    servers = []
    for layout in LAYOUTS:
        ram, disk = (base * of_a_point(layout, asked, pictures) for of_a_point in (ram_bytes, disk_bytes))
        servers.append(Server(layout.name, ram, disk, max(least, math.ceil(ram / (NODE_SHARE * asked.node_bytes)))))
    chosen = 0 if servers[0].nodes == least else 1
    shards = shard_count(images, servers[chosen].nodes)
    counts = {name: str(count) for name, count in (("shards", shards), ("replicas", replicas)) if count > 1}
    query = "&".join(f"{name}={value}" for name, value in (counts | LAYOUTS[chosen].options).items())
    return Sizing(
        images=images,
        vector_bytes=images * 4.0 * asked.dimension,
        rule_of_thumb_bytes=images * 4 * asked.dimension * 1.5,
        log_bytes=images * (probe.log_bytes + pictures.thumbnail_bytes),
        thumbnail_bytes=images * pictures.thumbnail_bytes,
        embedding_core_hours=embedding,
        hours={cores: (embedding + building) / cores for cores in sorted({asked.cores, *CORES})},
        engines=engines,
        servers=servers,
        replicas=replicas,
        shards=shards,
        recommended=servers[chosen],
        url=f"http://HOST:6333{'?' if query else ''}{query}",
    )


def shard_count(images: int, nodes: int) -> int:
    """Return how many shards a collection should have.

    One for what a server takes easily; else `SHARDS`, or two a node where that does not divide evenly: a collection
    cannot be given more later, so that they are also what it can grow to (Qdrant's guide).
    """
    if nodes == 1 and images <= ONE_SHARD_POINTS:
        return 1
    return SHARDS if SHARDS % nodes == 0 and 2 * nodes <= SHARDS else 2 * nodes


def plan_notes(asked: Asked, card: ModelCard, plans: Sequence[Sizing]) -> list[str]:
    """Return what a reader has to know of the figures, in plain words."""
    notes = [
        "Core-hours are processor time, embedding and building alike; by cores they are told as if both spread evenly."
        " Embedded indexes are predicted as if their memory were there. RAM and disk of servers count all replicas and"
        " a fifth more."
    ]
    if asked.dimension != card.dimension:
        notes.append(
            f"{card.name} gives {card.dimension} dimensions: its time is taken, and vectors of {asked.dimension}"
            " (`cbir-export head --dimension` makes such a model)."
        )
    if any(one.recommended.layout != LAYOUTS[0].name for one in plans):
        notes.append("Quantized vectors find a little less: measure it with `cbir-bench parity` before you rely on it.")
    return notes

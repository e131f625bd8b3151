"""The figures of `cbir-bench`'s reports that the page draws, taken out of JSON that may hold anything.

What a report holds besides is ignored. One that lacks a figure is not of this version, and is shown as it is.
"""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict


class Figures(BaseModel):
    """Figures of a result, of which others may be left out."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Query(Figures):
    """A query, by its point's id and key."""

    id: str
    key: str | None

    def __str__(self) -> str:
        return self.key or self.id


class Summary(Figures):
    """A metric over many queries; None where it is defined for none of them."""

    mean: float | None
    p5: float | None
    worst: float | None
    worst_query: Query | None
    undefined: int


class Times(Figures):
    """Milliseconds of a search."""

    median: float
    p95: float
    p99: float


class Load(Figures):
    """Client threads, and searches a second of all of them."""

    threads: int
    searches_per_second: float
    search_ms: Times


class Filtered(Figures):
    """Searches within a share of the points."""

    field: str
    value: str | int | float | bool
    share: float
    ann_recall_at_k: Summary
    search_ms: Times


class Latency(Figures):
    """One store's searches."""

    store: str
    searched: str
    ann_recall_at_k: Summary
    loads: list[Load]
    search_ms: Times
    filtered: list[Filtered]


class Memory(Figures):
    """Megabytes of a process."""

    own: float
    mapped: float


class Growth(Figures):
    """What a process grew by until it had searched."""

    searched: Memory


class Footprint(Figures):
    """Megabytes of an index."""

    store: str
    disk_megabytes: float
    walked_megabytes: float
    memory: Growth | None


class Served(Figures):
    """What failed while an ingest ran."""

    store: str
    errors: list[str]


class Beside(Figures):
    """Searching beside an ingest."""

    stores: list[Served]


class Stores(Figures):
    """`cbir-bench stores`."""

    latencies: list[Latency]
    footprints: list[Footprint]
    beside: list[Beside]


class AgainstOracle(Figures):
    """A store in one mode against the exact answer."""

    store: str
    mode: str
    ann_recall_at_k: Summary
    queries_below_one: int


class Disagreement(Figures):
    """A query that two stores answer differently from a rank on."""

    query: Query
    rank: int
    delta: float | None


class Pair(Figures):
    """Two stores in one mode against each other."""

    stores: tuple[str, str]
    mode: str
    overlap_at_k: Summary
    different: int
    differences: list[Disagreement]


class Parity(Figures):
    """`cbir-bench parity`."""

    oracle: list[AgainstOracle]
    pairs: list[Pair]


class Spread(Figures):
    """The median of some rounds, the lowest and the highest."""

    median: float
    lowest: float
    highest: float


class Part(Figures):
    """One way from files to vectors, or why it was not measured."""

    name: str
    what: str
    missing: str
    images_per_second: Spread | None
    core_milliseconds: float | None
    peak_megabytes: float | None


class Measured(Figures):
    """All parts of one model."""

    model: str
    parts: list[Part]


class Ingest(Figures):
    """`cbir-bench ingest`."""

    source: str
    models: list[Measured]


class EngineCosts(Figures):
    """Bytes of an embedded index."""

    disk_bytes: float
    serve_bytes: float


class Server(Figures):
    """Bytes of a server, in one layout."""

    layout: str
    ram_bytes: float
    disk_bytes: float


class Sizing(Figures):
    """What a number of images takes."""

    images: int
    log_bytes: float
    engines: dict[str, EngineCosts]
    servers: list[Server]


class Plan(Figures):
    """`cbir-bench plan`."""

    plans: list[Sizing]


class Check(Figures):
    """How many times its prediction each cost of an index was."""

    name: str
    factors: dict[str, float]
    missed: list[str]


class PlanCheck(Figures):
    """`cbir-bench plan --check`."""

    checks: list[Check]
    limits: dict[str, float]


def flattened(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the path and the text of each value in nested JSON."""
    if isinstance(value, dict) and value:
        for key, one in value.items():
            yield from flattened(one, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value:
        for at, one in enumerate(value):
            yield from flattened(one, f"{path}[{at}]")
    else:
        yield path, "" if value is None else str(value)

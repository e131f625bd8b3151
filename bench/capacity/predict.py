"""From what small indexes cost to what a large one will, and a large one built to see whether that is so."""

import math
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cbir.errors import UsageError
from cbir.records import Payload
from cbir.stores.base import ENGINE_KINDS, StoreURL, parse
from cbir.terminal import Advance

from ..latency.probe import Costs, Run, run_engine, write_log

GRAPH_BYTES = 10_000 * 1024
"""Qdrant builds no graph for less than so many bytes of vectors (its `indexing_threshold`, 10,000 KB)."""

PROBE_BYTES = 4 * GRAPH_BYTES
"""Vectors of the probe; half of them are enough for a graph too, and all are more than most processors cache."""

PROBE_POINTS = 200_000
"""At most so many, short as they may be."""

FAISS_CHUNK = 10_000
"""Vectors that `cbir.stores.embedded.faiss_index` adds at a time."""

LOG_BYTES = 32
"""Of a point in an open vector log: its id, row and rank, from `cbir.index.vector_log`."""

LIMITS = {
    "core_seconds": 1.5,
    "disk_bytes": 1.15,
    "build_bytes": 1.15,
    "serve_bytes": 1.15,
    "search_milliseconds": 1.5,
}
"""How many times more or less than predicted a cost may turn out to be."""


@dataclass(frozen=True)
class Engine:
    """An embedded index as the probe found it.

    Attributes:
        name: For tables: "edge", "faiss HNSW16".
        kind: "edge" or "faiss".
        dimension: Of the vectors.
        half: Costs with half of the probe's vectors.
        whole: Costs with all of them.
    """

    name: str
    kind: str
    dimension: int
    half: Run
    whole: Run


@dataclass(frozen=True)
class Probe:
    """What the probe found: the indexes, and bytes of a point in the vector log without its thumbnail."""

    log_bytes: float
    engines: Sequence[Engine]


@dataclass(frozen=True)
class Check:
    """One index: what was predicted of it, and what came of building it."""

    name: str
    predicted: Costs
    measured: Run

    def factors(self) -> dict[str, float]:
        """Return measured / predicted of every cost."""
        return {name: getattr(self.measured.costs, name) / getattr(self.predicted, name) for name in LIMITS}

    def missed(self) -> list[str]:
        """Return the costs that were not within their limit."""
        return [name for name, factor in self.factors().items() if not 1 / LIMITS[name] <= factor <= LIMITS[name]]


def predict(engine: Engine, points: int) -> Costs:
    """Return what an index of so many points will cost.

    core_seconds: reading and storing take time in proportion to the points. A graph takes n log n, since each insertion
        is a search, and a search passes log n vectors (Malkov and Yashunin 2016, section 4.2; the same for searching);
        an index without a graph takes n.
    disk_bytes: the line through both runs.
    build_bytes: Edge: the line through both runs. FAISS: what it writes is what it holds, in C++ vectors; one that is
        full is copied to one of twice the size, so that twice what was in it is the most, unless all comes to more.
    serve_bytes: the whole index, which is loaded or mapped, and the log's own figures of a point.
    """
    half, whole = engine.half, engine.whole
    slope = (whole.costs.disk_bytes - half.costs.disk_bytes) / (whole.points - half.points)
    more = points - whole.points
    if engine.kind == "edge":
        built = (whole.costs.build_bytes - half.costs.build_bytes) / (whole.points - half.points) * more
    else:
        built = slope * (_allotted(points) - _allotted(whole.points))
    loading = whole.loading if engine.kind == "edge" else 0.0  # FAISS makes the graph as vectors come
    graph = whole.access == "graph"
    depth = math.log(points) / math.log(whole.points) if graph else 1.0
    far = points / whole.points
    return Costs(
        core_seconds=(loading + (whole.costs.core_seconds - loading) * depth) * far,
        disk_bytes=whole.costs.disk_bytes + slope * more,
        build_bytes=whole.costs.build_bytes + built,
        serve_bytes=whole.costs.serve_bytes + (slope + LOG_BYTES) * more,
        search_milliseconds=whole.costs.search_milliseconds * (depth if graph else far),
    )


def _allotted(points: int) -> int:
    """Return for how many points FAISS needs memory while it takes so many, `FAISS_CHUNK` at a time."""
    full = FAISS_CHUNK
    while full * 2 < points:
        full *= 2
    return max(points, 2 * full) if points > FAISS_CHUNK else points


def probe_points(dimension: int, checked: int | None = None) -> int:
    """Return how many vectors a probe takes; at most a fifth of those that it is checked with."""
    points = min(PROBE_POINTS, math.ceil(PROBE_BYTES / (4 * dimension)))
    return points if checked is None else max(2, min(points, checked // 5))


def parse_engines(stores: Sequence[str], dimension: int) -> list[StoreURL]:
    """Return the engines that store URLs name; their paths are not looked at.

    Raises:
        UsageError: One is a server, or an engine that cannot be made.
    """
    urls = [parse(store) for store in stores]
    for url in urls:
        if not url.embedded:
            raise UsageError(f"{url.kind}: is a server, and not measured here; name edge: or faiss: with their options")
        kind = ENGINE_KINDS[url.kind]
        kind.load().check_options({**kind.options, **url.options}, dimension)
    return urls


def name_of(url: StoreURL) -> str:
    """Return an engine's name in tables, with the options that were given."""
    options = dict(url.options)
    factory = options.pop("index", ENGINE_KINDS[url.kind].build_options.get("index", ""))
    return " ".join([url.kind, *filter(None, [factory]), *(f"{name}={value}" for name, value in options.items())])


def probe_engines(urls: Sequence[StoreURL], dimension: int, points: int, payload: Payload, advance: Advance) -> Probe:
    """Return what indexes of `points` made-up vectors cost, and of half as many; `advance` counts two an engine."""
    runs: list[list[Run]] = []
    for count in (points // 2, points):
        with tempfile.TemporaryDirectory(prefix="cbir-plan-") as folder:
            size = write_log(Path(folder) / "log", count, dimension, payload)
            runs.append(_run_all(urls, Path(folder), dimension, advance))
    engines = [Engine(name_of(url), url.kind, dimension, *pair) for url, *pair in zip(urls, *runs, strict=True)]
    return Probe(size / points, engines)


def check_engines(urls: Sequence[StoreURL], probe: Probe, points: int, advance: Advance) -> list[Check]:
    """Build every index with so many vectors and return what was predicted beside what was measured.

    Raises:
        UsageError: The temporary folder's disk has no room for them.
    """
    predicted = [predict(engine, points) for engine in probe.engines]
    needed = points * probe.log_bytes + sum(costs.disk_bytes for costs in predicted)
    with tempfile.TemporaryDirectory(prefix="cbir-plan-") as folder:
        free = shutil.disk_usage(folder).free
        if 1.2 * needed > free:
            raise UsageError(
                f"{points:,} vectors take {needed / 1e9:,.1f} GB in {tempfile.gettempdir()}, where {free / 1e9:,.1f} GB"
                " are free; set TMPDIR to a larger disk"
            )
        dimension = probe.engines[0].dimension
        write_log(Path(folder) / "log", points, dimension, {})
        runs = _run_all(urls, Path(folder), dimension, advance)
    return [Check(engine.name, costs, run) for engine, costs, run in zip(probe.engines, predicted, runs, strict=True)]


def check_notes(probe: Probe, points: int) -> list[str]:
    """Return what a reader has to know of a check, in plain words."""
    engine = probe.engines[0]
    notes = [
        f"Predicted from {engine.half.points:,} and {engine.whole.points:,} vectors of {engine.dimension} dimensions;"
        " made-up ones, so that the recall is not that of your pictures."
    ]
    least = 5 * probe_points(engine.dimension)
    if points < least:
        notes.append(
            f"WARNING: for a prediction with meaning check at least {least:,} vectors: Edge builds no graph for less"
            f" than {GRAPH_BYTES / 2**20:.1f} MiB, and the probe takes at most a fifth."
        )
    return notes


def _run_all(urls: Sequence[StoreURL], folder: Path, dimension: int, advance: Advance) -> list[Run]:
    runs = []
    for number, url in enumerate(urls):
        options = {**ENGINE_KINDS[url.kind].options, **url.options}
        runs.append(run_engine(url.kind, options, folder / str(number), folder / "log", dimension))
        shutil.rmtree(folder / str(number))
        advance(1)
    return runs

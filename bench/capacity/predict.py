"""From what small indexes cost to what a large one will, and a large one built to see whether that is so."""

import math
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cbir.errors import UsageError
from cbir.progress import Advance
from cbir.records import Payload

from ..core.stores import Engine
from .probe import Costs, Run, run_engine, write_log

GRAPH_BYTES = 10_000 * 1024  # of vectors: Qdrant builds no graph for less (its `indexing_threshold`)
PROBE_BYTES = 4 * GRAPH_BYTES  # half of them are enough for a graph, and all are more than most processors cache
PROBE_POINTS = 200_000  # at most, short as the vectors may be
FAISS_CHUNK = 10_000  # vectors that `cbir.stores.embedded.faiss_index` adds at a time
LOG_BYTES = 32  # of a point in an open vector log: its id, row and rank
LIMITS = {"core_seconds": 1.5, "disk_bytes": 1.15, "build_bytes": 1.15, "serve_bytes": 1.15, "search_milliseconds": 1.5}
"""How many times more or less than predicted a cost may turn out to be."""


@dataclass(frozen=True)
class Probed:
    """An embedded index (such as "faiss HNSW16", of the kind "faiss") with half of the probe's vectors and with all."""

    name: str
    kind: str
    dimension: int
    half: Run
    whole: Run


@dataclass(frozen=True)
class Probe:
    """What the probe found: the indexes, and bytes of a point in the vector log without its thumbnail."""

    log_bytes: float
    engines: Sequence[Probed]


@dataclass(frozen=True)
class Check:
    """One index: what was predicted of it, what came of building it, and measured / predicted of every cost.

    `missed` names the costs whose factor was not within its limit.
    """

    name: str
    predicted: Costs
    measured: Run
    factors: dict[str, float]
    missed: list[str]


def predict(engine: Probed, points: int) -> Costs:
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
    more, probed = points - whole.points, whole.points - half.points
    slope = (whole.costs.disk_bytes - half.costs.disk_bytes) / probed
    built = (whole.costs.build_bytes - half.costs.build_bytes) / probed * more
    if engine.kind == "faiss":
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


def probe_engines(engines: Sequence[Engine], dimension: int, points: int, payload: Payload, advance: Advance) -> Probe:
    """Return what indexes of `points` made-up vectors cost, and of half as many; `advance` counts two an engine."""
    _, half = _run_all(engines, points // 2, dimension, payload, advance)
    size, whole = _run_all(engines, points, dimension, payload, advance)
    probed = [Probed(one.name, one.kind, dimension, *runs) for one, *runs in zip(engines, half, whole, strict=True)]
    return Probe(size / points, probed)


def check_engines(engines: Sequence[Engine], probe: Probe, points: int, advance: Advance) -> list[Check]:
    """Build every index with so many vectors and return what was predicted beside what was measured."""
    predicted = [predict(engine, points) for engine in probe.engines]
    needed = points * probe.log_bytes + sum(costs.disk_bytes for costs in predicted)
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if 1.2 * needed > free:
        raise UsageError(
            f"{points:,} vectors take {needed / 1e9:,.1f} GB in {folder}, where {free / 1e9:,.1f} GB are free; set"
            " TMPDIR to a larger disk"
        )
    _, runs = _run_all(engines, points, probe.engines[0].dimension, {}, advance)
    checks = []
    for engine, costs, run in zip(probe.engines, predicted, runs, strict=True):
        factors = {name: getattr(run.costs, name) / getattr(costs, name) for name in LIMITS}
        missed = [name for name, factor in factors.items() if not 1 / LIMITS[name] <= factor <= LIMITS[name]]
        checks.append(Check(engine.name, costs, run, factors, missed))
    return checks


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


def _run_all(
    engines: Sequence[Engine], points: int, dimension: int, payload: Payload, advance: Advance
) -> tuple[int, list[Run]]:
    runs = []
    with tempfile.TemporaryDirectory(prefix="cbir-plan-") as name:
        folder = Path(name)
        size = write_log(folder / "log", points, dimension, payload)
        for engine in engines:
            runs.append(run_engine(engine, folder / "index", folder / "log", dimension))
            shutil.rmtree(folder / "index")
            advance(1)
    return size, runs

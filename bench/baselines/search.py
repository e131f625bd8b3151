"""The stores of a collection and other search libraries with the same vectors: how fast each is at the same recall.

Every candidate is a process of its own and builds its own index. Then all of them, at every ef, take turns in a random
order each round, so that whatever else the machine does slows all of them alike.
"""

import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cbir import terminal

from ..core.stores import store_name
from ..core.timing import Spread, Times, spread, times
from ..core.workload import Workload
from .candidate_process import CandidateProcess
from .search_worker import LIBRARIES

EFS = (11, 16, 20, 24, 28, 32, 40, 48, 64, 96, 128, 192)
M, EF_CONSTRUCT = 16, 100
_SCANS = ("numpy", "qdrant-client")
_DESCRIPTIONS = {
    "faiss": "its HNSW index in memory, positions only",
    "hnswlib": "in memory, positions only",
    "usearch": "in memory, float32, keys only",
    "qdrant-edge": "the embedded engine as it is, ids only",
    "lancedb": "HNSW in one partition, vectors as they are, on disk, ids only",
    "qdrant-client": "QdrantClient(path=...), a scan in Python, ids only",
    "numpy": "a product with all vectors and the largest of it",
}
_OURS = "through the store protocol, with ids and payloads"


@dataclass(frozen=True)
class Step:
    """A candidate at one ef, None for a scan: its mean recall, against the exact answer, and its times.

    `recall_p5` is what 5 in 100 queries are worse than, `median_ms` the median of the queries in each round.
    """

    ef: int | None
    recall: float
    recall_p5: float
    recall_min: float
    search_ms: Times
    median_ms: Spread


@dataclass(frozen=True)
class Candidate:
    """One store or library.

    `ours` is true for a store of cbir, and `missing` says why there are no numbers. `build_megabytes` is the most
    memory while it builds, its vectors included, and `megabytes` the memory while it searches. `at_recall` is the first
    step that reaches the wanted recall, None if none does.
    """

    name: str
    description: str
    ours: bool
    missing: str = ""
    version: str = ""
    build_seconds: float | None = None
    build_megabytes: float | None = None
    megabytes: float | None = None
    curve: list[Step] = field(default_factory=list)
    at_recall: Step | None = None

    @property
    def median_ms(self) -> float | None:
        """Milliseconds of a search at the wanted recall, None if it is not reached."""
        return self.at_recall.median_ms.median if self.at_recall else None


def measure(
    workload: Workload, libraries: Sequence[str], python: str, target: float, rounds: int, seconds: float
) -> list[Candidate]:
    """Return what was measured of each store of the workload and of each library, which `python` has.

    They are compared at the recall `target`. After `seconds`, a turn starts no further query.
    """
    with tempfile.TemporaryDirectory(prefix="cbir-bench-") as folder, ExitStack() as stack:
        candidates = _candidates(workload, libraries, python, Path(folder))
        cases = [(candidate, ef) for candidate in candidates for ef in candidate.efs]
        total = len(candidates) + (1 + rounds) * len(cases)
        advance = stack.enter_context(terminal.progress("searching", total, "turns"))
        for candidate in candidates:
            stack.callback(candidate.close)
            candidate.build()
            advance(1)
        for candidate, ef in cases:
            candidate.find(ef)
            advance(1)
        rng = np.random.default_rng(workload.seed)
        for _ in range(rounds):
            for index in rng.permutation(len(cases)).tolist():
                candidate, ef = cases[index]
                candidate.time(ef, seconds)
                advance(1)
        return [_result(candidate, target) for candidate in candidates]


def _candidates(workload: Workload, libraries: Sequence[str], python: str, folder: Path) -> list[CandidateProcess]:
    paths = {name: str(folder / name) for name in ("vectors.npy", "queries.npy", "ids.json")}
    np.save(paths["vectors.npy"], workload.truth.vectors)
    np.save(paths["queries.npy"], workload.vectors)
    Path(paths["ids.json"]).write_text(json.dumps(list(workload.truth.position)))
    common = {
        "vectors": paths["vectors.npy"],
        "queries": paths["queries.npy"],
        "k": workload.k + 1,
        "m": M,
        "ef_construct": EF_CONSTRUCT,
    }
    efs = sorted({max(ef, workload.k + 1) for ef in EFS})  # a graph gives at most ef hits
    found = []
    for number, info in enumerate(workload.infos):
        own = {"url": info.url, "collection": info.collection, "ids": paths["ids.json"], "package": "cbir"}
        job = {**common, **own, "folder": str(folder / f"store-{number}")}
        command = [sys.executable, "-m", "cbir.bench.baselines.cbir_worker"]
        own_efs = [None] if info.access == "scan" else efs
        found.append(CandidateProcess(f"cbir {store_name(info.url)}", workload, command, job, own_efs))
    for name in libraries:
        job = {**common, "name": name, "package": LIBRARIES[name][1], "folder": str(folder / name)}
        command = [python, str(Path(__file__).with_name("search_worker.py"))]
        found.append(CandidateProcess(name, workload, command, job, [None] if name in _SCANS else efs))
    return found


def _result(process: CandidateProcess, target: float) -> Candidate:
    ours = process.name not in LIBRARIES
    description = _OURS if ours else _DESCRIPTIONS[process.name]
    if process.missing:
        return Candidate(process.name, description, ours, process.missing)
    curve = [_step(ef, process.recalls[ef], process.rounds[ef]) for ef in process.efs]
    return Candidate(
        name=process.name,
        description=description,
        ours=ours,
        version=process.built["version"],
        build_seconds=process.built["build_seconds"],
        build_megabytes=process.built["build_megabytes"],
        megabytes=process.megabytes,
        curve=curve,
        at_recall=next((step for step in curve if step.recall >= target), None),
    )


def _step(ef: int | None, recalls: Sequence[float], rounds: Sequence[Sequence[float]]) -> Step:
    return Step(
        ef=ef,
        recall=float(np.mean(recalls)),
        recall_p5=float(np.percentile(recalls, 5)),
        recall_min=min(recalls),
        search_ms=times(np.concatenate(rounds).tolist()),
        median_ms=spread([float(np.median(milliseconds)) for milliseconds in rounds]),
    )

"""The stores of a collection and other search libraries with the same vectors: how fast each is at the same recall.

Every candidate is a process of its own and builds its own index. Then all of them, at every ef, take turns in a random
order each round, so that whatever else the machine does slows all of them alike.
"""

import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from cbir import terminal

from ..core.stores import store_name
from ..core.timing import Spread, Times, spread, times
from ..core.workload import Workload
from . import search_worker
from .candidate_process import CandidateProcess

EFS = (11, 16, 20, 24, 28, 32, 40, 48, 64, 96, 128, 192)
M, EF_CONSTRUCT = 16, 100


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
        jobs = list(_jobs(workload, libraries, python, Path(folder)))
        total = sum(1 + (1 + rounds) * len(efs) for _, _, efs in jobs)
        advance = stack.enter_context(terminal.progress("searching", total, "turns"))
        candidates = []
        for job in jobs:
            candidates.append(CandidateProcess(*job))
            stack.callback(candidates[-1].close)
            candidates[-1].build()
            advance(1)
        cases = [(candidate, ef) for candidate in candidates for ef in candidate.efs]
        for candidate, ef in cases:
            candidate.find(workload, ef)
            advance(1)
        rng = np.random.default_rng(workload.seed)
        for _ in range(rounds):
            for index in rng.permutation(len(cases)).tolist():
                candidate, ef = cases[index]
                candidate.time(ef, seconds)
                advance(1)
        return [_result(candidate, target) for candidate in candidates]


def _jobs(
    workload: Workload, libraries: Sequence[str], python: str, folder: Path
) -> Iterator[tuple[list[str], dict[str, Any], Sequence[int | None]]]:
    """Yield the arguments of `CandidateProcess` for each store and library, whose data is then in the folder."""
    np.save(folder / "vectors.npy", workload.truth.vectors)
    np.save(folder / "queries.npy", workload.vectors)
    (folder / "ids.json").write_text(json.dumps(list(workload.truth.position)))
    common = {"data": str(folder), "k": workload.k + 1, "m": M, "ef_construct": EF_CONSTRUCT}
    efs = sorted({max(ef, workload.k + 1) for ef in EFS})  # a graph gives at most ef hits
    for number, info in enumerate(workload.infos):
        own = {"name": f"cbir {store_name(info.url)}", "url": info.url, "collection": info.collection}
        job = {**common, **own, "folder": str(folder / f"store-{number}")}
        yield [sys.executable, "-m", search_worker.__name__], job, [None] if info.access == "scan" else efs
    for name in libraries:
        job = {**common, "name": name, "folder": str(folder / name)}
        yield [python, search_worker.__file__], job, [None] if search_worker.LIBRARIES[name].scans else efs


def _result(process: CandidateProcess, target: float) -> Candidate:
    library = search_worker.LIBRARIES.get(process.name, search_worker.STORE)
    candidate = Candidate(process.name, library.description, library is search_worker.STORE, process.missing)
    if process.missing:
        return candidate
    curve = [_step(ef, process.recalls[ef], process.rounds[ef]) for ef in process.efs]
    at_recall = next((step for step in curve if step.recall >= target), None)
    return replace(candidate, **process.built, curve=curve, at_recall=at_recall)


def _step(ef: int | None, recalls: Sequence[float], rounds: Sequence[Sequence[float]]) -> Step:
    return Step(
        ef=ef,
        recall=float(np.mean(recalls)),
        recall_p5=float(np.percentile(recalls, 5)),
        recall_min=min(recalls),
        search_ms=times(np.concatenate(rounds).tolist()),
        median_ms=spread([float(np.median(milliseconds)) for milliseconds in rounds]),
    )

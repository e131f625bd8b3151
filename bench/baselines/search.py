"""A collection's stores beside other search libraries with the same vectors: how fast each is at the same recall.

Every candidate is a process of its own and builds its own index. Then all of them, at every width of search, take
turns, in an order drawn anew each round, so that whatever else the machine does falls on all alike.
"""

import json
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cbir import terminal

from ..core.ranking import recall
from ..core.stores import store_name
from ..core.timing import Spread, Times, spread, times
from ..core.workload import Workload
from .search_worker import LIBRARIES

WIDTHS = (11, 16, 20, 24, 28, 32, 40, 48, 64, 96, 128, 192)
M, EF_CONSTRUCT = 16, 100
_SCANS = ("numpy", "qdrant-client")
_WHAT = {
    "faiss": "its HNSW index in memory, positions only",
    "hnswlib": "in memory, positions only",
    "usearch": "in memory, float32, keys only",
    "qdrant-edge": "the embedded engine as it is, ids only",
    "lancedb": "HNSW in one partition, vectors as they are, on disk, ids only",
    "qdrant-client": "QdrantClient(path=...), a scan in Python, ids only",
    "numpy": "a product with all vectors and the largest of it",
}
_BUILD_SECONDS = 900.0
_TURN_SECONDS = 300.0
_FIND_SECONDS = 15.0


@dataclass(frozen=True)
class Width:
    """One candidate at one width of search.

    Attributes:
        recall: Mean over the queries, against the exact answer.
        recall_p5: What 5 in 100 queries are worse than.
        median_ms: Their median in each round.
    """

    effort: int | None
    recall: float
    recall_p5: float
    recall_min: float
    search_ms: Times
    median_ms: Spread


@dataclass(frozen=True)
class Candidate:
    """One store or library.

    Attributes:
        ours: Whether it is a store of cbir.
        missing: Why there are no figures, "" if there are.
        build_megabytes: Most memory of its process meanwhile, with the vectors that it was given.
        megabytes: Memory of its process that searches.
        at_recall: The first width that reaches the recall that was asked for; None if none does.
    """

    name: str
    what: str
    ours: bool
    missing: str = ""
    version: str = ""
    build_seconds: float | None = None
    build_megabytes: float | None = None
    megabytes: float | None = None
    curve: list[Width] = field(default_factory=list)
    at_recall: Width | None = None


def measure(
    workload: Workload, libraries: Sequence[str], python: str, target: float, rounds: int, seconds: float
) -> list[Candidate]:
    """Return what was measured of each store of the workload and of each library, which `python` has.

    A turn asks no further query after so many `seconds`; `target` is the recall to compare at.
    """
    with tempfile.TemporaryDirectory(prefix="cbir-bench-") as folder, ExitStack() as stack:
        runners = _runners(workload, libraries, python, Path(folder))
        cases = [(one, effort) for one in runners for effort in one.efforts]
        total = len(runners) + (1 + rounds) * len(cases)
        advance = stack.enter_context(terminal.progress("searching", total, "turns"))
        for one in runners:
            stack.callback(one.close)
            one.build()
            advance(1)
        for runner, effort in cases:
            runner.find(effort)
            advance(1)
        rng = np.random.default_rng(workload.seed)
        for _ in range(rounds):
            for at in rng.permutation(len(cases)).tolist():
                runner, effort = cases[at]
                runner.time(effort, seconds)
                advance(1)
        return [one.candidate(target) for one in runners]


def _runners(workload: Workload, libraries: Sequence[str], python: str, folder: Path) -> list["_Runner"]:
    files = {name: folder / name for name in ("vectors.npy", "queries.npy", "ids.json")}
    np.save(files["vectors.npy"], workload.truth.vectors)
    np.save(files["queries.npy"], workload.vectors)
    files["ids.json"].write_text(json.dumps(list(workload.truth.position)))
    common = {
        "vectors": str(files["vectors.npy"]),
        "queries": str(files["queries.npy"]),
        "k": workload.k + 1,
        "m": M,
        "ef_construct": EF_CONSTRUCT,
    }
    widths = sorted({max(one, workload.k + 1) for one in WIDTHS})  # a graph gives at most ef hits
    made = []
    for at, info in enumerate(workload.infos):
        own = folder / f"store-{at}"
        job = {**common, "url": info.url, "collection": info.collection, "ids": str(files["ids.json"])}
        command = [sys.executable, "-m", "cbir.bench.baselines.cbir_worker"]
        efforts = [None] if info.access == "scan" else widths
        what = "through the store protocol, with ids and payloads"
        name = f"cbir {store_name(info.url)}"
        made.append(_Runner(name, what, workload, command, {**job, "package": "cbir", "folder": str(own)}, efforts))
    for name in libraries:
        job = {**common, "name": name, "package": LIBRARIES[name][1], "folder": str(folder / name)}
        command = [python, str(Path(__file__).with_name("search_worker.py"))]
        made.append(_Runner(name, _WHAT[name], workload, command, job, [None] if name in _SCANS else widths))
    return made


@dataclass
class _Runner:
    """A candidate's process, and what it has said so far; once it failed, it is asked no more."""

    name: str
    what: str
    workload: Workload
    command: Sequence[str]
    job: Mapping[str, Any]
    efforts: Sequence[int | None]
    child: subprocess.Popen[bytes] | None = None
    missing: str = ""
    built: dict[str, Any] = field(default_factory=dict)
    megabytes: float | None = None
    recalls: dict[int | None, list[float]] = field(default_factory=dict)
    spent: dict[int | None, list[list[float]]] = field(default_factory=lambda: defaultdict(list))

    @property
    def _errors(self) -> Path:
        return Path(f"{self.job['folder']}.stderr")

    def close(self) -> None:
        """End the process."""
        if self.child is not None:
            self.child.kill()
            self.child.wait()
            for pipe in (self.child.stdin, self.child.stdout):
                with suppress(BrokenPipeError):
                    pipe.close()  # type: ignore[union-attr]

    def build(self) -> None:
        """Start the process and wait until its index is there."""
        Path(self.job["folder"]).mkdir()
        with self._errors.open("wb") as complaints:
            self.child = subprocess.Popen(
                [*self.command, json.dumps(self.job)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
            )
        self.built = self._answer(_BUILD_SECONDS)

    def find(self, effort: int | None) -> None:
        """Ask the queries, untimed, for their recall; a scan in Python does not come to all of them."""
        found = self._ask(effort, _FIND_SECONDS, hits=True)
        if not found:
            return
        workload, truth = self.workload, self.workload.truth
        self.megabytes = found["megabytes"]
        self.recalls[effort] = []
        for row, hits in enumerate(found["hits"]):
            query = int(truth.queries[row])
            others = [one for one in dict.fromkeys(hits) if one != query][: workload.k]
            scores = truth.vectors[others].astype(np.float64) @ truth.vectors[query].astype(np.float64)
            self.recalls[effort].append(recall(scores.tolist(), float(truth.threshold[row]), workload.k))

    def time(self, effort: int | None, seconds: float) -> None:
        """Time the queries once."""
        if found := self._ask(effort, seconds):
            self.spent[effort].append(found["ms"])

    def candidate(self, target: float) -> Candidate:
        """Return what was measured."""
        ours = "url" in self.job
        if self.missing:
            return Candidate(self.name, self.what, ours, self.missing)
        curve = [self._width(effort) for effort in self.efforts]
        return Candidate(
            name=self.name,
            what=self.what,
            ours=ours,
            version=self.built["version"],
            build_seconds=self.built["build_seconds"],
            build_megabytes=self.built["build_megabytes"],
            megabytes=self.megabytes,
            curve=curve,
            at_recall=next((one for one in curve if one.recall >= target), None),
        )

    def _width(self, effort: int | None) -> Width:
        recalls, rounds = np.array(self.recalls[effort]), self.spent[effort]
        return Width(
            effort=effort,
            recall=float(recalls.mean()),
            recall_p5=float(np.percentile(recalls, 5)),
            recall_min=float(recalls.min()),
            search_ms=times([one for part in rounds for one in part]),
            median_ms=spread([float(np.median(part)) for part in rounds]),
        )

    def _ask(self, effort: int | None, seconds: float, hits: bool = False) -> dict[str, Any]:
        if self.missing or self.child is None or self.child.stdin is None:
            return {}
        with suppress(BrokenPipeError):  # it has ended, which its answer will say
            self.child.stdin.write(json.dumps({"effort": effort, "seconds": seconds, "hits": hits}).encode() + b"\n")
            self.child.stdin.flush()
        return self._answer(_TURN_SECONDS)

    def _answer(self, seconds: float) -> dict[str, Any]:
        """Return the next line; nothing if the process ended or takes too long, and then it says why."""
        child = self.child
        assert child is not None and child.stdout is not None  # noqa: S101 - `build` has started it
        late = threading.Timer(seconds, child.kill)
        late.start()
        try:
            line = child.stdout.readline()
        finally:
            overdue = not late.is_alive()
            late.cancel()
        try:
            return dict(json.loads(line))
        except ValueError:
            self.missing = f"took more than {seconds:.0f} s" if overdue else self._complaint(child.wait())
            return {}

    def _complaint(self, code: int) -> str:
        lines = [one for one in self._errors.read_text(errors="replace").splitlines() if one.strip()]
        last = lines[-1] if lines else f"exit code {code}"
        missing = last.startswith("ModuleNotFoundError")
        return f"not installed: {last.partition(': ')[2]}" if missing else f"failed: {last}"

"""A collection's stores beside other search libraries with the same vectors: how fast each is at the same recall.

Every candidate is a process of its own and builds its own index. Then all of them, at every width of search, take
turns, in an order drawn anew each round, so that whatever else the machine does falls on all alike.
"""

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from cbir.terminal import Advance

from ..core.comparable_metrics import store_name
from ..core.workload import Subject
from ..ingest.measure import Spread, spread
from ..latency.measure import Times, times
from ..parity.ranking import recall
from .search_loop import LIBRARIES

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
        effort: The ef of its graph or the nprobe of its lists; None for a scan.
        recall: Mean over the queries, against the exact answer.
        recall_p5: What 5 in 100 queries are worse than.
        recall_min: Of the worst query.
        search_ms: Of all single searches.
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
        name: Of the library, or "cbir" and the store.
        what: How it is used.
        ours: Whether it is a store of cbir.
        missing: Why there are no figures, "" if there are.
        version: Of its package.
        build_seconds: Of building its index; None for a server.
        build_megabytes: Most memory of its process meanwhile, with the vectors that it was given.
        megabytes: Memory of its process that searches.
        curve: By width, upwards.
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
    subject: Subject, peers: Sequence[str], python: str, target: float, rounds: int, seconds: float, advance: Advance
) -> list[Candidate]:
    """Return what was measured of each store of the subject and of each library.

    Args:
        subject: The collection, the queries and the exact answers.
        peers: Names in `LIBRARIES`.
        python: The Python that has them.
        target: The recall to compare at.
        rounds: Turns of each candidate at each width.
        seconds: After which a turn asks no further query, for those that are slow.
        advance: Called after each step of `steps`.
    """
    with tempfile.TemporaryDirectory(prefix="cbir-bench-") as folder, ExitStack() as stack:
        runners = [stack.enter_context(one) for one in _runners(subject, peers, python, Path(folder))]
        for one in runners:
            one.build()
            advance(1)
        cases = [(one, effort) for one in runners for effort in one.efforts]
        for runner, effort in cases:
            runner.find(effort)
            advance(1)
        rng = np.random.default_rng(subject.seed)
        for _ in range(rounds):
            for at in rng.permutation(len(cases)).tolist():
                runner, effort = cases[at]
                runner.time(effort, seconds)
                advance(1)
        return [one.candidate(target) for one in runners]


def steps(subject: Subject, peers: Sequence[str], rounds: int) -> int:
    """Return how often `measure` will call `advance`."""
    kinds = [info.access == "scan" for info in subject.infos] + [name in _SCANS for name in peers]
    return len(kinds) + (1 + rounds) * sum(1 if scan else len(_widths(subject.k)) for scan in kinds)


def _widths(k: int) -> list[int]:
    """Return the widths of search: a graph gives at most ef hits, and the query itself is among them."""
    return sorted({max(one, k + 1) for one in WIDTHS})


def _runners(subject: Subject, peers: Sequence[str], python: str, folder: Path) -> list["_Runner"]:
    files = {name: folder / name for name in ("vectors.npy", "queries.npy", "ids.json")}
    np.save(files["vectors.npy"], subject.truth.vectors)
    np.save(files["queries.npy"], subject.vectors)
    files["ids.json"].write_text(json.dumps(list(subject.truth.position)))
    common = {
        "vectors": str(files["vectors.npy"]),
        "queries": str(files["queries.npy"]),
        "k": subject.k + 1,
        "m": M,
        "ef_construct": EF_CONSTRUCT,
    }
    widths = _widths(subject.k)
    made = []
    for at, info in enumerate(subject.infos):
        own = folder / f"store-{at}"
        job = {**common, "url": info.url, "collection": info.collection, "ids": str(files["ids.json"])}
        command = [sys.executable, "-m", "cbir.bench.baselines.peer_cbir"]
        efforts = [None] if info.access == "scan" else widths
        what = "through the store protocol, with ids and payloads"
        name = f"cbir {store_name(info.url)}"
        made.append(_Runner(name, what, subject, command, {**job, "package": "cbir", "folder": str(own)}, efforts))
    for name in peers:
        job = {**common, "name": name, "package": LIBRARIES[name][1], "folder": str(folder / name)}
        command = [python, str(Path(__file__).with_name("peer_search.py"))]
        made.append(_Runner(name, _WHAT[name], subject, command, job, [None] if name in _SCANS else widths))
    return made


class _Runner:
    """A candidate's process, and what it has said so far; once it failed, it is asked no more."""

    def __init__(
        self,
        name: str,
        what: str,
        subject: Subject,
        command: Sequence[str],
        job: Mapping[str, Any],
        efforts: Sequence[int | None],
    ):
        self.name, self._what, self._subject, self.efforts = name, what, subject, efforts
        self._command, self._job = command, job
        self._missing = ""
        self._built: dict[str, Any] = {}
        self._megabytes: float | None = None
        self._recalls: dict[int | None, list[float]] = {}
        self._spent: dict[int | None, list[list[float]]] = {effort: [] for effort in efforts}

    def __enter__(self) -> "_Runner":
        self._complaints = tempfile.TemporaryFile()
        self._child: subprocess.Popen[bytes] | None = None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            for pipe in (self._child.stdin, self._child.stdout):
                with suppress(BrokenPipeError):
                    pipe.close()  # type: ignore[union-attr]
        self._complaints.close()

    def build(self) -> None:
        """Start the process and wait until its index is there."""
        Path(self._job["folder"]).mkdir()
        self._child = subprocess.Popen(
            [*self._command, json.dumps(self._job)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
        )
        self._built = self._answer(_BUILD_SECONDS)

    def find(self, effort: int | None) -> None:
        """Ask the queries, untimed, for their recall; a scan in Python does not come to all of them."""
        found = self._ask(effort, _FIND_SECONDS, hits=True)
        if not found:
            return
        subject, truth = self._subject, self._subject.truth
        self._megabytes = found["megabytes"]
        self._recalls[effort] = []
        for row, hits in enumerate(found["hits"]):
            query = int(truth.queries[row])
            others = [one for one in dict.fromkeys(hits) if one != query][: subject.k]
            scores = truth.vectors[others].astype(np.float64) @ truth.vectors[query].astype(np.float64)
            self._recalls[effort].append(recall(scores.tolist(), float(truth.threshold[row]), subject.k))

    def time(self, effort: int | None, seconds: float) -> None:
        """Time the queries once."""
        if found := self._ask(effort, seconds):
            self._spent[effort].append(found["ms"])

    def candidate(self, target: float) -> Candidate:
        """Return what was measured."""
        ours = "url" in self._job
        if self._missing:
            return Candidate(self.name, self._what, ours, self._missing)
        curve = [self._width(effort) for effort in self.efforts]
        return Candidate(
            name=self.name,
            what=self._what,
            ours=ours,
            version=self._built["version"],
            build_seconds=self._built["build_seconds"],
            build_megabytes=self._built["build_megabytes"],
            megabytes=self._megabytes,
            curve=curve,
            at_recall=next((one for one in curve if one.recall >= target), None),
        )

    def _width(self, effort: int | None) -> Width:
        recalls, rounds = np.array(self._recalls[effort]), self._spent[effort]
        return Width(
            effort=effort,
            recall=float(recalls.mean()),
            recall_p5=float(np.percentile(recalls, 5)),
            recall_min=float(recalls.min()),
            search_ms=times([one for part in rounds for one in part]),
            median_ms=spread([float(np.median(part)) for part in rounds]),
        )

    def _ask(self, effort: int | None, seconds: float, hits: bool = False) -> dict[str, Any]:
        if self._missing or self._child is None or self._child.stdin is None:
            return {}
        with suppress(BrokenPipeError):  # it has ended, which its answer will say
            self._child.stdin.write(json.dumps({"effort": effort, "seconds": seconds, "hits": hits}).encode() + b"\n")
            self._child.stdin.flush()
        return self._answer(_TURN_SECONDS)

    def _answer(self, seconds: float) -> dict[str, Any]:
        """Return the next line; nothing if the process ended or takes too long, and then it says why."""
        child = self._child
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
            self._missing = f"took more than {seconds:.0f} s" if overdue else self._complaint(child.wait())
            return {}

    def _complaint(self, code: int) -> str:
        self._complaints.seek(0)
        lines = [one for one in self._complaints.read().decode(errors="replace").splitlines() if one.strip()]
        last = lines[-1] if lines else f"exit code {code}"
        missing = last.startswith("ModuleNotFoundError")
        return f"not installed: {last.partition(': ')[2]}" if missing else f"failed: {last}"

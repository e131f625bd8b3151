"""The stores of a collection and other search libraries with the same vectors: how fast each is at the same recall.

Every candidate is a process of its own and builds its own index. Then all of them, at every ef, take turns in a random
order each round, so that whatever else the machine does slows all of them alike.
"""

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from multiprocessing import Pipe
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from cbir import terminal
from cbir.tables import Column, Range

from ..core.ranking import recall
from ..core.stores import store_name
from ..core.timing import Times, spread, times
from ..core.workload import Workload
from . import search_worker

EFS = (11, 16, 20, 24, 28, 32, 40, 48, 64, 96, 128, 192)
M, EF_CONSTRUCT = 16, 100
_BUILD_SECONDS = 900.0
_TURN_SECONDS = 300.0
_FIND_SECONDS = 15.0


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
    median_ms: Range


_AT_RECALL = (
    (Column("ef", format="d"), "ef"),
    (Column("recall", format=".4f"), "recall"),
    (Column("p5", format=".3f", detail=True), "recall_p5"),
    (Column("search", "ms", ".3f", better="lower"), "median_ms"),
    (Column("p99", "ms", ".3f"), "search_ms.p99"),
)


@dataclass(frozen=True)
class Candidate:
    """One store or library.

    `ours` is true for a store of cbir, and `missing` says why there are no numbers. `build_megabytes` is the most
    memory while it builds, its vectors included, and `megabytes` the memory while it searches. `at_recall` is the first
    step that reaches the wanted recall, None if none does.
    """

    name: str
    ours: bool
    missing: str = ""
    version: str = ""
    at_recall: Annotated[Step | None, _AT_RECALL] = None
    build_seconds: Annotated[float | None, Column("build", "s", ",.1f")] = None
    megabytes: Annotated[float | None, Column("memory", "MB", ",.0f")] = None
    build_megabytes: Annotated[float | None, Column("while building", "MB", ",.0f", detail=True)] = None
    curve: list[Step] = field(default_factory=list)

    @property
    def median_ms(self) -> float | None:
        """Milliseconds of a search at the wanted recall, None if it is not reached."""
        return self.at_recall.median_ms.value if self.at_recall else None


class _Process:
    """A candidate's process, and what was measured so far. Once it has failed, it gets no more queries.

    `missing` says why it failed. `built` is what it said when its index was ready, and its memory while it
    searches. By ef, where None is a scan, `recalls` has the recall of each query, and `rounds` their milliseconds.
    """

    def __init__(self, command: Sequence[str], job: Mapping[str, Any], efs: Sequence[int | None]):
        self.name, self.efs = job["name"], efs
        self.missing, self.built = "", dict[str, Any]()
        self.recalls: dict[int | None, list[float]] = {}
        self.rounds: dict[int | None, list[list[float]]] = defaultdict(list)
        Path(job["folder"]).mkdir()
        self._errors = Path(f"{job['folder']}.stderr")
        self._channel, theirs = Pipe()
        with self._errors.open("wb") as errors, theirs:
            number = theirs.fileno()
            words = [*command, json.dumps(job), str(number)]
            self._process = subprocess.Popen(words, stdout=errors, stderr=errors, pass_fds=[number])

    def build(self) -> None:
        """Wait until its index is ready."""
        self.built = self._answer(_BUILD_SECONDS)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._channel.close()

    def find(self, workload: Workload, ef: int | None) -> None:
        """Search for all queries, to get their recall; a scan in Python may not finish all of them."""
        truth, answer = workload.truth, self._search(ef, _FIND_SECONDS, hits=True)
        self.built["megabytes"] = answer.get("megabytes")
        for row, hits in enumerate(answer.get("hits", ())):
            query = int(truth.queries[row])
            others = [hit for hit in dict.fromkeys(hits) if hit != query][: workload.k]
            scores = truth.vectors[others].astype(np.float64) @ truth.vectors[query].astype(np.float64)
            found = recall(scores.tolist(), float(truth.threshold[row]), workload.k)
            self.recalls.setdefault(ef, []).append(found)

    def time(self, ef: int | None, seconds: float) -> None:
        """Time the queries once."""
        if found := self._search(ef, seconds):
            self.rounds[ef].append(found["ms"])

    def _search(self, ef: int | None, seconds: float, hits: bool = False) -> dict[str, Any]:
        if self.missing:
            return {}
        with suppress(OSError):  # the process has ended; its answer says why
            self._channel.send({"ef": ef, "seconds": seconds, "hits": hits})
        return self._answer(_TURN_SECONDS)

    def _answer(self, seconds: float) -> dict[str, Any]:
        """Return the next answer; nothing if the process ended or takes too long, and `missing` then says why."""
        try:
            if self._channel.poll(seconds):
                return dict(self._channel.recv())
            self.missing = f"took more than {seconds:.0f} s"
            self._process.kill()
        except (EOFError, OSError):
            self.missing = self._reason(self._process.wait())
        return {}

    def _reason(self, code: int) -> str:
        lines = [line for line in self._errors.read_text(errors="replace").splitlines() if line.strip()]
        last = lines[-1] if lines else f"exit code {code}"
        missing = last.startswith("ModuleNotFoundError")
        return f"not installed: {last.partition(': ')[2]}" if missing else f"failed: {last}"


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
            candidates.append(_Process(*job))
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
    """Yield the arguments of `_Process` for each store and library, whose data is then in the folder."""
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


def _result(process: _Process, target: float) -> Candidate:
    candidate = Candidate(process.name, process.name not in search_worker.LIBRARIES, process.missing)
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
